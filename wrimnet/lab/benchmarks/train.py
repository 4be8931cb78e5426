"""Speed of a training step against what the device could do, and the time of its stages."""

import gc
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode

from wrimnet.config.tree import changed_cfg
from wrimnet.engine.step import CompiledTraining, TrainingStep
from wrimnet.lab.benchmarks.batches import build_step, random_batch
from wrimnet.lab.benchmarks.benchmark_setup import (
    Section,
    describe_settings,
    draw_training_set,
    setup_benchmark_cfg,
    with_spread,
)
from wrimnet.lab.benchmarks.counting import CostCounter, StepCost
from wrimnet.lab.benchmarks.probe import DeviceSpeed, probe_device
from wrimnet.lab.benchmarks.processes import measure_processes
from wrimnet.lab.benchmarks.stages import measure_stages, stage_table
from wrimnet.lab.benchmarks.timing import clock_name, device_clock, seconds_of
from wrimnet.tables import markdown_rows


def measure_train(arguments: Any) -> Section:
    """Runs the benchmark: on a CPU a small model and the eager step alone."""
    cfg = setup_benchmark_cfg(arguments.config_file, arguments.overrides)
    repeats, steps = arguments.repeats, arguments.steps
    if arguments.nproc > 1:
        return measure_processes(cfg, arguments.nproc, repeats=repeats, steps=steps)
    device, images = torch.device(cfg.MODEL.DEVICE), cfg.SOLVER.IMS_PER_BATCH
    eager = changed_cfg(cfg, {"SOLVER.COMPILE": "never"})
    ways = [eager, changed_cfg(cfg, {"SOLVER.COMPILE": "always"})][: 1 + (device.type == "cuda")]
    cost, speed = step_cost(eager), probe_device(device, repeats=repeats)
    rows = [time_step(way, repeats=repeats, steps=steps) for way in ways]
    for row in rows:
        row |= rates(row["seconds"], images, cost, speed)
    with tempfile.TemporaryDirectory() as folder:
        stages = measure_stages(draw_training_set(eager, Path(folder)), steps=repeats * steps)
    text = [f"{describe_settings(cfg)} {clock_name(device)}.", step_table(rows)]
    text += [describe_speed(images, cost, speed), stage_table(stages)]
    numbers = {
        "images": images,
        "speed": speed._asdict(),
        "flops": cost.flops,
        "num_bytes": cost.num_bytes,
        "rows": rows,
        "stages": stages,
    }
    return Section("Training step", "\n\n".join(text), numbers)


def step_cost(cfg: CfgNode) -> StepCost:
    """Counts one eager training step."""
    step, batch = build_step(cfg), random_batch(cfg)
    step(batch)  # makes the optimizer's state
    with CostCounter() as counter:
        step(batch)
    return counter.cost


def time_step(cfg: CfgNode, *, repeats: int, steps: int) -> dict[str, Any]:
    """Times training steps on one batch.

    Returns:
        "step", whether it ran "compiled" or "eager"; "seconds" of a step, a value per repetition;
        "peak_bytes" of the device, None on a CPU.
    """
    device = torch.device(cfg.MODEL.DEVICE)
    if device.type == "cuda":
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)
    step, batch = build_step(cfg), random_batch(cfg)
    seconds = seconds_of(lambda: step(batch), device_clock(device), repeats=repeats, steps=steps)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {"step": _how(step), "seconds": seconds, "peak_bytes": peak}


def _how(step: TrainingStep) -> str:
    """Where the compiler fails, training goes on without it."""
    return "compiled" if isinstance(step.acceleration, CompiledTraining) else "eager"


def rates(
    seconds: list[float], images: int, cost: StepCost, speed: DeviceSpeed
) -> dict[str, float]:
    """Returns the speed of a step, and fractions of what the device could do."""
    middle = median(seconds)
    return {
        "images_per_second": images / middle,
        "mfu": cost.flops / middle / speed.flops,
        "byte_roofline": cost.num_bytes / middle / speed.num_bytes,
        "eager_roofline": cost.roof_seconds(speed.flops, speed.num_bytes) / middle,
    }


def step_table(rows: list[dict[str, Any]]) -> str:
    """Writes a row per way to run the step."""
    header = (
        *("step", "ms/step, median (min - max)", "img/s", "MFU"),
        *("byte roofline", "eager roofline", "peak GB"),
    )
    cells = [
        (
            row["step"],
            with_spread([1e3 * value for value in row["seconds"]], 1),
            f"{row['images_per_second']:.0f}",
            *(f"{row[name]:.1%}" for name in ("mfu", "byte_roofline", "eager_roofline")),
            f"{row['peak_bytes'] / 1e9:.1f}" if row["peak_bytes"] else "-",
        )
        for row in rows
    ]
    return markdown_rows(header, cells)


def describe_speed(images: int, cost: StepCost, speed: DeviceSpeed) -> str:
    """Says what the fractions refer to."""
    return (
        f"Measured on the device: {speed.flops / 1e12:.3g} TFLOP/s ({speed.number_format} matrix "
        f"product), {speed.num_bytes / 1e9:.3g} GB/s (copy). Counted for an eager step: "
        f"{cost.flops / images / 1e9:.2f} GFLOP and {cost.num_bytes / images / 1e9:.3f} GB per "
        "image. MFU = FLOP / time / matrix product; byte roofline = bytes / time / copy; eager "
        "roofline = least time of the operators one after the other, each at the slower of the "
        "two, / time."
    )
