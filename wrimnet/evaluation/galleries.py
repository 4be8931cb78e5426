"""Which images query and which are searched in each trial, by the reference draws.

``agw``: ``random.Random(trial)`` picks one image per identity and camera, identities outer and
ascending, cameras inner and ascending, from the sorted file names. One stream per trial, so the
cameras of a protocol change every later pick.
``official``: the first ``shots`` images of SYSU-MM01's published permutation of that trial, cameras
outer, identities inner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from random import Random

import numpy as np

from wrimnet.data.items import ImageItem
from wrimnet.evaluation.permutations import OfficialPermutations
from wrimnet.evaluation.protocols import Protocol
from wrimnet.modality import MODALITY_NAMES

DRAWS = ("agw", "official")
_Pools = dict[tuple[int, int], list[int]]


@dataclass(frozen=True)
class Trial:
    """Rows of the item list that query, (Q,), and that are searched, (G,), in gallery order."""

    query_rows: np.ndarray
    gallery_rows: np.ndarray


def build_trials(
    protocol: Protocol,
    items: Sequence[ImageItem],
    *,
    draw: str = "agw",
    num_trials: int = 10,
    permutations: OfficialPermutations | None = None,
) -> list[Trial]:
    """Lists the trials of a protocol on a list of test images.

    Args:
        protocol: who queries whom.
        items: test images of both modalities.
        draw: "agw" or "official"; without effect on a protocol without a draw.
        num_trials: trials of a drawn protocol; one without a draw has one.
        permutations: needed by the official draw.

    Returns:
        One trial per draw.

    Raises:
        ValueError: the draw does not fit the protocol, or a side has no image.
    """
    check_draw(protocol, draw)
    if num_trials < 1:
        raise ValueError(f"num_trials is {num_trials}, expected at least 1")
    queries = _rows(items, protocol.query_modality)
    gallery = _rows(items, protocol.gallery_modality)
    _check_sides(protocol, queries, gallery)
    if not protocol.drawn_side:
        return [Trial(np.array(queries), np.array(gallery))]
    queries, gallery = _by_identity(items, queries), _by_identity(items, gallery)
    drawn_pool = _pools(items, gallery if protocol.drawn_side == "gallery" else queries, protocol)
    trials = []
    for trial in range(num_trials):
        drawn = _draw(protocol, items, drawn_pool, draw, trial, permutations)
        sides = (queries, drawn) if protocol.drawn_side == "gallery" else (drawn, gallery)
        trials.append(Trial(*(np.array(side) for side in sides)))
    return trials


def check_draw(protocol: Protocol, draw: str) -> None:
    """Refuses a draw that the protocol does not have.

    Raises:
        ValueError: unknown draw, official off SYSU-MM01, or multi-shot without official.
    """
    if draw not in DRAWS:
        raise ValueError(f"unknown gallery draw {draw!r}; choose one of {DRAWS}")
    if draw == "official" and protocol.dataset != "SYSU_MM01":
        raise ValueError(
            f"the official draw exists for SYSU_MM01 only, not for {protocol.name}; use 'agw'"
        )
    if protocol.shots > 1 and draw != "official":
        raise ValueError(
            f"{protocol.name} draws {protocol.shots} images and only the official permutations "
            "define that: set TEST.GALLERY_DRAW (--draw) to 'official'. They are in "
            "rand_perm_cam.mat, from evaluation/data_split/ of "
            "https://github.com/wuancong/SYSU-MM01"
        )


def _rows(items: Sequence[ImageItem], modality: int) -> list[int]:
    return [row for row, item in enumerate(items) if item.modality == modality]


def _by_identity(items: Sequence[ImageItem], rows: list[int]) -> list[int]:
    return sorted(rows, key=lambda row: (items[row].pid, items[row].camid, items[row].relpath))


def _check_sides(protocol: Protocol, queries: list[int], gallery: list[int]) -> None:
    for side, rows, modality in (
        ("query", queries, protocol.query_modality),
        ("gallery", gallery, protocol.gallery_modality),
    ):
        if not rows:
            name = MODALITY_NAMES[modality]
            raise ValueError(f"{protocol.name}: no {name} test image, so the {side} is empty")


def _pools(items: Sequence[ImageItem], rows: list[int], protocol: Protocol) -> _Pools:
    """Rows per (identity, camera), in ascending order of both, each in order of file names."""
    pools: _Pools = {}
    for row in rows:
        if not protocol.drawn_cameras or items[row].camid in protocol.drawn_cameras:
            pools.setdefault((items[row].pid, items[row].camid), []).append(row)
    if not pools:
        raise ValueError(
            f"{protocol.name}: no image of cameras {protocol.drawn_cameras}, so nothing to draw"
        )
    return pools


def _draw(
    protocol: Protocol,
    items: Sequence[ImageItem],
    pools: _Pools,
    draw: str,
    trial: int,
    permutations: OfficialPermutations | None,
) -> list[int]:
    if draw == "agw":
        choose = Random(trial).choice
        return [choose(rows) for rows in pools.values()]
    if permutations is None:
        raise ValueError("the official draw needs the permutations of rand_perm_cam.mat")
    drawn = []
    for pid, camid in sorted(pools, key=lambda group: group[::-1]):
        numbers = permutations.images(pid, camid, trial, protocol.shots)
        drawn += _numbered_rows(items, pools[pid, camid], numbers)
    return drawn


def _numbered_rows(items: Sequence[ImageItem], rows: list[int], numbers: list[int]) -> list[int]:
    """Rows whose file is called by these numbers, as 0007.jpg by 7."""
    by_number = {int(PurePosixPath(items[row].relpath).stem): row for row in rows}
    missing = [number for number in numbers if number not in by_number]
    if missing or not numbers:
        folder = PurePosixPath(items[rows[0]].relpath).parent
        raise ValueError(
            f"the official draw takes images {missing or 'none'} of {folder}, which holds "
            f"{len(rows)}; is the dataset complete and this rand_perm_cam.mat its own?"
        )
    return [by_number[number] for number in numbers]
