"""Writes a tree of images: all of it or nothing that looks like it, in several processes."""

import contextlib
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wrimnet.data.images import SYNTHETIC_MARK

JPEG_QUALITY = 92


def require_generated(folder: Path) -> None:
    """Refuse a folder that no generator has written, such as a distributed dataset."""
    if not (folder / SYNTHETIC_MARK).is_file():
        raise FileExistsError(
            f"{folder} exists and has no {SYNTHETIC_MARK}, so it is not a generated dataset and is "
            "never replaced; choose another --out, or move the folder away"
        )


def require_same(folder: Path, expected: Mapping[str, Any], what: str) -> None:
    """Refuse a folder whose mark does not say that it is the very same tree."""
    require_generated(folder)
    manifest = json.loads((folder / SYNTHETIC_MARK).read_text())
    if {name: manifest.get(name) for name in expected} != expected:
        raise FileExistsError(
            f"{folder} exists and is not {what}; remove it, choose another folder or replace it "
            "with --force"
        )


@contextlib.contextmanager
def whole_tree(folder: Path) -> Iterator[Path]:
    """Give a folder beside ``folder`` to be filled; it takes that one's place at the end.

    Raises:
        FileExistsError: ``folder`` is there and no generator has written it.
    """
    if folder.exists():
        require_generated(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    yield partial
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Callable[..., Iterator]]:
    """Give a function that maps over jobs, in any order, in so many processes."""
    if workers == 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(workers, cv2.setNumThreads, (1,)) as pool:
        yield pool.imap_unordered


def encode(image: np.ndarray, suffix: str = ".jpg") -> bytes:
    """Encode RGB pixels (H, W, 3) as a file of that kind."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    return cv2.imencode(suffix, image[..., ::-1], options)[1].tobytes()


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their paths below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
