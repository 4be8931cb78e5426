"""The queries of a protocol that a model answers worst, with the images that it found."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from wrimnet.data.images import ImageItem
from wrimnet.evaluation.evaluator import ProtocolRun
from wrimnet.evaluation.query_values import NEAREST_COLUMNS
from wrimnet.run_folder import query_file
from wrimnet.visualization.ranked_lists import RIGHT, WRONG
from wrimnet.visualization.sheets import picture_url

MOST_ROWS = 200  # of all protocols together
THUMBNAIL_SIZE = 40, 88  # largest width and height, pixels


class QueryRow(NamedTuple):
    """One query of the first trial and its nearest images, by their paths."""

    query: str
    identity: int
    camera: int
    average_precision: float  # percent
    first_match: int  # rank of the first right image or identity, as the protocol counts
    nearest: Sequence[tuple[str, str]]  # path and RIGHT or WRONG


class QueryTable(NamedTuple):
    """The queries with the lowest average precision, worst first."""

    title: str
    caption: str
    rows: Sequence[QueryRow]


def read_query_tables(
    folder: Path, runs: Sequence[ProtocolRun], items: Sequence[ImageItem]
) -> list[QueryTable]:
    """Reads the tables of all protocols; errors of :func:`read_query_table`."""
    by_path = {item.relpath: item for item in items}
    return [read_query_table(folder, run, by_path, MOST_ROWS // len(runs)) for run in runs]


def thumbnails(
    tables: Sequence[QueryTable],
    items: Sequence[ImageItem],
    read: Callable[[ImageItem], Image.Image],
) -> dict[str, str]:
    """Returns a small picture of every image of the tables as a data URL, by path."""
    used = {path for table in tables for row in table.rows for path, _ in row.nearest}
    used |= {row.query for table in tables for row in table.rows}
    return {
        item.relpath: picture_url(read(item), THUMBNAIL_SIZE)
        for item in items
        if item.relpath in used
    }


def read_query_table(
    folder: Path, run: ProtocolRun, items: Mapping[str, ImageItem], most_rows: int
) -> QueryTable:
    """Reads the values of every query of a protocol from the folder of a run.

    Args:
        folder: of the run.
        run: the protocol.
        items: test images by their path in the dataset's folder.
        most_rows: queries that are shown.

    Raises:
        FileNotFoundError: the run has no such file.
        ValueError: it has no average precision.
        KeyError: it names an image that the dataset does not have.
    """
    file = query_file(folder, run.protocol.name)
    values = _first_trial(file)
    matched = [line for line in values if line["first_match"]]
    worst = sorted(matched, key=lambda line: float(line["AP"]))[:most_rows]
    caption = (
        f"The {len(worst)} of {len(values)} queries of the first trial with the lowest average "
        f"precision (AP), and the images that they found; all values are in {file.name}."
    )
    if lacking := len(values) - len(matched):
        caption += f" {lacking} queries without a match have none."
    title = f"{run.protocol.direction} ({run.protocol.name})"
    return QueryTable(title, caption, [_row(line, items) for line in worst])


def _first_trial(file: Path) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8") as stream:
        lines = csv.DictReader(stream)
        if "AP" not in (lines.fieldnames or ()):
            raise ValueError(f"{file} has no column AP; add mAP to TEST.METRICS and evaluate again")
        return [line for line in lines if line["trial"] == "0"]


def _row(line: Mapping[str, str], items: Mapping[str, ImageItem]) -> QueryRow:
    paths = [line[column] for column in NEAREST_COLUMNS if line[column]]
    identity = int(line["identity"])
    return QueryRow(
        query=line["query"],
        identity=identity,
        camera=int(line["camera"]),
        average_precision=100 * float(line["AP"]),
        first_match=int(line["first_match"]),
        nearest=[(path, RIGHT if items[path].pid == identity else WRONG) for path in paths],
    )
