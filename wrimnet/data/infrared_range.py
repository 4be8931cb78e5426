"""What INPUT.INFRARED_RANGE auto means: percentiles of the training images' pixels."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from wrimnet.data.gray_levels import KEY
from wrimnet.data.images import ImageItem, UnreadableImageError, read_wide_pixels
from wrimnet.modality import INFRARED

PERCENTILES = (0.1, 99.9)
_QUANTILES = (np.arange(1000) + 0.5) / 1000  # kept of each image: every image counts alike

_console = logging.getLogger("wrimnet.data.console")  # shown there, see wrimnet.console


def measure_infrared_range(
    items: Sequence[ImageItem], *, num_threads: int, skip_bad: bool = False
) -> tuple[float, ...]:
    """Returns PERCENTILES of the infrared pixels of more than 8 bits; () where there are none.

    Raises UnreadableImageError: a file cannot be read, unless ``skip_bad``.
    """
    paths = [item.path for item in items if item.modality == INFRARED]

    def quantiles(path: str) -> np.ndarray | None:
        try:
            return _quantiles(path)
        except UnreadableImageError:
            if skip_bad:
                return None
            raise

    with ThreadPoolExecutor(num_threads) as pool:
        bar = tqdm(pool.map(quantiles, paths), KEY, len(paths), disable=None, leave=False)
        measured = [values for values in bar if values is not None]
    if not measured:
        return ()
    low, high = np.percentile(np.concatenate(measured), PERCENTILES).tolist()
    if not low < high:
        raise ValueError(f"{KEY} auto: all pixels of {len(measured)} infrared images are {low:g}")
    _console.info(
        "data     %s auto: %g to %g, percentiles %g and %g of %d infrared training images",
        *(KEY, low, high, *PERCENTILES, len(measured)),
    )
    return low, high


def _quantiles(path: str) -> np.ndarray | None:
    values = read_wide_pixels(path)
    if values is None:
        return None
    ordered = np.sort(values, axis=None).astype(np.float64)
    return ordered[(_QUANTILES * len(ordered)).astype(np.int64)]
