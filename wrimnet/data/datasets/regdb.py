"""RegDB: one visible and one thermal camera, 10 images per identity and modality.

Layout:

    RegDB/
      Visible/<identity>/male_front_v_00007_1.bmp    identity folders 1..412, not padded
      Thermal/<identity>/male_front_t_00007_1.bmp
      idx/{train,test}_{visible,thermal}_{1..10}.txt  one "relative/path label" per line

File names are not parsed. There are no camera numbers: visible images get 1, thermal images 2.

Counts: 412 identities, 8,240 images; in each trial 206 identities train and 206 test, 2,060 visible
and 2,060 thermal images each.

Splits: ten trials, each its own division of the identities and its own model; a model of one trial
tested on another has seen test identities in training. `split="train"` holds a fixed tenth (20) of
the trial's training identities out.

pid is the index file's label, 0..205 within the trial's training or test list, as in the published
evaluations. It names different people in training and in test; the folder number is what names a
person, and `parse_relpath` returns it. Label and folder are checked to stand one to one within a
list pair, so either gives the same matches.
"""

import os
import re
from dataclasses import replace
from functools import partial
from typing import ClassVar

import wrimnet.compat  # noqa: F401

from fastreid.data.datasets import DATASET_REGISTRY

from wrimnet.data.datasets.base import Counts, CrossModalityDataset, size_of
from wrimnet.data.datasets.layout import (
    HELP,
    IndexLine,
    OnProblem,
    check_labels,
    existing,
    inside,
    read_index,
    require_folder,
)
from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.modality import INFRARED, VISIBLE

TOP_FOLDERS = {"Visible": VISIBLE, "Thermal": INFRARED}
CAMERAS = {VISIBLE: 1, INFRARED: 2}


def _parse_relpath(relpath: str) -> tuple[int, int, int]:
    """Returns (folder number, camid, modality) of an image from its path inside the RegDB folder.

    Raises ValueError: the path is no image path of RegDB.
    """
    match relpath.split("/"):
        case [top, identity, _] if top in TOP_FOLDERS and re.fullmatch("[1-9][0-9]{0,8}", identity):
            modality = TOP_FOLDERS[top]
            return int(identity), CAMERAS[modality], modality
    raise ValueError(
        f"{relpath!r} is not a RegDB image path; expected Visible/1/... or Thermal/1/...; {HELP}"
    )


def read_split(split: str, folder: str, number: int, on_problem: OnProblem) -> list[ImageItem]:
    """Reads the "train" or "test" images of a trial in its index files' order, visible first."""
    lines = []
    for top in TOP_FOLDERS:
        path = os.path.join(folder, "idx", f"{split}_{top.lower()}_{number}.txt")
        listed = inside(read_index(path, on_problem), top, _parse_relpath, on_problem)
        if require_folder(os.path.join(folder, top), on_problem):
            lines += listed
    check_labels(lines, lambda relpath: _parse_relpath(relpath)[0], on_problem)
    return [_item(folder, line) for line in existing(folder, lines, on_problem)]


def _item(folder: str, line: IndexLine) -> ImageItem:
    _, camid, modality = _parse_relpath(line.relpath)
    path = os.path.join(folder, line.relpath)
    return ImageItem(path, line.label, camid, modality, line.relpath)


_V2T = Protocol(
    name="regdb_v2t",
    dataset="RegDB",
    direction="visible to thermal",
    query_modality=VISIBLE,
    gallery_modality=INFRARED,
    unique_ids=False,
)


@DATASET_REGISTRY.register()
class RegDB(CrossModalityDataset):
    """One trial of RegDB as items; see the module's text for layout, counts and splits.

    Protocols: every image of one modality queries every image of the other, one trial per model.
    """

    name = title = folder_name = "RegDB"
    protocols = (
        _V2T,
        replace(
            _V2T,
            name="regdb_t2v",
            direction="thermal to visible",
            query_modality=INFRARED,
            gallery_modality=VISIBLE,
        ),
    )
    default_protocols = ("regdb_v2t", "regdb_t2v")
    numbers = tuple(range(1, 11))
    number_key = "DATASETS.REGDB_TRIAL"
    expected_counts: ClassVar[Counts] = {  # its index files; the same for each trial
        split: {
            **size_of(4_120, 206),
            "visible": size_of(2_060, 206),
            "infrared": size_of(2_060, 206),
        }
        for split in ("train", "test")
    }
    parse_relpath = staticmethod(_parse_relpath)
    read_train = staticmethod(partial(read_split, "train"))
    read_test = staticmethod(partial(read_split, "test"))
