"""What the engine, the evaluation and the tools ask of a network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE

FEATURE_NORM = "feature_norm"  # mean L2 norm of the pooled features of the main level


def own_rows(rows: Tensor, num_visible: int) -> Tensor:
    """The batch of a process that shares it with no other: its own rows."""
    return rows


class CrossModalityNetwork(nn.Module, ABC):
    """A network that trains on batches of both modalities and embeds images of one.

    A custom meta-architecture subclasses this, and is then trained, resumed, evaluated and
    exported by the tools. Parameters below ``heads`` get SOLVER.HEADS_LR_FACTOR. What it may refuse
    of a configuration is in a static ``check_config(cfg)``, called before data are read.

    Args:
        pixel_mean: per RGB channel, pixel units.
        pixel_std: per RGB channel, pixel units.

    Attributes:
        embedding_parts: groups of features that make up the test embedding, in order.
        raw_losses: unweighted value of each loss term of the last step, for the log.
        statistics: other scalars of the last step, by name, for the log.
        gather: (rows (B, ...), number of visible ones) -> the rows of all processes that share a
            batch, visible ones first. By default the batch is this process's own.
        training_only: modules, such as "decoder.", outside of ``backbone``, that only training
            uses; their tensors are left out of an evaluation, of exported weights and of the hash
            of a model.
    """

    training_only: tuple[str, ...] = ()
    embedding_parts: tuple[str, ...]
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, *, pixel_mean: Sequence[float], pixel_std: Sequence[float]) -> None:
        super().__init__()
        self.raw_losses: dict[str, Tensor] = {}
        self.statistics: dict[str, Tensor] = {}
        self.gather: Callable[[Tensor, int], Tensor] = own_rows
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(1, 3, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(1, 3, 1, 1), False)

    @abstractmethod
    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor] | Tensor:
        """Returns the weighted loss terms in training, the test embedding (B, D) in evaluation.

        Args:
            batch: "images" uint8 (B, H, W, 3) or float (B, 3, H, W), pixel units 0..255;
                "modality" (B,) on the CPU, visible images first; in training "targets" (B,) and,
                where those are on a GPU, the same on the CPU as "labels".
        """

    @abstractmethod
    def embed_parts(self, images: Tensor, modality: int) -> dict[str, Tensor]:
        """Embeds images of one modality in evaluation mode, group by group, (B, D_group) each."""

    @property
    @abstractmethod
    def part_dims(self) -> dict[str, int]:
        """Length of each group of the test embedding."""

    def compiled_functions(self) -> list[tuple[nn.Module, str]]:
        """Owners and names of the methods that SOLVER.COMPILE compiles in training."""
        return []

    def explained_layer(self) -> nn.Module | None:
        """The module whose input the maps of similarity explain; None for no such figure."""
        return None

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.pixel_mean.device

    def preprocess_image(self, images: Tensor) -> Tensor:
        """Normalizes pixels out of place; (B, H, W, 3) bytes become (B, 3, H, W) floats."""
        if images.dtype == torch.uint8:
            images = images.permute(0, 3, 1, 2)
        return (images.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std


def count_visible(modality: Tensor) -> int:
    """Counts the visible samples of a batch, which come first.

    Raises ValueError: a value that is no modality, or a visible sample behind an infrared one.
    """
    if modality.numel() == 0 or not bool(((modality == VISIBLE) | (modality == INFRARED)).all()):
        raise ValueError(f"modality {modality.tolist()}: expected 0 (visible) or 1 (infrared)")
    if bool((modality[1:] < modality[:-1]).any()):
        raise ValueError("unsorted batch: visible images must precede infrared ones")
    return int((modality == VISIBLE).sum())


def num_visible_of(images: Tensor, modality: int) -> int:
    """Returns how many of a batch of one modality are visible: all or none.

    Raises ValueError: no such modality.
    """
    if modality not in (VISIBLE, INFRARED):
        raise ValueError(f"modality {modality!r}: expected 0 or 1 ({MODALITY_NAMES})")
    return images.shape[0] if modality == VISIBLE else 0  # len() would fix it on export
