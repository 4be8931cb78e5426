"""Examines a dataset folder and collects everything that differs from the distributed one.

It reads with the readers' own functions, so what it passes, training and testing accept. Nothing
that lies on the disk makes it stop: every deviation becomes a finding.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import NamedTuple, TextIO

from wrimnet.data.datasets import llcm, regdb, sysu_mm01
from wrimnet.data.datasets.base import is_synthetic
from wrimnet.data.datasets.counts import count_differences, count_items
from wrimnet.data.datasets.expected_counts import EXPECTED_COUNTS, Counts
from wrimnet.data.datasets.layout import OnProblem, require_folder
from wrimnet.data.integrity import unreadable_images
from wrimnet.data.items import ImageItem
from wrimnet.modality import INFRARED, VISIBLE


class Division(NamedTuple):
    """A pair of training and test images; RegDB has one per trial."""

    label: str  # "" or "trial 3"
    train: list[ImageItem]
    test: list[ImageItem]


class Finding(NamedTuple):
    """Something that differs from the distributed dataset."""

    kind: str  # missing, malformed, overlap, counts or unreadable
    text: str


class Source(NamedTuple):
    """How a dataset is read and how its people are told apart."""

    folder_name: str
    read: Callable[[str, OnProblem], list[Division]]
    parse_relpath: Callable[[str], tuple[int, int, int]]


@dataclass
class Examination:
    """What was found in a dataset's folder.

    Attributes:
        dataset: LLCM, RegDB or SYSU_MM01.
        folder: the folder examined.
        synthetic: True for a drawn stand-in.
        findings: deviations; an empty list is a sound dataset.
        counts: per division label, counts in the shape of `expected_counts`.
        num_images_opened: how many distinct files were opened.
    """

    dataset: str
    folder: str
    synthetic: bool
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    num_images_opened: int = 0


def examine(
    dataset: str,
    root: str,
    *,
    expected: Counts | None,
    open_images: bool,
    workers: int,
    progress: TextIO,
) -> Examination:
    """Examines a dataset: layout, index files, counts, disjoint identities, every image.

    Args:
        dataset: LLCM, RegDB or SYSU_MM01.
        root: folder that holds the dataset's folder.
        expected: counts to compare with; None compares nothing.
        open_images: whether to open every image to the last pixel.
        workers: processes that open images; 0 for this one alone.
        progress: stream of the progress bar.

    Raises:
        KeyError: no dataset of this name.
    """
    if dataset not in SOURCES:
        raise KeyError(f"dataset {dataset!r} is unknown; use one of {', '.join(SOURCES)}")
    source = SOURCES[dataset]
    folder = os.path.join(root, source.folder_name)
    examination = Examination(dataset, folder, is_synthetic(folder))
    divisions = _read(source, examination)
    for division in divisions:
        _check_division(division, source, expected, examination)
    if open_images:
        _open_images(divisions, workers, progress, examination)
    return examination


def published_counts(dataset: str, root: str) -> Counts | None:
    """Returns the counts published for a dataset, None for a drawn stand-in of it."""
    folder = os.path.join(root, SOURCES[dataset].folder_name)
    return None if is_synthetic(folder) else EXPECTED_COUNTS[dataset]


def _read(source: Source, examination: Examination) -> list[Division]:
    def on_problem(problem: Exception) -> None:
        kind = "missing" if isinstance(problem, FileNotFoundError) else "malformed"
        finding = Finding(kind, str(problem))
        if finding not in examination.findings:  # RegDB's trials share their folders
            examination.findings.append(finding)

    if not require_folder(examination.folder, on_problem):
        return []
    try:
        return source.read(examination.folder, on_problem)
    except OSError as problem:
        examination.findings.append(Finding("missing", f"could not be read: {problem}"))
        return []


def _check_division(
    division: Division, source: Source, expected: Counts | None, examination: Examination
) -> None:
    counts = {"train": count_items(division.train), "test": count_items(division.test)}
    examination.counts[division.label] = counts
    if expected is not None:
        examination.findings += [
            Finding("counts", difference)
            for difference in count_differences(counts, expected, division.label)
        ]
    train, test = (
        {source.parse_relpath(item.relpath)[0] for item in items}
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


def _open_images(
    divisions: Sequence[Division], workers: int, progress: TextIO, examination: Examination
) -> None:
    paths = sorted({item.path for division in divisions for item in division.train + division.test})
    try:
        unreadable = unreadable_images(paths, workers, progress)
    except BrokenProcessPool as problem:
        text = f"the processes that open images ended early ({problem}); run with --workers 0"
        examination.findings.append(Finding("unreadable", text))
        return
    examination.num_images_opened = len(paths)
    examination.findings += [Finding("unreadable", text) for text in unreadable]


def _read_llcm(folder: str, on_problem: OnProblem) -> list[Division]:
    train, test = llcm.read_train(folder, on_problem), llcm.read_test(folder, on_problem)
    return [Division("", train, test)]


def _read_regdb(folder: str, on_problem: OnProblem) -> list[Division]:
    return [
        Division(
            f"trial {trial}",
            regdb.read_split(folder, "train", trial, on_problem),
            regdb.read_split(folder, "test", trial, on_problem),
        )
        for trial in regdb.TRIALS
    ]


def _read_sysu(folder: str, on_problem: OnProblem) -> list[Division]:
    train, test = sysu_mm01.read_train(folder, on_problem), sysu_mm01.read_test(folder, on_problem)
    return [Division("", train, test)]


SOURCES = {
    "LLCM": Source(llcm.FOLDER, _read_llcm, llcm.parse_relpath),
    "RegDB": Source(regdb.FOLDER, _read_regdb, regdb.parse_relpath),
    "SYSU_MM01": Source(sysu_mm01.FOLDER, _read_sysu, sysu_mm01.parse_relpath),
}
