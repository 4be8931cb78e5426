"""Opens every image of a dataset: what is damaged, shown twice, or of the other modality."""

import hashlib
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from wrimnet.data.images import (
    ImageItem,
    UnreadableImageError,
    is_turned,
    read_rgb,
    read_wide_pixels,
)
from wrimnet.data.jpeg_warnings import jpeg_warning
from wrimnet.modality import VISIBLE

CHUNK = 64  # files per message to a process
SHOWN = 5  # files named in one sentence


class Division(NamedTuple):
    """A pair of training and test images; RegDB has one per trial."""

    label: str  # "" or "trial 3"
    train: list[ImageItem]
    test: list[ImageItem]


class Picture(NamedTuple):
    """What opening an image file to its last pixel says about it."""

    path: str
    problem: str  # why it should not be used, or ""
    digest: str = ""  # SHA-256 of its pixels; "" if it cannot be read
    is_gray: bool = False  # its three channels are equal
    is_turned: bool = False  # its EXIF orientation is not upright
    wide_range: tuple[float, float] | None = None  # of its pixels, if they have more than 8 bits


def open_pictures(paths: Sequence[str], workers: int) -> list[Picture]:
    """Opens every file, in so many processes; 0: in this one."""
    opened = tqdm(_opened(paths, workers), "opening images", len(paths), disable=None, leave=False)
    return list(opened)


def _opened(paths: Sequence[str], workers: int) -> Iterator[Picture]:
    if workers == 0:
        yield from map(_open_picture, paths)
        return
    # A fork would copy the threads' locks of the libraries already loaded.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_open_picture, paths, chunksize=CHUNK)


def _open_picture(path: str) -> Picture:
    if not os.path.isfile(path):
        return Picture(path, "it is not a regular file")  # reading a pipe would not end
    try:
        wide = read_wide_pixels(path)  # as stored: no range makes gray levels of them here
        pixels = np.asarray(read_rgb(path)) if wide is None else wide[..., None]
    except UnreadableImageError as problem:
        return Picture(path, problem.reason)
    digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    is_gray = bool((pixels == pixels[..., :1]).all())
    wide_range = None if wide is None else (float(wide.min()), float(wide.max()))
    return Picture(path, jpeg_warning(path), digest, is_gray, is_turned(path), wide_range)


def describe_cameras(pictures: Iterable[Picture]) -> list[str]:
    """Says how many pictures are turned by EXIF, and how many have more than 8 bits."""
    pictures = list(pictures)
    turned = sum(picture.is_turned for picture in pictures)
    ranges = [picture.wide_range for picture in pictures if picture.wide_range]
    notes = []
    if turned:
        notes.append(f"Turned upright by their EXIF orientation: {turned} images.")
    if ranges:
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        notes.append(
            f"More than 8 bits per pixel: {len(ranges)} images, values {low:g} to "
            f"{high:g}. Thermal images need INPUT.INFRARED_RANGE auto or (low, high) in training."
        )
    return notes


def misplaced_pictures(
    divisions: Sequence[Division],
    pictures: Mapping[str, Picture],
    identity_of: Callable[[ImageItem], int],
) -> list[str]:
    """Describes, in a sentence each, equal pictures and visible ones without colors.

    ``pictures`` are found by path.
    """
    items = {i.path: i for of in divisions for i in (*of.train, *of.test)}
    groups: dict[str, list[ImageItem]] = defaultdict(list)
    for path, item in items.items():
        groups[pictures[path].digest].append(item)
    groups.pop("", None)
    splits = [({i.path for i in of.train}, {i.path for i in of.test}) for of in divisions]
    rules: dict[str, Callable[[Collection[ImageItem]], bool]] = {
        "pictures show several identities": lambda g: len({identity_of(i) for i in g}) > 1,
        "pictures are both visible and infrared": lambda g: len({i.modality for i in g}) > 1,
        "pictures are both training and test images": lambda g: _in_both(g, splits),
    }
    equal = [group for group in groups.values() if len(group) > 1]
    by_rule = {what: [group for group in equal if holds(group)] for what, holds in rules.items()}
    by_rule["pictures are there under several names"] = [
        group for group in equal if not any(group in of_rule for of_rule in by_rule.values())
    ]
    by_rule["visible images have three equal channels, as infrared ones have"] = [
        [item] for p, item in items.items() if item.modality == VISIBLE and pictures[p].is_gray
    ]
    return [_sentence(what, of_kind) for what, of_kind in by_rule.items() if of_kind]


def _in_both(group: Collection[ImageItem], splits: Sequence[tuple[set[str], set[str]]]) -> bool:
    paths = {item.path for item in group}
    return any(paths & train and paths & test for train, test in splits)


def _sentence(what: str, groups: Sequence[Sequence[ImageItem]]) -> str:
    shown = "; ".join(" = ".join(i.relpath for i in group[:SHOWN]) for group in groups[:SHOWN])
    return f"{len(groups)} {what}: {shown}{'; ...' if len(groups) > SHOWN else ''}"
