"""Training steps timed beside each other, against what the device could do."""

import gc
from statistics import median
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode

from wrimnet.engine.step import CompiledTraining
from wrimnet.lab.benchmarks.counting import CostCounter, StepCost
from wrimnet.lab.benchmarks.probe import DeviceSpeed, probe_device
from wrimnet.lab.benchmarks.timing import seconds_of
from wrimnet.lab.benchmarks.variants import (
    OURS,
    VARIANTS,
    Variant,
    build_batch,
    build_variant,
    reason_to_skip,
    step_function,
)

_WARM_UP = 3


class TrainTimes(NamedTuple):
    """What the train benchmark found.

    Args:
        images: per step.
        num_classes: outputs of each classifier.
        speed: of the device.
        cost: of one eager step as this project runs it.
        rows: per variant "name" and either "skipped", the reason, or "seconds" per step, one value
            per repetition, and "peak_bytes" of the device, None on a CPU.
    """

    images: int
    num_classes: int
    speed: DeviceSpeed
    cost: StepCost
    rows: list[dict[str, Any]]


def build_train_times(
    cfg: CfgNode,
    *,
    repeats: int,
    steps: int,
    variants: tuple[Variant, ...] = VARIANTS,
) -> TrainTimes:
    """Measures every variant, one after the other, on the device of the configuration.

    Args:
        cfg: of the model, batch and input; MODEL.HEADS.NUM_CLASSES is set.
        repeats: measurements of each variant.
        steps: training steps in a measurement.
        variants: what to measure.
    """
    device = torch.device(cfg.MODEL.DEVICE)
    speed = probe_device(device, repeats=repeats)
    rows = [build_row(cfg, variant, repeats=repeats, steps=steps) for variant in variants]
    return TrainTimes(
        images=cfg.SOLVER.IMS_PER_BATCH,
        num_classes=cfg.MODEL.HEADS.NUM_CLASSES,
        speed=speed,
        cost=build_cost(cfg),
        rows=rows,
    )


def build_row(cfg: CfgNode, variant: Variant, *, repeats: int, steps: int) -> dict[str, Any]:
    """Measures one variant, as :class:`TrainTimes` says."""
    device = torch.device(cfg.MODEL.DEVICE)
    reason = reason_to_skip(variant, device)
    if reason:
        return {"name": variant.name, "skipped": reason}
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = variant.tf32
    try:
        return {"name": variant.name, **_measured(cfg, variant, device, repeats, steps)}
    finally:
        torch.backends.cudnn.allow_tf32 = before
        gc.collect()


def _measured(
    cfg: CfgNode, variant: Variant, device: torch.device, repeats: int, steps: int
) -> dict[str, Any]:
    step = build_variant(cfg, variant)
    run = step_function(step, build_batch(cfg, variant), variant)
    _restart_peak(device)
    for _ in range(_WARM_UP):
        run()
    if variant.compiled and not isinstance(step.acceleration, CompiledTraining):
        return {"skipped": "not measured: torch.compile failed on the first batch, see above"}

    def run_all() -> None:
        for _ in range(steps):
            run()

    seconds = [seconds_of(run_all, device) / steps for _ in range(repeats)]
    return {"seconds": seconds, "peak_bytes": _peak_bytes(device)}


def _restart_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak_bytes(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def build_cost(cfg: CfgNode, variant: Variant = OURS) -> StepCost:
    """Counts one eager training step."""
    run = step_function(build_variant(cfg, variant), build_batch(cfg, variant), variant)
    run()  # so that the optimizer's state is there
    with CostCounter() as counter:
        run()
    return counter.cost


def rates(times: TrainTimes, row: dict[str, Any]) -> dict[str, float]:
    """Returns what a row's median means: speed, and fractions of what the device could do."""
    seconds = median(row["seconds"])
    cost, speed = times.cost, times.speed
    return {
        "milliseconds": 1e3 * seconds,
        "images_per_second": times.images / seconds,
        "mfu": cost.flops / seconds / speed.flops,
        "byte_roof": cost.num_bytes / seconds / speed.num_bytes,
        "eager_roof": cost.roof_seconds(speed.flops, speed.num_bytes) / seconds,
    }
