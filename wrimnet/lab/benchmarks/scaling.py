"""Time and memory of a training step as functions of batch, input size and identities."""

from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config.tree import changed_cfg
from wrimnet.lab.benchmarks.batches import build_step, random_batch
from wrimnet.lab.benchmarks.benchmark_setup import (
    Section,
    describe_settings,
    setup_benchmark_cfg,
    with_spread,
)
from wrimnet.lab.benchmarks.cost_figure import draw_costs
from wrimnet.lab.benchmarks.counting import saved_bytes
from wrimnet.lab.benchmarks.train import time_step
from wrimnet.tables import markdown_rows
from wrimnet.visualization.drawing import save_figure

BYTES_PER_PARAMETER = 4 + 4 + 8  # weight, gradient, Adam's two moments, in float32


def measure_scaling(arguments: Any) -> Section:
    """Runs the benchmark, a small model on a CPU; saves its figure."""
    cfg = setup_benchmark_cfg(arguments.config_file, arguments.overrides)
    cfg = changed_cfg(cfg, {"SOLVER.COMPILE": "never"})  # it would compile for every setting
    points = [
        measure_point(cfg, *axis, repeats=arguments.repeats, steps=arguments.steps)
        for axis in axes(cfg)
    ]
    heading = "Cost of a training step"
    save_figure(draw_costs(heading, points), Path(arguments.out), "scaling")
    return Section(heading, f"{describe_settings(cfg)}\n\n{scaling_table(points)}", points)


def axes(cfg: CfgNode) -> list[tuple[str, str, Any]]:
    """Returns the name of each axis, its key, and a value of it."""
    batch, (height, width) = cfg.SOLVER.IMS_PER_BATCH, cfg.INPUT.SIZE_TRAIN
    return [
        *(("batch", "SOLVER.IMS_PER_BATCH", factor * batch) for factor in (1, 2, 4)),
        *(
            ("input", "INPUT.SIZE_TRAIN", [int(factor * height), int(factor * width)])
            for factor in (0.5, 1, 2)
        ),
        *(("identities", "MODEL.HEADS.NUM_CLASSES", count) for count in (100, 1000, 10_000)),
    ]


def measure_point(
    cfg: CfgNode, axis: str, key: str, value: Any, *, repeats: int, steps: int
) -> dict[str, Any]:
    """Measures one setting; the other two stay as they are in ``cfg``.

    Returns:
        "axis", "label", "value" (images, pixels of an image, or identities), and the values of
        :func:`memory_of` and :func:`time_step`.
    """
    cfg = changed_cfg(cfg, {key: value})
    is_size = isinstance(value, list)
    return {
        "axis": axis,
        "label": f"{value[0]} x {value[1]}" if is_size else str(value),
        "value": value[0] * value[1] if is_size else value,
        **memory_of(cfg),
        **time_step(cfg, repeats=repeats, steps=steps),
    }


def memory_of(cfg: CfgNode) -> dict[str, int]:
    """Returns bytes of activations kept for the backward pass, and of weights etc. ("state")."""
    step, batch = build_step(cfg), random_batch(cfg)
    augmented, parameters = step.augment(batch), list(step.model.parameters())
    kept = saved_bytes(lambda: step.forward(augmented), [*parameters, *step.model.buffers()])
    state = BYTES_PER_PARAMETER * sum(one.numel() for one in parameters)
    return {"activation_bytes": kept, "state_bytes": state}


def scaling_table(points: list[dict[str, Any]]) -> str:
    """Writes a row per setting: time, and what fills the memory."""
    header = (
        *("axis", "value", "ms/step, median (min - max)", "activations GB"),
        *("weights, gradients, moments GB", "peak GB"),
    )
    rows = [
        (
            point["axis"],
            point["label"],
            with_spread([1e3 * value for value in point["seconds"]], 1),
            f"{point['activation_bytes'] / 1e9:.3f}",
            f"{point['state_bytes'] / 1e9:.3f}",
            f"{point['peak_bytes'] / 1e9:.2f}" if point["peak_bytes"] else "-",
        )
        for point in points
    ]
    return markdown_rows(header, rows, num_words=2)
