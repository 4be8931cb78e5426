"""The gallery samplings of SYSU-MM01's official evaluation, in the structure of its MATLAB file."""

import io
from collections.abc import Mapping

import numpy as np
import scipy.io

NUM_CAMERAS = 6
NUM_DRAWS = 10
_HEADER = b"MATLAB 5.0 MAT-file, generated draws of a synthetic SYSU-MM01".ljust(116)


def write_permutations(
    counts: Mapping[tuple[int, int], int], num_ids: int, generator: np.random.Generator
) -> bytes:
    """Return the content of ``rand_perm_cam.mat``.

    The file holds a cell (6, 1), one per camera, of a cell (num_ids, 1) of an integer matrix
    (10, number of images) whose rows are permutations that count from 1. The creation time that MAT
    files carry is replaced, so that equal draws are equal bytes.

    Args:
        counts: number of images by (camid, pid), both counted from 1.
        num_ids: largest identity.
        generator: where the draws come from.
    """
    cameras = np.empty((NUM_CAMERAS, 1), object)
    for camid in range(1, NUM_CAMERAS + 1):
        cell = np.empty((num_ids, 1), object)
        for pid in range(1, num_ids + 1):
            cell[pid - 1, 0] = _draws(counts.get((camid, pid), 0), generator)
        cameras[camid - 1, 0] = cell
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"rand_perm_cam": cameras})
    return _HEADER + buffer.getvalue()[len(_HEADER) :]


def _draws(num_images: int, generator: np.random.Generator) -> np.ndarray:
    rows = [generator.permutation(num_images) + 1 for _ in range(NUM_DRAWS)]
    return np.array(rows, dtype=np.min_scalar_type(num_images)).reshape(NUM_DRAWS, num_images)
