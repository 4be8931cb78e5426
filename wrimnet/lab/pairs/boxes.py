"""Boxes of persons from YOLO label files: one box a line, ``class cx cy w h`` in shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wrimnet.lab.pairs.views import Region, reach_box

SLACK = 1e-3  # of a box beyond the photograph's edge, as rounding in label files makes it


@dataclass(frozen=True)
class FoundBoxes:
    """Boxes of one photograph.

    Args:
        regions: those that become identities.
        too_small: how many are lower than the least height.
        at_edge: how many lie so near the edge that a cut would leave the photograph.
        other_class: how many are of another class.
    """

    regions: list[Region]
    too_small: int = 0
    at_edge: int = 0
    other_class: int = 0


def find_boxes(
    stem: str, path: Path, shape: tuple[int, int], min_size: int, box_class: int
) -> FoundBoxes:
    """Read the boxes of a photograph; without a file it has none, as YOLO has it.

    Args:
        stem: of the photograph.
        path: its label file.
        shape: (H, W) of the photograph.
        min_size: boxes of fewer rows are left out.
        box_class: boxes of other classes are left out.

    Raises:
        ValueError: a line is not five numbers, a box leaves the photograph or stands there twice.
    """
    boxes = _read(path, shape) if path.exists() else {}
    wanted = [Region(stem, *box) for (number, *box) in boxes if number == box_class]
    large = [region for region in wanted if region.height >= min_size]
    inside = [region for region in large if _is_inside(region, shape)]
    return FoundBoxes(
        inside, len(wanted) - len(large), len(large) - len(inside), len(boxes) - len(wanted)
    )


def _read(path: Path, shape: tuple[int, int]) -> dict[tuple, int]:
    """Return the line of each (class, top, left, height, width)."""
    boxes: dict[tuple, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        box = _parse(line, f"{path}:{number}", shape)
        if box in boxes:
            raise ValueError(f"{path}:{number}: the box of line {boxes[box]} again; drop one")
        boxes[box] = number
    return boxes


def _parse(line: str, place: str, shape: tuple[int, int]) -> tuple:
    expected = "expected 'class cx cy w h': an integer from 0 and four shares of the photograph"
    try:
        number, *shares = line.split()
        x, y, width, height = map(float, shares)
        kind = int(number)
    except ValueError as problem:
        raise ValueError(f"{place}: {line!r}; {expected}") from problem
    edges = (x - width / 2, y - height / 2, 1 - x - width / 2, 1 - y - height / 2)
    # written so that nan is refused too
    if not (kind >= 0 and width > 0 and height > 0 and min(edges) >= -SLACK):
        raise ValueError(f"{place}: {line!r} does not lie inside the photograph; {expected}")
    rows, columns = shape
    return kind, edges[1] * rows, edges[0] * columns, height * rows, width * columns


def _is_inside(region: Region, shape: tuple[int, int]) -> bool:
    top, left, bottom, right = reach_box(region)
    return top >= 0 and left >= 0 and bottom <= shape[0] and right <= shape[1]
