"""Which images query and which are searched in each trial, by the reference draws.

``agw``: ``random.Random(trial)`` picks one image per identity and camera, identities outer and
ascending, cameras inner and ascending, from the sorted file names. One stream per trial, so the
cameras of a protocol change every later pick.
``official``: the first ``shots`` images of SYSU-MM01's published permutation of that trial, cameras
outer, identities inner.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from random import Random

import numpy as np
import torch
from scipy.io import loadmat

from wrimnet.atomic_files import require_file
from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.metrics.ranking import Labels, any_match
from wrimnet.modality import MODALITY_NAMES

_SOURCE = (
    "the file is not in the dataset's archive; take evaluation/data_split/rand_perm_cam.mat from "
    "https://github.com/wuancong/SYSU-MM01, put it into the dataset's exp/ folder and, if it is "
    "elsewhere, name it in TEST.PERM_FILE (--perm-file)"
)
_NUM_CAMERAS = 6


class OfficialPermutations:
    """Which images of an identity and camera the official protocol takes in each trial.

    ``rand_perm_cam`` is a 6 x 1 cell of cameras, each an ids x 1 cell of integer matrices with one
    row per trial: a permutation of 1..n, the numbers of the camera's image files.
    """

    def __init__(self, cameras: list[np.ndarray]) -> None:
        self._cameras = cameras

    @classmethod
    def load(cls, path: str | Path) -> "OfficialPermutations":
        """Reads ``rand_perm_cam.mat``; raises if it is missing or of another structure."""
        require_file(path, "permutation file", f": {_SOURCE}")
        return cls(_camera_cells(path))

    def images(self, pid: int, camid: int, trial: int, shots: int) -> list[int]:
        """Numbers of the images taken, in order; none if the camera never saw the identity."""
        identities = self._cameras[camid - 1]
        if not 1 <= pid <= len(identities):
            raise ValueError(f"identity {pid} is not among the {len(identities)} permutations")
        permutation = np.asarray(identities[pid - 1][0])
        if permutation.size == 0:
            return []
        if not 0 <= trial < len(permutation):
            raise ValueError(
                f"trial {trial} is beyond the {len(permutation)} official trials; "
                "set TEST.NUM_TRIALS to at most that"
            )
        return permutation[trial][:shots].astype(int).tolist()


def _survive_reading(path: str | Path, seconds: float = 120.0) -> None:
    """Lets another process read a file first: SciPy's reader crashes or hangs on damaged ones."""
    command = [sys.executable, "-c", "import sys, scipy.io; scipy.io.loadmat(sys.argv[1])"]
    try:
        code = subprocess.run(
            [*command, str(path)], capture_output=True, timeout=seconds
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"reading it took longer than {seconds:g} s") from error
    if code < 0:
        raise ValueError(f"the process that read it was ended by signal {-code}")


def _check_permutations(path: str | Path, camera: int, identities: np.ndarray) -> None:
    for pid, matrix in enumerate(identities[:, 0], start=1):
        rows = np.asarray(matrix)
        sound = rows.size == 0 or (
            rows.ndim == 2
            and rows.dtype.kind in "iuf"
            and bool(((rows >= 1) & (rows % 1 == 0)).all())
            and all(len(set(row)) == len(row) for row in rows.tolist())
        )
        if not sound:
            raise ValueError(
                f"{path}: identity {pid} of camera {camera}: expected a matrix of image numbers "
                f"from 1, none twice in a row; {_SOURCE}"
            )


def _camera_cells(path: str | Path) -> list[np.ndarray]:
    try:
        _survive_reading(path)
        cell = loadmat(path).get("rand_perm_cam")
    except Exception as error:  # scipy's reader raises whatever the damage leads to
        raise ValueError(f"{path} is not a MATLAB file ({error}); {_SOURCE}") from error
    if cell is None or cell.shape != (_NUM_CAMERAS, 1) or cell.dtype != object:
        shape = "no such variable" if cell is None else f"{cell.dtype} {cell.shape}"
        raise ValueError(
            f"{path}: expected rand_perm_cam, a {_NUM_CAMERAS} x 1 cell; found {shape}; {_SOURCE}"
        )
    cameras = [cell[camera][0] for camera in range(_NUM_CAMERAS)]
    for camera, identities in enumerate(cameras, start=1):
        if identities.dtype != object or identities.ndim != 2 or identities.shape[1] != 1:
            raise ValueError(
                f"{path}: camera {camera} is {identities.dtype} {identities.shape}, "
                f"expected a cell of one matrix per identity; {_SOURCE}"
            )
        _check_permutations(path, camera, identities)
    return cameras


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
    """Lists the trials of a protocol on the test images of both modalities, one per draw.

    One without a draw has one trial; "official" needs the permutations. ValueError if the draw does
    not fit the protocol, a side has no image, or no query of a trial has a match.
    """
    check_draw(protocol, draw)
    if num_trials < 1:
        raise ValueError(f"num_trials is {num_trials}, expected at least 1")
    queries = _rows(items, protocol, "query")
    gallery = _rows(items, protocol, "gallery")
    _check_apart(protocol, items, (queries, gallery))
    if not protocol.drawn_side:
        both = (sorted(rows, key=lambda row: items[row].relpath) for rows in (queries, gallery))
        trials = [Trial(*map(np.array, both))]
        check_matches(protocol, items, trials)
        return trials
    queries, gallery = _by_identity(items, queries), _by_identity(items, gallery)
    drawn_pool = _pools(items, gallery if protocol.drawn_side == "gallery" else queries, protocol)
    trials = []
    for trial in range(num_trials):
        drawn = _draw(protocol, items, drawn_pool, draw, trial, permutations)
        sides = (queries, drawn) if protocol.drawn_side == "gallery" else (drawn, gallery)
        trials.append(Trial(*(np.array(side) for side in sides)))
    check_matches(protocol, items, trials)
    return trials


def check_matches(protocol: Protocol, items: Sequence[ImageItem], trials: Sequence[Trial]) -> None:
    """Raises ValueError for a trial in which labels and camera rule leave no query a match."""
    labels, rule = item_labels(items), camera_rule(protocol.camera_rule)
    for number, trial in enumerate(trials):
        rows = (trial.query_rows, trial.gallery_rows)
        queries, gallery = (labels[torch.from_numpy(of)] for of in rows)
        if not any_match(queries, gallery, rule):
            raise ValueError(
                f"{protocol.name}: none of the {len(trial.query_rows)} queries has a match in the "
                f"gallery of trial {number} under the camera rule {protocol.camera_rule}; check "
                "the identities and cameras of the test images"
            )


def item_labels(items: Sequence[ImageItem], device: str = "cpu") -> Labels:
    """Identities and cameras of N items, (N,) each."""
    pids = torch.tensor([item.pid for item in items], dtype=torch.int64, device=device)
    camids = torch.tensor([item.camid for item in items], dtype=torch.int64, device=device)
    return Labels(pids, camids)


def check_draw(protocol: Protocol, draw: str) -> None:
    """Raises ValueError for a draw that the protocol does not have."""
    if draw not in protocol.draws:
        known = " or ".join(map(repr, protocol.draws))
        raise ValueError(f"{protocol.name} has no gallery sampling {draw!r}; use {known}")
    if protocol.shots > 1 and draw != "official":
        raise ValueError(
            f"{protocol.name} samples {protocol.shots} images per identity and camera, which only "
            "the official permutations define: set TEST.GALLERY_DRAW (--draw, draw) to 'official'. "
            "They are in rand_perm_cam.mat, from evaluation/data_split/ of "
            "https://github.com/wuancong/SYSU-MM01"
        )


def _rows(items: Sequence[ImageItem], protocol: Protocol, side: str) -> list[int]:
    modality, of_list = protocol.query_modality, protocol.query_list
    if side == "gallery":
        modality, of_list = protocol.gallery_modality, protocol.gallery_list
    rows = [row for row, item in enumerate(items) if item.modality == modality]
    if not rows:
        name = MODALITY_NAMES[modality]
        raise ValueError(f"{protocol.name}: no {name} test image, so the {side} is empty")
    listed = [row for row in rows if not of_list or of_list in items[row].lists]
    if not listed:
        raise ValueError(
            f"{protocol.name}: none of the {len(rows)} {MODALITY_NAMES[modality]} test images is "
            f"in the list {of_list!r}, so the {side} is empty; give images of load_dataset, whose "
            "ImageItem.lists names the lists of each image"
        )
    return listed


def _check_apart(
    protocol: Protocol, items: Sequence[ImageItem], sides: Sequence[list[int]]
) -> None:
    both = sorted(set(sides[0]) & set(sides[1]))
    if both:
        raise ValueError(
            f"{protocol.name}: {items[both[0]].relpath} and {len(both) - 1} more images are "
            "queries and in the gallery, where each would find itself; a query must not be in it"
        )


def _by_identity(items: Sequence[ImageItem], rows: list[int]) -> list[int]:
    return sorted(rows, key=lambda row: (items[row].pid, items[row].camid, items[row].relpath))


def _pools(items: Sequence[ImageItem], rows: list[int], protocol: Protocol) -> _Pools:
    """Rows per (identity, camera), in ascending order of both, each in order of file names."""
    pools: _Pools = {}
    for row in rows:
        if not protocol.drawn_cameras or items[row].camid in protocol.drawn_cameras:
            pools.setdefault((items[row].pid, items[row].camid), []).append(row)
    if not pools:
        raise ValueError(
            f"{protocol.name}: no image of cameras {protocol.drawn_cameras}, so the "
            "gallery is empty; check the dataset"
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
        raise ValueError("official gallery sampling needs the permutations of rand_perm_cam.mat")
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
        problem = f"the images {missing} do not exist" if missing else "no image is listed"
        raise ValueError(
            f"official permutations of {folder} ({len(rows)} images): {problem}; check that the "
            "dataset is complete and rand_perm_cam.mat belongs to it"
        )
    return [by_number[number] for number in numbers]
