"""Boxes of persons from YOLO label files: one box a line, ``class cx cy w h`` in shares.

A track id, an integer from 0, may follow as sixth column.
"""

from dataclasses import dataclass
from pathlib import Path

from wrimnet.lab.pairs.views import Region, reach_box

SLACK = 1e-3  # of a box beyond the photograph's edge, as rounding in label files makes it


@dataclass(frozen=True)
class FoundBoxes:
    """Boxes of one photograph.

    Args:
        regions: those that become identities, or images of them.
        tracks: track id of each of them; empty without track ids.
        too_small: how many are lower than the least height.
        at_edge: how many lie so near the edge that a cut would leave the photograph.
        other_class: how many have another class.
    """

    regions: list[Region]
    tracks: list[int]
    too_small: int = 0
    at_edge: int = 0
    other_class: int = 0


def find_boxes(
    stem: str,
    path: Path,
    shape: tuple[int, int],
    min_size: int,
    box_class: int,
    pad: bool = False,
) -> FoundBoxes:
    """Read the boxes of a photograph; without a file it has none, as YOLO has it.

    Args:
        stem: of the photograph.
        path: its label file.
        shape: (H, W) of the photograph.
        min_size: boxes of fewer rows are left out.
        box_class: boxes of other classes are left out.
        pad: keep boxes whose cuts leave the photograph; its edge is repeated there.

    Raises:
        ValueError: a line is not five numbers, or six with a track id, a box leaves the photograph,
            or a box or track is there twice.
    """
    boxes = _read(path, shape) if path.exists() else []
    selected = [(Region(stem, *box), track) for number, track, *box in boxes if number == box_class]
    large = [(region, track) for region, track in selected if region.height >= min_size]
    kept = [(region, track) for region, track in large if pad or _is_inside(region, shape)]
    return FoundBoxes(
        regions=[region for region, _ in kept],
        tracks=[track for _, track in kept if track is not None],
        too_small=len(selected) - len(large),
        at_edge=len(large) - len(kept),
        other_class=len(boxes) - len(selected),
    )


def count_boxes(path: Path, box_class: int) -> int:
    """Count the lines of a class in a label file; 0 without a file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sum(line.split()[:1] == [str(box_class)] for line in lines)


def _read(path: Path, shape: tuple[int, int]) -> list[tuple]:
    """Return (class, track, top, left, height, width) of each line; the track may be None."""
    boxes, lines = [], dict[tuple, int]()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        kind, track, *box = _parse(line, f"{path}:{number}", shape)
        for what, key in (("box", (kind, *box)), ("track", (kind, track))):
            if key in lines and key != (kind, None):
                raise ValueError(
                    f"{path}:{number}: the {what} of line {lines[key]} is repeated; remove one"
                )
            lines[key] = number
        boxes.append((kind, track, *box))
    return boxes


def _parse(line: str, place: str, shape: tuple[int, int]) -> tuple:
    expected = (
        "expected 'class cx cy w h' or 'class cx cy w h track': class and track are integers from "
        "0, the others shares of the photograph"
    )
    try:
        number, *shares = line.split()
        track = int(shares.pop()) if len(shares) == 5 else None
        x, y, width, height = map(float, shares)
        kind = int(number)
    except ValueError as problem:
        raise ValueError(f"{place}: {line!r}; {expected}") from problem
    edges = (x - width / 2, y - height / 2, 1 - x - width / 2, 1 - y - height / 2)
    # written so that nan is refused too
    if not (kind >= 0 and (track or 0) >= 0 and width > 0 and height > 0 and min(edges) >= -SLACK):
        raise ValueError(f"{place}: {line!r} does not lie inside the photograph; {expected}")
    rows, columns = shape
    return kind, track, edges[1] * rows, edges[0] * columns, height * rows, width * columns


def _is_inside(region: Region, shape: tuple[int, int]) -> bool:
    top, left, bottom, right = reach_box(region)
    return top >= 0 and left >= 0 and bottom <= shape[0] and right <= shape[1]
