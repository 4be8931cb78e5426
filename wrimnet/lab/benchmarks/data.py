"""Speed of the data path: from JPEG files, or a cache of them, to batches on the device.

"read" is the CPU time that a batch costs, which holds on a busy machine; "delivered" is wall time
through the background thread, as training gets its batches.
"""

import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode

from wrimnet.config.tree import changed_cfg
from wrimnet.data.augmentation_list import build_augmentation
from wrimnet.data.build import build_dataset, build_train_loader
from wrimnet.data.loader import TrainLoader
from wrimnet.lab.benchmarks.benchmark_setup import (
    PAPER_CONFIG,
    Section,
    describe_settings,
    draw_training_set,
    setup_benchmark_cfg,
    with_spread,
)
from wrimnet.lab.benchmarks.timing import clock_name, device_clock, seconds_of
from wrimnet.tables import markdown_rows

SOURCES = ("none", "disk", "ram")


def measure_data(arguments: Any) -> Section:
    """Runs the benchmark, by default with the batches of configs/LLCM/wrim.yml."""
    cfg = setup_benchmark_cfg(arguments.config_file or PAPER_CONFIG, arguments.overrides)
    with tempfile.TemporaryDirectory() as folder:
        cfg = draw_training_set(cfg, Path(folder))
        rows = list(measure_sources(cfg, repeats=arguments.repeats, steps=arguments.steps))
    return Section("Data path", f"{describe_settings(cfg)}\n\n{data_table(rows)}", rows)


def measure_sources(cfg: CfgNode, *, repeats: int, steps: int) -> Iterator[dict[str, Any]]:
    """Yields "what", "clock" and "images_per_second", a value per repetition."""
    device, batch, dataset = torch.device(cfg.MODEL.DEVICE), {}, build_dataset(cfg)
    for name in (*SOURCES, "gpu") if device.type == "cuda" else SOURCES:
        started = time.perf_counter()
        loader = build_train_loader(changed_cfg(cfg, {"DATALOADER.CACHE": name}), dataset)
        if name == "disk":  # the first that needs the cache
            speed = len(loader.dataset) / (time.perf_counter() - started)
            workers = cfg.DATALOADER.NUM_WORKERS
            what = f"building the cache, {workers} processes"
            yield {"what": what, "clock": "wall time", "images_per_second": [speed]}
        batch = loader.load(0)
        for what, clock, run, ticks in _ways(loader):
            seconds = seconds_of(run, ticks, repeats=repeats, steps=steps)
            yield _row(f"CACHE {name}, {what}", clock, seconds, cfg)
        loader.close()
    augmentation, ticks = build_augmentation(cfg), device_clock(device)
    seconds = seconds_of(lambda: augmentation.augment(batch), ticks, repeats=repeats, steps=steps)
    yield _row(f"augmentation on {device.type}", clock_name(device), seconds, cfg)


def _ways(loader: TrainLoader) -> Iterator[tuple]:
    numbers, batches = itertools.count(), loader.iterate()
    yield "read", "CPU time", lambda: loader.load(next(numbers)), time.process_time
    yield "delivered", "wall time", lambda: next(batches), time.perf_counter


def _row(what: str, clock: str, seconds: list[float], cfg: CfgNode) -> dict[str, Any]:
    speeds = [cfg.SOLVER.IMS_PER_BATCH / value for value in seconds]
    return {"what": what, "clock": clock, "images_per_second": speeds}


def data_table(rows: list[dict[str, Any]]) -> str:
    """Writes a row per measurement."""
    cells = [(row["what"], row["clock"], with_spread(row["images_per_second"], 0)) for row in rows]
    return markdown_rows(("what", "clock", "images/s, median (min - max)"), cells, num_words=2)
