"""Examines a dataset folder and collects everything that differs from the distributed one.

It reads with the dataset's own functions, so what it passes, training and testing accept. Nothing
that lies on the disk makes it stop: every deviation becomes a finding.
"""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from tabulate import tabulate
from tqdm import tqdm

from wrimnet.data.datasets.base import (
    Counts,
    CrossModalityDataset,
    count_differences,
    count_items,
    is_synthetic,
)
from wrimnet.data.datasets.layout import OnProblem, require_folder
from wrimnet.data.images import ImageItem, UnreadableImageError, read_rgb
from wrimnet.data.jpeg_warnings import jpeg_warning
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE

CHUNK = 64  # files per message to a process

# Kind of finding -> what it means, and what to do about it. In the order they are best mended.
ADVICE = {
    "missing": (
        "missing folders or files",
        "Unpack the archive again, completely, and compare with the tree in datasets/README.md. "
        "If the dataset lies elsewhere, give its parent folder as --root.",
    ),
    "malformed": (
        "files or folders that are not as distributed",
        "Take the named file or folder from the archive again; move what does not belong there.",
    ),
    "overlap": (
        "identities in both training and test",
        "The index files do not belong together: take all of them from one archive.",
    ),
    "counts": (
        "counts that differ",
        "Images or identities are missing or too many: unpack the archive again. For a part of a "
        "dataset used on purpose, run with --skip-counts or --counts; its results are not "
        "comparable with published ones.",
    ),
    "unreadable": (
        "images that cannot be read, or not whole",
        "Take these files from the archive again; if they stay damaged, download it again.",
    ),
}


class Division(NamedTuple):
    """A pair of training and test images; RegDB has one per trial."""

    label: str  # "" or "trial 3"
    train: list[ImageItem]
    test: list[ImageItem]


class Finding(NamedTuple):
    """Something that differs from the distributed dataset."""

    kind: str  # of ADVICE
    text: str


@dataclass
class Examination:
    """What was found in a dataset's folder; without findings it is sound."""

    dataset: str
    folder: str
    synthetic: bool  # a drawn stand-in
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)  # of both splits, by division
    num_images_opened: int = 0


def examine(
    dataset: type[CrossModalityDataset],
    root: str,
    *,
    expected: Counts | None,
    open_images: bool,
    workers: int,
) -> Examination:
    """Examines a dataset: layout, index files, counts, disjoint identities, every image.

    ``expected`` counts None compares nothing; ``workers`` 0 opens the images in this process.
    """
    folder = os.path.join(root, dataset.folder_name)
    examination = Examination(dataset.name, folder, is_synthetic(folder))
    divisions = _read(dataset, examination)
    for division in divisions:
        _check_division(division, dataset, expected, examination)
    if open_images:
        _open_images(divisions, workers, examination)
    return examination


def published_counts(dataset: type[CrossModalityDataset], root: str) -> Counts | None:
    """Returns the counts published for a dataset, None for a drawn stand-in of it."""
    folder = os.path.join(root, dataset.folder_name)
    return None if is_synthetic(folder) else dataset.expected_counts


def _read(dataset: type[CrossModalityDataset], examination: Examination) -> list[Division]:
    def on_problem(problem: Exception) -> None:
        kind = "missing" if isinstance(problem, FileNotFoundError) else "malformed"
        finding = Finding(kind, str(problem))
        if finding not in examination.findings:  # divisions share their folders
            examination.findings.append(finding)

    if not require_folder(examination.folder, on_problem):
        return []
    try:
        return list(_divisions(dataset, examination.folder, on_problem))
    except OSError as problem:
        examination.findings.append(Finding("missing", f"could not be read: {problem}"))
        return []


def _divisions(
    dataset: type[CrossModalityDataset], folder: str, on_problem: OnProblem
) -> Iterator[Division]:
    for number in dataset.numbers:
        label = f"trial {number}" if dataset.number_key else ""
        train = dataset.read_train(folder, number, on_problem)
        yield Division(label, train, dataset.read_test(folder, number, on_problem))


def _check_division(
    division: Division,
    dataset: type[CrossModalityDataset],
    expected: Counts | None,
    examination: Examination,
) -> None:
    counts = {"train": count_items(division.train), "test": count_items(division.test)}
    examination.counts[division.label] = counts
    if expected is not None:
        examination.findings += [
            Finding("counts", difference)
            for difference in count_differences(counts, expected, division.label)
        ]
    train, test = (
        {dataset.parse_relpath(item.relpath)[0] for item in items}
        for items in (division.train, division.test)
    )
    _find(train & test, "overlap", "identities in both training and test", division, examination)
    visible, infrared = (
        {item.pid for item in division.train if item.modality == modality}
        for modality in (VISIBLE, INFRARED)
    )
    for name, pids in (("visible", infrared - visible), ("infrared", visible - infrared)):
        _find(pids, "missing", f"training identities without {name} image", division, examination)


def _find(
    pids: set[int], kind: str, what: str, division: Division, examination: Examination
) -> None:
    """Adds one finding for all identities it holds of, if any."""
    if pids:
        where = f"{division.label}: " if division.label else ""
        text = f"{where}{len(pids)} {what}: {', '.join(map(str, sorted(pids)))}"
        examination.findings.append(Finding(kind, text))


def _open_images(divisions: Sequence[Division], workers: int, examination: Examination) -> None:
    paths = sorted({item.path for division in divisions for item in division.train + division.test})
    try:
        unreadable = unreadable_images(paths, workers)
    except BrokenProcessPool as problem:
        text = f"the processes that open images ended early ({problem}); run with --workers 0"
        examination.findings.append(Finding("unreadable", text))
        return
    examination.num_images_opened = len(paths)
    examination.findings += [Finding("unreadable", text) for text in unreadable]


def unreadable_images(paths: Sequence[str], workers: int) -> list[str]:
    """Opens every file to the last pixel; returns "path: reason" of each that is damaged."""
    opened = tqdm(
        _problems(paths, workers), "opening images", len(paths), disable=None, leave=False
    )
    return [problem for problem in opened if problem]


def _problems(paths: Sequence[str], workers: int) -> Iterator[str]:
    if workers == 0:
        yield from map(_problem, paths)
        return
    # A fork would copy the threads' locks of the libraries already loaded.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_problem, paths, chunksize=CHUNK)


def _problem(path: str) -> str:
    if not os.path.isfile(path):
        return f"{path}: it is no regular file"  # reading a pipe would not end
    try:
        read_rgb(path)
    except UnreadableImageError as problem:
        return str(problem)
    warning = jpeg_warning(path)
    return f"{path}: {warning}" if warning else ""


def in_words(examination: Examination) -> str:
    """Returns the whole report as text."""
    kind = " (drawn stand-in)" if examination.synthetic else ""
    lines = [f"{examination.dataset}{kind} in {examination.folder}", ""]
    if examination.counts:
        lines += [_table(examination.counts), ""]
    if examination.num_images_opened:
        lines.append(f"{examination.num_images_opened} images opened.")
    order = list(ADVICE)
    ordered = sorted(examination.findings, key=lambda finding: order.index(finding.kind))
    for kind, findings in groupby(ordered, key=lambda finding: finding.kind):
        title, advice = ADVICE[kind]
        texts = [f"  - {finding.text}" for finding in findings]
        lines += ["", f"{len(texts)} x {title}:", *texts, f"  What to do: {advice}"]
    if examination.findings:
        return "\n".join([*lines, "", f"NOT SOUND: {len(examination.findings)} findings."])
    return "\n".join([*lines, "", "SOUND: all that was checked holds."])


def as_json(examination: Examination) -> dict[str, Any]:
    """Returns the report for JSON; "counts" (of one division) is what --counts takes as a file."""
    counts = examination.counts
    return {
        "dataset": examination.dataset,
        "folder": examination.folder,
        "synthetic": examination.synthetic,
        "sound": not examination.findings,
        "findings": [finding._asdict() for finding in examination.findings],
        "num_images_opened": examination.num_images_opened,
        "counts": counts.get("", counts),
    }


def _table(counts: dict[str, Counts]) -> str:
    rows = []
    for label, division in counts.items():
        for split, found in division.items():
            where = f"{label} {split}".strip()
            rows.append((where, "both", "all", found["identities"], found["images"]))
            for name in MODALITY_NAMES:
                rows += _modality_rows(where, name, found[name])
    headers = ("split", "modality", "camera", "identities", "images")
    return tabulate(rows, headers=headers, tablefmt="pipe")


def _modality_rows(where: str, name: str, found: Counts) -> list[tuple[Any, ...]]:
    rows = [(where, name, "all", found["identities"], found["images"])]
    return rows + [
        (where, name, camera, size["identities"], size["images"])
        for camera, size in found["cameras"].items()
    ]
