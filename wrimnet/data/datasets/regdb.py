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

import wrimnet.compat  # noqa: F401

from fastreid.data.datasets import DATASET_REGISTRY

from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.datasets.layout import (
    HELP,
    IndexLine,
    OnProblem,
    check_labels,
    existing,
    inside,
    read_index,
    require_folder,
    stop,
)
from wrimnet.data.items import ImageItem
from wrimnet.modality import INFRARED, VISIBLE

FOLDER = "RegDB"
TOP_FOLDERS = {"Visible": VISIBLE, "Thermal": INFRARED}
CAMERAS = {VISIBLE: 1, INFRARED: 2}
TRIALS = range(1, 11)


def parse_relpath(relpath: str) -> tuple[int, int, int]:
    """Returns (folder number, camid, modality) of an image from its path inside the RegDB folder.

    Raises:
        ValueError: the path is no image path of RegDB.
    """
    match relpath.split("/"):
        case [top, identity, _] if top in TOP_FOLDERS and re.fullmatch("[1-9][0-9]{0,8}", identity):
            modality = TOP_FOLDERS[top]
            return int(identity), CAMERAS[modality], modality
    raise ValueError(
        f"{relpath!r} is no RegDB image path; expected Visible/1/... or Thermal/1/...; {HELP}"
    )


def read_split(folder: str, split: str, trial: int, on_problem: OnProblem) -> list[ImageItem]:
    """Reads a trial's images in the order of its index files, visible first.

    Args:
        folder: the RegDB folder.
        split: "train" or "test".
        trial: 1..10.
        on_problem: told of everything missing or malformed.
    """
    lines = []
    for top in TOP_FOLDERS:
        path = os.path.join(folder, "idx", f"{split}_{top.lower()}_{trial}.txt")
        listed = inside(read_index(path, on_problem), top, parse_relpath, on_problem)
        if require_folder(os.path.join(folder, top), on_problem):
            lines += listed
    check_labels(lines, lambda relpath: parse_relpath(relpath)[0], on_problem)
    return [_item(folder, line) for line in existing(folder, lines, on_problem)]


def _item(folder: str, line: IndexLine) -> ImageItem:
    _, camid, modality = parse_relpath(line.relpath)
    path = os.path.join(folder, line.relpath)
    return ImageItem(path, line.label, camid, modality, line.relpath)


@DATASET_REGISTRY.register()
class RegDB(CrossModalityDataset):
    """One trial of RegDB as items; see the module's text for layout, counts and splits.

    Args:
        root: folder that holds RegDB/.
        split: "trainval" or "train".
        trial: which of the ten divisions, 1..10.
        combineall: FastReID's switch for training on test data; refused.
    """

    name = "RegDB"
    folder_name = FOLDER

    def __init__(
        self,
        root: str = "datasets",
        split: str = "trainval",
        trial: int = 1,
        combineall: bool = False,
    ) -> None:
        if trial not in TRIALS:
            raise ValueError(f"RegDB has the trials 1 to 10, got {trial!r}")
        self.trial = trial
        super().__init__(root=root, split=split, combineall=combineall)

    def _read_train(self) -> list[ImageItem]:
        return read_split(self.folder, "train", self.trial, stop)

    def _read_test(self) -> list[ImageItem]:
        return read_split(self.folder, "test", self.trial, stop)

    def _identity(self, item: ImageItem) -> int:
        return parse_relpath(item.relpath)[0]
