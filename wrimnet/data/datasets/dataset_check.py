"""Examines a dataset folder and collects everything that differs from the distributed one.

It reads with the dataset's own functions, so what it passes, training and testing accept. Nothing
on the disk makes it stop: every deviation becomes a finding.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import NamedTuple

from wrimnet.data.datasets.base import (
    Counts,
    CrossModalityDataset,
    count_differences,
    count_items,
    stand_in,
)
from wrimnet.data.datasets.image_check import (
    Division,
    describe_cameras,
    misplaced_pictures,
    open_pictures,
)
from wrimnet.data.datasets.layout import OnProblem, check_names, require_folder
from wrimnet.data.images import DENIED
from wrimnet.modality import INFRARED, VISIBLE


class Finding(NamedTuple):
    """Something that differs from the distributed dataset."""

    kind: str  # denied, missing, malformed, overlap, counts, unreadable or pictures
    text: str


@dataclass
class Examination:
    """What was found in a dataset's folder; without findings it is sound."""

    dataset: str
    folder: str
    stand_in: str  # what its images are instead of the dataset's own, or ""
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)  # of both splits, by division
    num_images_opened: int = 0
    notes: list[str] = field(default_factory=list)  # what is no deviation


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
    examination = Examination(dataset.name, folder, stand_in(folder))
    divisions = _read(dataset, examination)
    for division in divisions:
        _check_division(division, dataset, expected, examination)
    if open_images:
        _open_images(divisions, dataset, workers, examination)
    return examination


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
        kind = "denied" if isinstance(problem, PermissionError) else "missing"
        examination.findings.append(Finding(kind, f"could not be read: {problem}"))
        return []


def _divisions(
    dataset: type[CrossModalityDataset], folder: str, on_problem: OnProblem
) -> Iterator[Division]:
    for number in dataset.numbers:
        label = f"trial {number}" if dataset.number_key else ""
        read = (dataset.read_train, dataset.read_test)
        train, test = (check_names(of(folder, number, on_problem), on_problem) for of in read)
        yield Division(label, train, test)


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
        {dataset.person_of(item) for item in items} for items in (division.train, division.test)
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
    divisions: Sequence[Division],
    dataset: type[CrossModalityDataset],
    workers: int,
    examination: Examination,
) -> None:
    paths = sorted({item.path for division in divisions for item in division.train + division.test})
    try:
        pictures = {picture.path: picture for picture in open_pictures(paths, workers)}
    except BrokenProcessPool as problem:
        text = f"the processes that open images ended early ({problem}); run with --workers 0"
        examination.findings.append(Finding("unreadable", text))
        return
    examination.num_images_opened = len(paths)
    examination.findings += [
        Finding(
            "denied" if picture.problem == DENIED else "unreadable", f"{path}: {picture.problem}"
        )
        for path, picture in pictures.items()
        if picture.problem
    ]
    examination.notes += describe_cameras(pictures.values())
    texts = misplaced_pictures(divisions, pictures, dataset.person_of)
    examination.findings += [Finding("pictures", text) for text in texts]
