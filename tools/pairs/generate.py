"""Writes the set: all of it, or nothing that looks like it."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from pairs.cuts import render
from pairs.description import (
    MANIFEST,
    Sources,
    describe,
    hash_sources,
    make_manifest,
    manifest_files,
)
from pairs.options import Options, check_options
from pairs.photographs import Pair, list_pairs, read_pair
from pairs.split import divide, number_regions
from pairs.survey import Run, survey
from pairs.views import Region
from synthetic.llcm_layout import plan_llcm
from synthetic.plan import Plan, PlannedImage, Request
from wrimnet.data.datasets.base import SYNTHETIC_MARK, Counts, count_items
from wrimnet.data.datasets.layout import stop
from wrimnet.data.datasets.llcm import LLCM

JPEG_QUALITY = 92


@dataclass(frozen=True)
class Sought:
    """What is to be made of which photographs.

    Args:
        pairs: the photographs.
        boxes: folder of YOLO label files with the same stems; None looks for places.
        options: what decides the bytes.
        sources: names and hashes of the files.
    """

    pairs: Sequence[Pair]
    boxes: Path | None
    options: Options
    sources: Sources


def generate(
    *,
    visible: Path,
    infrared: Path,
    boxes: Path | None = None,
    out: Path,
    options: Options,
    workers: int = 1,
    force: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Write a set in LLCM's layout; return its folder and its manifest.

    The tree grows in a folder beside the final one and is renamed at the end. A folder that already
    holds the very same set, of the same photographs, is left alone.

    Args:
        visible: folder of colour photographs.
        infrared: folder of infrared photographs, with the same stems.
        boxes: folder of YOLO label files with the same stems; None looks for places.
        out: folder that gets ``LLCM``.
        options: what decides the bytes.
        workers: processes; they do not change a byte.
        force: replace a folder that is there.

    Raises:
        FileExistsError: the folder holds something else and ``force`` is not given.
        FileNotFoundError: a folder or a partner is not there.
        ValueError: an option, a photograph or a box is not as it should be.
    """
    check_options(options)
    if workers < 1:
        raise ValueError(f"workers is {workers}, need at least 1")
    pairs = list_pairs(visible, infrared)
    sought = Sought(pairs, boxes, options, hash_sources(pairs, boxes))
    folder = out / LLCM.folder_name
    if folder.exists() and not force:
        _require_same(folder, describe(options, sought.sources))
        print(f"{folder} already holds this set", file=sys.stderr)
        return folder, json.loads((folder / MANIFEST).read_text())
    partial = folder.with_name(f".{LLCM.folder_name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    with _processes(workers) as run:
        manifest = _fill(partial, sought, run)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return folder, manifest


def _require_same(folder: Path, expected: dict[str, Any]) -> None:
    mark = folder / SYNTHETIC_MARK
    found = json.loads(mark.read_text()) if mark.exists() else {}
    if {name: found.get(name) for name in expected} != expected:
        raise FileExistsError(
            f"{folder} exists and is not this set of these photographs; remove it, choose another "
            "folder or replace it with --force"
        )


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Run]:
    """Give a function that maps over jobs in so many processes."""
    if workers == 1:
        yield lambda function, jobs: _show_progress(map(function, jobs), len(jobs))
        return
    with multiprocessing.get_context("spawn").Pool(workers, cv2.setNumThreads, (1,)) as pool:
        yield lambda function, jobs: _show_progress(pool.imap_unordered(function, jobs), len(jobs))


def _show_progress(results: Iterable, total: int) -> Iterator:
    """Pass the results on; draw how many there are on the error stream when somebody watches."""
    for done, result in enumerate(results, start=1):
        if sys.stderr.isatty():
            bar = "#" * (40 * done // total)
            print(f"\r[{bar:<40}] {done}/{total}", end="", file=sys.stderr, flush=True)
        yield result
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _fill(folder: Path, sought: Sought, run: Run) -> dict[str, Any]:
    """Write everything below ``folder`` and return the manifest."""
    options = sought.options
    surveyed = survey(sought.pairs, sought.boxes, options, run)
    splits = divide(surveyed.regions, options)
    train_ids, test_ids = (sum(map(len, scenes)) for scenes in splits)
    request = Request(
        options.seed, train_ids, test_ids, options.images_per_id, options.test_images_per_id
    )
    regions = number_regions(*splits, request.split())
    plan = plan_llcm(request)
    for name in plan.folders:
        (folder / name).mkdir(parents=True)
    _write_files(folder, plan.files)
    for _ in run(_write_images, _jobs(folder, sought, plan, regions)):
        pass
    description = describe(options, sought.sources)
    counts = _count(folder)
    manifest = make_manifest(description, counts, surveyed, splits, regions, sought.sources)
    _write_files(folder, manifest_files(manifest, description))
    return manifest


def _jobs(folder: Path, sought: Sought, plan: Plan, regions: Mapping[int, Region]) -> list[tuple]:
    """Return a job per photograph, so that each is read once."""
    images: dict[str, list[tuple[PlannedImage, Region]]] = {}
    for image in plan.images:
        region = regions[image.shot.pid]
        images.setdefault(region.stem, []).append((image, region))
    return [
        (folder, pair, images[pair.stem], sought.options)
        for pair in sought.pairs
        if pair.stem in images
    ]


def _write_images(job: tuple[Path, Pair, list[tuple[PlannedImage, Region]], Options]) -> None:
    folder, pair, images, options = job
    photographs = read_pair(pair)
    for planned, region in images:
        photograph = photographs[planned.shot.modality]
        size = options.height, options.width
        image = render(photograph, region, planned.shot, options.seed, size)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        content = cv2.imencode(".jpg", image[..., ::-1], quality)[1].tobytes()
        _write_files(folder, dict.fromkeys(planned.paths, content))


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _count(folder: Path) -> Counts:
    """Count what LLCM's own reader finds."""
    return {
        "train": count_items(LLCM.read_train(str(folder), 1, stop)),
        "test": count_items(LLCM.read_test(str(folder), 1, stop)),
    }
