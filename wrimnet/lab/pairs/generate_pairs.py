"""Writes the set: all of it, or nothing that looks like it."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from wrimnet.data.datasets.base import Counts, count_items
from wrimnet.data.datasets.layout import stop
from wrimnet.data.datasets.llcm import LLCM
from wrimnet.data.images import ImageItem
from wrimnet.data.infrared_range import measure_infrared_range
from wrimnet.lab.pairs.cuts import choose_frame, render
from wrimnet.lab.pairs.description import (
    MANIFEST,
    Sources,
    describe_options,
    hash_sources,
    make_manifest,
    manifest_files,
)
from wrimnet.lab.pairs.options import AUTO, Options, check_options
from wrimnet.lab.pairs.photographs import Pair, list_pairs, read_pair
from wrimnet.lab.pairs.remembered_scenes import remembered_groups
from wrimnet.lab.pairs.split import divide, number_regions
from wrimnet.lab.pairs.survey import Remember, Run, survey
from wrimnet.lab.pairs.tracks import Tracks
from wrimnet.lab.pairs.views import Region
from wrimnet.lab.synthetic.llcm_layout import plan_llcm
from wrimnet.lab.synthetic.plan import Plan, PlannedImage, Request
from wrimnet.lab.synthetic.writing import encode, processes, require_same, whole_tree, write_files
from wrimnet.modality import INFRARED, MODALITY_NAMES


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


def generate_pairs(
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
        visible: folder of color photographs.
        infrared: folder of infrared photographs, with the same stems.
        boxes: folder of YOLO label files with the same stems; None looks for places.
        out: folder that gets ``LLCM``.
        options: what decides the bytes.
        workers: processes; they do not change a byte.
        force: replace a folder that was generated with other options.

    Raises:
        FileExistsError: the folder holds something else, and is not generated or ``force`` is not
            given.
        FileNotFoundError: a folder or a partner is not there.
        ValueError: an option, a photograph or a box is not as it should be.
    """
    check_options(options)
    if workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    pairs = list_pairs(visible, infrared)
    options = _with_range(options, pairs, workers)
    sought = Sought(pairs, boxes, options, hash_sources(pairs, boxes))
    folder = out / LLCM.folder_name
    if folder.exists() and not force:
        expected = describe_options(options, sought.sources)
        require_same(folder, expected, "this set of these photographs")
        print(f"{folder} already holds this set", file=sys.stderr)
        return folder, json.loads((folder / MANIFEST).read_text())
    print(f"comparing and cutting {len(pairs)} pairs of photographs", file=sys.stderr)
    with whole_tree(folder) as growing, processes(workers) as run:
        manifest = _fill(growing, sought, _shown(run), _remember_in(out, sought))
    return folder, manifest


def _with_range(options: Options, pairs: Sequence[Pair], workers: int) -> Options:
    """Replace auto by its range: percentiles of all infrared photographs."""
    if options.infrared_range != AUTO:
        return options
    items = [ImageItem(str(p.infrared), 0, 0, INFRARED, p.infrared.name) for p in pairs]
    measured = measure_infrared_range(items, num_threads=workers)
    return replace(options, infrared_range=measured)


def _remember_in(folder: Path, sought: Sought) -> Remember:
    """Let the scenes that were found stay in a file of ``folder``."""
    digests = [
        sought.sources[pair.stem][MODALITY_NAMES[INFRARED]]["sha256"] for pair in sought.pairs
    ]
    return partial(remembered_groups, folder, digests, sought.options.infrared_range)


def _shown(run: Run) -> Run:
    """Let a bar show how many jobs are done."""
    return lambda function, jobs: tqdm(run(function, jobs), total=len(jobs), disable=None)


def _fill(folder: Path, sought: Sought, run: Run, remember: Remember) -> dict[str, Any]:
    """Write everything below ``folder`` and return the manifest."""
    options = sought.options
    surveyed = survey(sought.pairs, sought.boxes, options, run, remember)
    splits = divide(surveyed.regions, options)
    train_ids, test_ids = (sum(map(len, scenes)) for scenes in splits)
    request = Request(
        options.seed, train_ids, test_ids, options.images_per_id, options.test_images_per_id
    )
    regions = number_regions(*splits, request.split())
    plan = plan_llcm(request)
    for name in plan.folders:
        (folder / name).mkdir(parents=True)
    write_files(folder, plan.files)
    for _ in run(_write_images, _jobs(folder, sought, plan, regions, surveyed.tracks)):
        pass
    description = describe_options(options, sought.sources)
    counts = _count(folder)
    manifest = make_manifest(description, counts, surveyed, splits, regions, sought.sources)
    write_files(folder, manifest_files(manifest, description))
    return manifest


def _jobs(
    folder: Path, sought: Sought, plan: Plan, regions: Mapping[int, Region], tracks: Tracks
) -> list[tuple]:
    """Return a job per photograph, so that each is read once."""
    images: dict[str, list[tuple[PlannedImage, Region]]] = {}
    for image in plan.images:
        first = regions[image.shot.pid]
        region = choose_frame(tracks.get(first, (first,)), image.shot, sought.options.seed)
        images.setdefault(region.stem, []).append((image, region))
    return [
        (folder, pair, images[pair.stem], sought.options)
        for pair in sought.pairs
        if pair.stem in images
    ]


def _write_images(job: tuple[Path, Pair, list[tuple[PlannedImage, Region]], Options]) -> None:
    folder, pair, images, options = job
    photographs = read_pair(pair, options.infrared_range)
    for planned, region in images:
        photograph = photographs[planned.shot.modality]
        size = options.height, options.width
        image = render(photograph, region, planned.shot, options.seed, size)
        write_files(folder, dict.fromkeys(planned.paths, encode(image)))


def _count(folder: Path) -> Counts:
    """Count what LLCM's own reader finds."""
    return {
        "train": count_items(LLCM.read_train(str(folder), 1, stop)),
        "test": count_items(LLCM.read_test(str(folder), 1, stop)),
    }
