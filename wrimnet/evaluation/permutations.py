"""The official SYSU-MM01 permutations, from which the official gallery draw is read."""

from pathlib import Path

import numpy as np
from scipy.io import loadmat

_SOURCE = (
    "the file is not in the dataset's archive; take evaluation/data_split/rand_perm_cam.mat from "
    "https://github.com/wuancong/SYSU-MM01, put it into the dataset's exp/ folder and, if it lies "
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
        """Reads ``rand_perm_cam.mat``.

        Raises:
            FileNotFoundError: the file is missing; says where it comes from.
            ValueError: the file does not have the structure above.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no permutation file at {str(path)!r}: {_SOURCE}")
        return cls(_camera_cells(path))

    def images(self, pid: int, camid: int, trial: int, shots: int) -> list[int]:
        """Numbers of the images taken, in order; none if the camera never saw the identity.

        Raises:
            ValueError: the file knows no such identity or trial.
        """
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


def _camera_cells(path: str | Path) -> list[np.ndarray]:
    try:
        cell = loadmat(path).get("rand_perm_cam")
    except Exception as error:  # scipy's reader raises whatever the damage leads to
        raise ValueError(f"{path} is not a MATLAB file ({error}); {_SOURCE}") from error
    if cell is None or cell.shape != (_NUM_CAMERAS, 1) or cell.dtype != object:
        found = "no such variable" if cell is None else f"{cell.dtype} {cell.shape}"
        raise ValueError(
            f"{path}: expected rand_perm_cam, a {_NUM_CAMERAS} x 1 cell; found {found}; {_SOURCE}"
        )
    cameras = [cell[camera][0] for camera in range(_NUM_CAMERAS)]
    for camera, identities in enumerate(cameras, start=1):
        if identities.dtype != object or identities.ndim != 2 or identities.shape[1] != 1:
            raise ValueError(
                f"{path}: camera {camera} is {identities.dtype} {identities.shape}, "
                f"expected a cell of one matrix per identity; {_SOURCE}"
            )
    return cameras
