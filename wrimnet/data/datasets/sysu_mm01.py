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
from typing import ClassVar

import wrimnet.compat  # noqa: F401

from fastreid.data.datasets import DATASET_REGISTRY

from wrimnet.data.datasets.base import Counts, CrossModalityDataset, size_of
from wrimnet.data.datasets.layout import (
    HELP,
    OnProblem,
    check_present,
    image_names,
    read_identities,
    stop,
    subfolders,
)
from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.modality import INFRARED, VISIBLE

MODALITY_OF_CAMERA = {1: VISIBLE, 2: VISIBLE, 3: INFRARED, 4: VISIBLE, 5: VISIBLE, 6: INFRARED}
IDENTITY = "[0-9]{4}"


def _parse_relpath(relpath: str) -> tuple[int, int, int]:
    """Returns (pid, camid, modality) of an image from its path inside the SYSU-MM01 folder.

    Raises ValueError: the path is no image path of SYSU-MM01.
    """
    match relpath.split("/"):
        case [camera, identity, _] if re.fullmatch("cam[1-6]", camera) and re.fullmatch(
            IDENTITY, identity
        ):
            camid = int(camera.removeprefix("cam"))
            return int(identity), camid, MODALITY_OF_CAMERA[camid]
    raise ValueError(f"{relpath!r} is not a SYSU-MM01 image path; expected cam1/0001/...; {HELP}")


def _read_train(folder: str, number: int, on_problem: OnProblem) -> list[ImageItem]:
    """Reads the images of the identities of train_id.txt and val_id.txt."""
    pids = read_list(folder, "train", on_problem) + read_list(folder, "val", on_problem)
    return _read_images(folder, sorted(set(pids)), on_problem)


def _read_test(folder: str, number: int, on_problem: OnProblem) -> list[ImageItem]:
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
    return ImageItem(os.path.join(folder, relpath), *_parse_relpath(relpath), relpath)


def _protocol(name: str, cameras: tuple[int, ...], shots: int) -> Protocol:
    return Protocol(
        name=name,
        dataset="SYSU_MM01",
        direction="infrared to visible",
        query_modality=INFRARED,
        gallery_modality=VISIBLE,
        drawn_side="gallery",
        drawn_cameras=cameras,
        shots=shots,
        draws=("agw", "official"),
        camera_rule="sysu_cam3_never_sees_cam2",
    )


@DATASET_REGISTRY.register()
class SYSU_MM01(CrossModalityDataset):  # noqa: N801  (FastReID's name for it is taken: SYSU_mm)
    """SYSU-MM01 as items; see the module's text for layout, counts and splits.

    Protocols: infrared queries, visible gallery drawn per identity and camera, ten draws.
    """

    name = "SYSU_MM01"
    title = folder_name = "SYSU-MM01"
    aliases = ("SYSU",)
    protocols = (
        _protocol("sysu_all_single", (1, 2, 4, 5), 1),
        _protocol("sysu_all_multi", (1, 2, 4, 5), 10),
        _protocol("sysu_indoor_single", (1, 2), 1),
        _protocol("sysu_indoor_multi", (1, 2), 10),
    )
    default_protocols = ("sysu_all_single", "sysu_indoor_single")
    permutation_file = "exp/rand_perm_cam.mat"
    # The official evaluation's rand_perm_cam.mat, which lists every image.
    expected_counts: ClassVar[Counts] = {
        "train": {
            **size_of(34_167, 395),
            "visible": size_of(22_258, 395),
            "infrared": size_of(11_909, 395),
        },
        "test": {
            **size_of(10_578, 96),
            "visible": {
                "images": 6_775,
                "cameras": {
                    "1": size_of(1_374, 56),
                    "2": size_of(1_565, 56),
                    "4": size_of(1_918, 94),
                    "5": size_of(1_918, 95),
                },
            },
            "infrared": {
                "images": 3_803,
                "cameras": {"3": size_of(1_883, 93), "6": size_of(1_920, 96)},
            },
        },
    }
    parse_relpath = staticmethod(_parse_relpath)
    read_train = staticmethod(_read_train)
    read_test = staticmethod(_read_test)

    def held_out_pids(self) -> set[int]:
        """The dataset's own validation identities."""
        return set(read_list(self.folder, "val", stop))
