"""Track ids of persons in label files: the boxes of a track are one identity."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from wrimnet.lab.pairs.views import Region

NUM_FIELDS = 6  # of a line with a track id: class cx cy w h track
Tracks = dict[Region, tuple[Region, ...]]  # the first box of each track -> all its boxes


def has_tracks(files: Iterable[Path]) -> bool:
    """Say whether the lines of label files have track ids.

    Raises:
        ValueError: some lines have one and others have none.
    """
    first: dict[bool, str] = {}
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                first.setdefault(len(line.split()) == NUM_FIELDS, f"{file}:{number}")
    if len(first) == 2:
        raise ValueError(
            f"{first[True]} has a track id as sixth column and {first[False]} has none; give one "
            "to every line, or to none"
        )
    return True in first


def tracks_in(files: Iterable[Path], box_class: int) -> set[int]:
    """Return the track ids of a class in label files; a file that is not there has none."""
    lines = [
        line.split()
        for file in files
        if file.exists()
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return {int(line[-1]) for line in lines if line[:1] == [str(box_class)]}


def join_tracks(boxes: Sequence[tuple[int, Region]]) -> Tracks:
    """Join the boxes of each track, in their order; ``boxes`` are track id and region."""
    joined: dict[int, list[Region]] = {}
    for track, region in boxes:
        joined.setdefault(track, []).append(region)
    return {regions[0]: tuple(regions) for regions in joined.values()}
