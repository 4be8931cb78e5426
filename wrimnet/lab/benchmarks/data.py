"""The data path measured beside FastReID's own and the classic one, on drawn JPEG files.

Speeds per core are images per second of this process's CPU time, with one thread: they hold on a
machine that is busy with other things too. Delivery is measured by the clock on the wall.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wrimnet.data.cache import build_cache_file, open_cache
from wrimnet.data.cache_file import CacheFile, cache_key
from wrimnet.data.loader import TrainSet
from wrimnet.data.reading import ImageReader, ReadingWatch
from wrimnet.data.sources import DecodingSource, DeviceSource, DiskSource, MemorySource
from wrimnet.lab.benchmarks.data_paths import (
    BATCH,
    READING,
    augmented_on_cpu,
    build_fastreid_path,
    classic_path,
    delivery,
    draw_train_set,
    uint8_batches,
)
from wrimnet.lab.benchmarks.timing import one_thread

CACHE = {"num_processes": 1, "timeout": 60.0}
BASELINE = "FastReID 1.4.0's transforms"
Clock = Callable[[], float]


def benchmark_data(
    folder: Path,
    device: torch.device,
    classic: Callable[..., Any],
    *,
    num_images: int = 1536,
    repeats: int = 5,
) -> list[dict[str, Any]]:
    """Measures every way from files to batches of 384 x 144.

    The ways take turns, so that a slow minute of the machine meets all of them.

    Args:
        folder: Where JPEG files and caches are made.
        device: Where delivery goes.
        classic: Makes the augmentation image by image, the oracle of the tests.
        num_images: Images drawn, a multiple of 128.
        repeats: Measurements of each way.

    Returns:
        One dict per way: "name", "result" (what comes out), "clock" ("core" or "wall"), "images"
        per measurement, "images_per_second" (one value per measurement) and "baseline", the name
        of the way it is compared with, or None.
    """
    train_set = draw_train_set(folder / "images", num_images)
    key = cache_key(train_set.items, dataset="Drawn", on_bad_image="error", **READING)
    cache = open_cache(key, train_set.items, folder / "cache", **CACHE)
    ways = [*_per_core(train_set, cache, classic), _cache_building(train_set, folder)]
    ways += _deliveries(train_set, cache, device)
    with one_thread():
        for _ in range(repeats):
            for way in ways:
                way["images_per_second"].append(_speed(way))
    return [{name: value for name, value in way.items() if name != "run"} for way in ways]


def _way(
    name: str,
    result: str,
    run: Callable[[], Any],
    images: int,
    clock: str = "core",
    baseline: str | None = BASELINE,
) -> dict[str, Any]:
    return {
        "name": name,
        "result": result,
        "run": run,
        "images": images,
        "clock": clock,
        "baseline": baseline,
        "images_per_second": [],
    }


def _per_core(
    train_set: TrainSet, cache: CacheFile, classic: Callable[..., Any]
) -> list[dict[str, Any]]:
    items, watch = train_set.items, ReadingWatch()
    few, many = 2 * BATCH, 16 * BATCH
    reader = ImageReader(items, on_bad_image="error", **READING)
    disk = DiskSource(cache, watch=watch, pin=False)
    memory = MemorySource(CacheFile(cache.path), pin=False)
    decoding = DecodingSource(reader, num_threads=1, pin=False)
    uint8, floats = "uint8 batch", "augmented float tensor"
    return [
        _way(BASELINE, floats, build_fastreid_path(items, few), few, baseline=None),
        _way("classic, image by image", floats, classic_path(classic, items, few), few),
        _way("CACHE none", uint8, uint8_batches(decoding, few, len(items)), few),
        _way("CACHE disk", uint8, uint8_batches(disk, many, len(items)), many),
        _way("CACHE ram", uint8, uint8_batches(memory, many, len(items)), many),
        _way(
            "CACHE disk, augmented and normalised on the CPU",
            floats,
            augmented_on_cpu(disk, 4 * BATCH, train_set),
            4 * BATCH,
        ),
    ]


def _cache_building(train_set: TrainSet, folder: Path) -> dict[str, Any]:
    key = cache_key(train_set.items, dataset="Build", on_bad_image="error", **READING)
    path = folder / "cache" / key.file_name

    def build() -> None:
        build_cache_file(path, key, train_set.items, **CACHE)
        path.unlink()

    return _way("building the cache", "cache file", build, key.count, baseline="CACHE none")


def _deliveries(
    train_set: TrainSet, cache: CacheFile, device: torch.device
) -> list[dict[str, Any]]:
    watch, pin = ReadingWatch(), device.type == "cuda"
    reader = ImageReader(train_set.items, on_bad_image="error", watch=watch, **READING)
    sources = {
        "none": DecodingSource(reader, num_threads=2, pin=pin),
        "disk": DiskSource(cache, watch=watch, pin=pin),
        "ram": MemorySource(CacheFile(cache.path), pin=pin),
        "gpu": DeviceSource(CacheFile(cache.path), device=device),
    }
    if not pin:
        del sources["gpu"]
    ways = []
    for name, source in sources.items():
        for augmented in (False, True) if pin else (False,):
            images = (2 if name == "none" else 40) * BATCH
            run = delivery(train_set, source, watch, device, images // BATCH, augmented)
            what = "augmented" if augmented else "uint8"
            title, result = f"delivery, {what}, CACHE {name}", f"{what} batch on {device.type}"
            ways.append(_way(title, result, run, images, "wall", None))
    return ways


def _speed(way: dict[str, Any]) -> float:
    clock = _cpu_seconds if way["clock"] == "core" else time.perf_counter
    begin = clock()
    way["run"]()
    return way["images"] / (clock() - begin)


def _cpu_seconds() -> float:
    """Returns the CPU time of this process and of the processes it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def ways_table(ways: list[dict[str, Any]]) -> str:
    """A row per way: median, spread, and how many times faster it is than its baseline."""
    medians = {way["name"]: float(np.median(way["images_per_second"])) for way in ways}
    lines = [
        "| way | result | images/s per | median | min - max | ratio | to |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for way in ways:
        speeds, baseline = way["images_per_second"], way["baseline"]
        ratio = f"{medians[way['name']] / medians[baseline]:.2f}" if baseline else "-"
        lines.append(
            f"| {way['name']} | {way['result']} | {way['clock']} | {medians[way['name']]:.0f} | "
            f"{min(speeds):.0f} - {max(speeds):.0f} | {ratio} | {baseline or '-'} |"
        )
    return "\n".join(lines)
