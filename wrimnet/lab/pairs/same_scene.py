"""Which photographs show the same place: neighbors of a video, a corner passed twice.

Two such photographs in training and test would make the test an exam of known places, and two in
one split would give one place two identities.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

LONG_SIDE = 480  # pixels, to which a photograph is shrunk for the search
NUM_FEATURES = 300  # per photograph
RATIO = 0.8  # Lowe's: the best match against the second best
TOLERANCE = 6.0  # pixels from the common shift, rotation and scale
SCALES = (0.4, 2.5)  # of one photograph against the other; matches by chance fit absurd ones
# Among the 24,310 pairs of 221 road photographs, every one with 8 or more agreeing features that
# was looked at shows the same place.
LEAST_MATCHES = 8
BLOCK = 32  # photographs a job compares with as many others


@dataclass(frozen=True)
class Features:
    """What is compared of a photograph.

    Args:
        points: (N, 2) x and y.
        descriptors: (N, 128) uint8.
    """

    points: np.ndarray
    descriptors: np.ndarray


def find_features(infrared: np.ndarray) -> Features:
    """Find SIFT features of an infrared photograph (H, W), which lamps at night hardly change."""
    factor = min(1.0, LONG_SIDE / max(infrared.shape))
    small = cv2.resize(infrared, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    keypoints, descriptors = cv2.SIFT.create(NUM_FEATURES).detectAndCompute(small, None)
    if descriptors is None:
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    return Features(points, descriptors.astype(np.uint8))


def show_same_place(one: Features, other: Features) -> bool:
    """Say whether LEAST_MATCHES features agree on one shift, rotation and scale."""
    if min(len(one.points), len(other.points)) < LEAST_MATCHES:
        return False
    left, right = _mutual_matches(one.descriptors, other.descriptors)
    if len(left) < LEAST_MATCHES:
        return False
    transform, agree = cv2.estimateAffinePartial2D(
        one.points[left], other.points[right], ransacReprojThreshold=TOLERANCE
    )
    if transform is None:
        return False
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    return int(agree.sum()) >= LEAST_MATCHES and SCALES[0] < scale < SCALES[1]


def _mutual_matches(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of features that are each other's nearest and pass the ratio test."""
    a, b = one.astype(np.float32), other.astype(np.float32)  # sums below 2**24 are exact
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    nearest = squared.argmin(1)
    mutual = squared.argmin(0)[nearest] == np.arange(len(a))
    best, second = np.partition(squared, 1, axis=1)[:, :2].T
    left = np.flatnonzero(mutual & (best < RATIO**2 * second))
    return left, nearest[left]


def group_by_look(features: Sequence[Features], run: Callable[..., Iterable]) -> list[list[int]]:
    """Group photographs that show the same place, directly or over others.

    Args:
        features: of the photographs.
        run: maps a function over jobs, in any order.

    Returns:
        Their numbers, ascending in each group and by the first of each.
    """
    starts = range(0, len(features), BLOCK)
    blocks = {start: features[start : start + BLOCK] for start in starts}
    jobs = [
        (first, blocks[first], second, blocks[second])
        for first in starts
        for second in starts
        if first <= second
    ]
    same = sorted(pair for pairs in run(_compare_blocks, jobs) for pair in pairs)
    return _connected(len(features), same)


def group_by_prefix(stems: Sequence[str], length: int) -> list[list[int]]:
    """Group photographs whose names begin alike, as files of one fixed camera do."""
    groups: dict[str, list[int]] = {}
    for number, stem in enumerate(stems):
        groups.setdefault(stem[:length], []).append(number)
    return list(groups.values())


def _compare_blocks(job: tuple) -> list[tuple[int, int]]:
    first, ones, second, others = job
    return [
        (first + i, second + j)
        for i, one in enumerate(ones)
        for j, other in enumerate(others)
        if first + i < second + j and show_same_place(one, other)
    ]


def _connected(number: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    group = {i: [i] for i in range(number)}
    for one, other in pairs:
        if group[one] is not group[other]:
            group[one] += group[other]
            for member in group[other]:
                group[member] = group[one]
    return sorted({id(members): sorted(members) for members in group.values()}.values())
