"""Partitioned identity classification (supplement, Eq. 2)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wrimnet.losses.precision import at_least_float32, without_autocast


def partitioned_classification_loss(
    logits: Sequence[Tensor], targets: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Averages the cross-entropy over the global feature and its stripes.

    Supplement, Eq. 2, where E is the mean over the batch::

        L_cls = ( E(-log p(Q_g)) + sum_{i=1..M} E(-log p(Q_i)) ) / (M + 1)

    With label smoothing s the target is 1 - s + s/C for the right class and s/C for each other one;
    the equation has none. The range of the targets is checked only where they are on the CPU; on
    a GPU the check would make the host wait, and torch itself stops at a class beyond the logits.

    Args:
        logits: one (N, C) per part: the global feature first, then the stripes.
        targets: (N,) classes 0..C-1.
        label_smoothing: s, from 0 up to but not including 1.

    Returns:
        L_cls, a scalar of float32, or of float64 for float64 logits.

    Raises:
        ValueError: there is no part, or a shape, a target or the smoothing is wrong.
    """
    _check_shapes(logits, targets)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}; expected 0 <= smoothing < 1")
    if targets.device.type == "cpu" and not torch.compiler.is_compiling():
        check_targets(targets, logits[0].shape[1])
    with without_autocast(logits[0]):
        parts = [
            F.cross_entropy(at_least_float32(part), targets, label_smoothing=label_smoothing)
            for part in logits
        ]
        return torch.stack(parts).mean()


def check_targets(targets: Tensor, num_classes: int) -> None:
    """Refuses targets outside the classes.

    Args:
        targets: (N,) classes, on the CPU.
        num_classes: C; the classes are 0..C-1.

    Raises:
        ValueError: a target is below 0 or above C-1; names the first such image.
    """
    outside = (targets < 0) | (targets >= num_classes)
    if outside.any():
        image = int(outside.nonzero()[0])
        raise ValueError(
            f"image {image} has the target {int(targets[image])}; expected 0..{num_classes - 1}: "
            "relabel the training identities 0..C-1 and give the classifier C outputs"
        )


def _check_shapes(logits: Sequence[Tensor], targets: Tensor) -> None:
    if not logits:
        raise ValueError("logits holds no part; expected the global feature's (N, C) at least")
    shapes = [tuple(part.shape) for part in logits]
    fits = targets.ndim == 1 and set(shapes) == {(len(targets), shapes[0][-1])}
    if not fits or len(targets) == 0:
        raise ValueError(
            f"logits have the shapes {shapes} and targets {tuple(targets.shape)}; "
            "expected the same (N, C) for every part, and (N,), N at least 1"
        )
