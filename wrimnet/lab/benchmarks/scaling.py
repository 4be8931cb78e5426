"""Time and memory of a training step as functions of batch, input size and identities."""

from typing import NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.lab.benchmarks.counting import SavedActivations
from wrimnet.lab.benchmarks.train import build_row
from wrimnet.lab.benchmarks.variants import OURS, build_batch, build_variant

BYTES_PER_PARAMETER = 4 + 4 + 8  # weight, gradient, Adam's two moments, in float32


class Point(NamedTuple):
    """One measured setting; the other two stay at the configuration's own.

    Args:
        axis: "batch", "input" or "identities".
        label: value on the axis.
        value: the same as a number: images, pixels of an image, identities.
        seconds: per training step, one value per repetition.
        activation_bytes: kept from the forward to the backward pass.
        state_bytes: weights, gradients and Adam's moments.
        peak_bytes: of the device's allocator; None on a CPU.
    """

    axis: str
    label: str
    value: int
    seconds: list[float]
    activation_bytes: int
    state_bytes: int
    peak_bytes: int | None


def build_points(
    cfg: CfgNode,
    *,
    batches: tuple[int, ...],
    sizes: tuple[tuple[int, int], ...],
    identities: tuple[int, ...],
    repeats: int,
    steps: int,
) -> list[Point]:
    """Measures training steps along the three axes, starting from ``cfg``."""
    settings = [("batch", str(size), size, {"batch": size}) for size in batches]
    settings += [("input", f"{h} x {w}", h * w, {"size": (h, w)}) for h, w in sizes]
    settings += [("identities", str(count), count, {"identities": count}) for count in identities]
    points = []
    for axis, label, value, changes in settings:
        changed = build_changed(cfg, **changes)
        row = build_row(changed, OURS, repeats=repeats, steps=steps)
        kept, state = build_memory(changed)
        points.append(Point(axis, label, value, row["seconds"], kept, state, row["peak_bytes"]))
    return points


def build_changed(
    cfg: CfgNode,
    *,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
    identities: int | None = None,
) -> CfgNode:
    """Returns a copy of ``cfg`` with another batch, input size or number of identities."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SOLVER.IMS_PER_BATCH = batch or cfg.SOLVER.IMS_PER_BATCH
    cfg.INPUT.SIZE_TRAIN = list(size or cfg.INPUT.SIZE_TRAIN)
    cfg.MODEL.HEADS.NUM_CLASSES = identities or cfg.MODEL.HEADS.NUM_CLASSES
    cfg.freeze()
    return cfg


def build_memory(cfg: CfgNode) -> tuple[int, int]:
    """Returns bytes of the saved activations, and of weights, gradients and Adam's moments."""
    step, batch = build_variant(cfg, OURS), build_batch(cfg, OURS)
    tensors = [*step.model.parameters(), *step.model.buffers()]
    saved = SavedActivations(tensors)
    with saved.hooks:
        step.forward(step.augment(batch))
    state = BYTES_PER_PARAMETER * sum(one.numel() for one in step.model.parameters())
    return saved.num_bytes, state
