"""SYSU-MM01: 4 visible and 2 infrared cameras, indoors and outdoors.

Layout:

    SYSU-MM01/
      cam1/ ... cam6/
        <identity>/          4 digits
          0001.jpg ...       4 digits, without gaps from 0001
      exp/train_id.txt val_id.txt test_id.txt    comma-separated identities
      exp/rand_perm_cam.mat                      only for the official galleries; not read here

Cameras 1 and 2 are visible and indoors, 4 and 5 visible and outdoors, 3 infrared indoors (the room
of camera 2), 6 infrared outdoors.

Counts: 491 identities; training 395 (296 of train_id.txt and 99 of val_id.txt), 22,258 visible and
11,909 infrared images; test 96 identities, 6,775 visible and 3,803 infrared images. 40 of the 96
have no image of cameras 1 and 2.

Splits: everybody trains on train_id.txt and val_id.txt together, and so does `split="trainval"`.
`split="train"` holds the dataset's own 99 validation identities out. Folders of identities that no
list names are not read.

pid is the identity's folder number.
"""

import os
import re

import wrimnet.compat  # noqa: F401

from fastreid.data.datasets import DATASET_REGISTRY

from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.datasets.layout import (
    HELP,
    OnProblem,
    check_present,
    image_names,
    read_identities,
    stop,
    subfolders,
)
from wrimnet.data.items import ImageItem
from wrimnet.modality import INFRARED, VISIBLE

FOLDER = "SYSU-MM01"
MODALITY_OF_CAMERA = {
    1: VISIBLE,
    2: VISIBLE,
    3: INFRARED,
    4: VISIBLE,
    5: VISIBLE,
    6: INFRARED,
}
IDENTITY = "[0-9]{4}"


def parse_relpath(relpath: str) -> tuple[int, int, int]:
    """Returns (pid, camid, modality) of an image from its path inside the SYSU-MM01 folder.

    Raises:
        ValueError: the path is no image path of SYSU-MM01.
    """
    match relpath.split("/"):
        case [camera, identity, _] if re.fullmatch("cam[1-6]", camera) and re.fullmatch(
            IDENTITY, identity
        ):
            camid = int(camera.removeprefix("cam"))
            return int(identity), camid, MODALITY_OF_CAMERA[camid]
    raise ValueError(f"{relpath!r} is no SYSU-MM01 image path; expected cam1/0001/...; {HELP}")


def read_train(folder: str, on_problem: OnProblem) -> list[ImageItem]:
    """Reads the images of the identities of train_id.txt and val_id.txt."""
    pids = read_list(folder, "train", on_problem) + read_list(folder, "val", on_problem)
    return _read_images(folder, sorted(set(pids)), on_problem)


def read_test(folder: str, on_problem: OnProblem) -> list[ImageItem]:
    """Reads the images of the identities of test_id.txt."""
    return _read_images(folder, read_list(folder, "test", on_problem), on_problem)


def read_list(folder: str, name: str, on_problem: OnProblem) -> list[int]:
    """Reads the identities of exp/<name>_id.txt, ascending."""
    return read_identities(os.path.join(folder, "exp", f"{name}_id.txt"), on_problem)


def _read_images(folder: str, pids: list[int], on_problem: OnProblem) -> list[ImageItem]:
    """Items by modality, identity, camera and name."""
    items = [
        _item(folder, relpath)
        for camid in MODALITY_OF_CAMERA
        for relpath in _relpaths(folder, f"cam{camid}", set(pids), on_problem)
    ]
    check_present(pids, (item.pid for item in items), folder, on_problem)
    return sorted(items, key=lambda item: (item.modality, item.pid, item.camid, item.relpath))


def _relpaths(folder: str, camera: str, pids: set[int], on_problem: OnProblem) -> list[str]:
    place = os.path.join(folder, camera)
    return [
        f"{camera}/{identity}/{name}"
        for identity in subfolders(place, IDENTITY, on_problem)
        if int(identity) in pids
        for name in image_names(os.path.join(place, identity), on_problem)
    ]


def _item(folder: str, relpath: str) -> ImageItem:
    return ImageItem(os.path.join(folder, relpath), *parse_relpath(relpath), relpath)


@DATASET_REGISTRY.register()
class SYSU_MM01(CrossModalityDataset):  # noqa: N801  (FastReID's name for it is taken: SYSU_mm)
    """SYSU-MM01 as items; see the module's text for layout, counts and splits."""

    name = "SYSU_MM01"
    folder_name = FOLDER

    def _read_train(self) -> list[ImageItem]:
        return read_train(self.folder, stop)

    def _read_test(self) -> list[ImageItem]:
        return read_test(self.folder, stop)

    def _held_out_pids(self) -> set[int]:
        return set(read_list(self.folder, "val", stop))

    def _identity(self, item: ImageItem) -> int:
        return item.pid
