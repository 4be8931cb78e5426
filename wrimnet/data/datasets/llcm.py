"""LLCM, the low-light cross-modality dataset: 9 cameras, visible and near infrared.

Layout:

    LLCM/
      vis/<identity>/<identity>_c<camera>_s<time>_f<frame>_vis.jpg    nir/ likewise
      test_vis/cam<1..9>/<identity>/*.jpg
      test_nir/cam<1,2,4..9>/<identity>/*.jpg
      idx/train_vis.txt  train_nir.txt    one "relative/path label" per line
      idx/test_id.txt                     comma-separated identities

Identities are folders of 4 digits. A training image's camera is the c<camera> of its name, a test
image's camera its folder. There is no near-infrared camera 3: an empty `test_nir/cam3` is accepted.

Counts: 1,064 identities, 46,767 images; training 713 identities, 16,946 visible and 13,975
infrared; test 351 identities, 15,846 images.

Splits: training images are the lines of `idx/train_*.txt` (vis/ and nir/ also hold copies of the
test images). Test images are the `test_vis` and `test_nir` trees, restricted to the identities of
`idx/test_id.txt` as the published evaluation does; other identities' folders are counted in the
log. `split="train"` holds a fixed tenth (71) of the training identities out.

pid is the identity's folder number. The index label (0..712) is only checked to stand one to one
with it.
"""

import logging
import os
import re
from dataclasses import replace
from typing import ClassVar

import wrimnet.compat  # noqa: F401

from fastreid.data.datasets import DATASET_REGISTRY

from wrimnet.data.datasets.base import Counts, CrossModalityDataset, size_of
from wrimnet.data.datasets.layout import (
    HELP,
    OnProblem,
    check_labels,
    check_present,
    existing,
    image_names,
    inside,
    read_identities,
    read_index,
    require_folder,
    subfolders,
)
from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.modality import INFRARED, VISIBLE

TRAIN_FOLDERS = {"vis": VISIBLE, "nir": INFRARED}
TEST_FOLDERS = {"test_vis": VISIBLE, "test_nir": INFRARED}
CAMERAS = {VISIBLE: (1, 2, 3, 4, 5, 6, 7, 8, 9), INFRARED: (1, 2, 4, 5, 6, 7, 8, 9)}
IDENTITY = "[0-9]{4}"

logger = logging.getLogger(__name__)


def _parse_relpath(relpath: str) -> tuple[int, int, int]:
    """Returns (pid, camid, modality) of an image from its path inside the LLCM folder.

    Raises ValueError: the path is no training or test image path of LLCM.
    """
    match relpath.split("/"):
        case [top, identity, name] if top in TRAIN_FOLDERS:
            modality, camera = TRAIN_FOLDERS[top], re.match(r"[0-9]+_c(0[1-9])_", name)
        case [top, folder, identity, _] if top in TEST_FOLDERS:
            modality, camera = TEST_FOLDERS[top], re.fullmatch("cam([1-9])", folder)
        case _:
            identity, modality, camera = "", VISIBLE, None
    if camera is None or not re.fullmatch(IDENTITY, identity):
        raise ValueError(
            f"{relpath!r} is not an LLCM image path; expected vis/0001/0001_c01_..., nir/..., "
            f"test_vis/cam1/0001/... or test_nir/...; {HELP}"
        )
    return int(identity), int(camera[1]), modality


def _read_train(folder: str, number: int, on_problem: OnProblem) -> list[ImageItem]:
    """Reads the training images in the order of the index files, visible first."""
    lines = []
    for top in TRAIN_FOLDERS:
        path = os.path.join(folder, "idx", f"train_{top}.txt")
        listed = inside(read_index(path, on_problem), top, _parse_relpath, on_problem)
        if require_folder(os.path.join(folder, top), on_problem):
            lines += listed
    check_labels(lines, lambda relpath: _parse_relpath(relpath)[0], on_problem)
    return [_item(folder, line.relpath) for line in existing(folder, lines, on_problem)]


def _read_test(folder: str, number: int, on_problem: OnProblem) -> list[ImageItem]:
    """Reads the test images of the listed identities by modality, identity, camera and name."""
    path = os.path.join(folder, "idx", "test_id.txt")
    listed = read_identities(path, on_problem)
    items = [
        _item(folder, relpath)
        for top in TEST_FOLDERS
        for relpath in _test_relpaths(folder, top, on_problem)
    ]
    unlisted = {item.pid for item in items} - set(listed)
    if unlisted:
        logger.info("%d identities of the test folders are not in %s", len(unlisted), path)
    check_present(listed, (item.pid for item in items), f"{folder}/test_*", on_problem)
    items = [item for item in items if item.pid not in unlisted]
    return sorted(items, key=lambda item: (item.modality, item.pid, item.camid, item.relpath))


def _test_relpaths(folder: str, top: str, on_problem: OnProblem) -> list[str]:
    cameras = _camera_folders(os.path.join(folder, top), TEST_FOLDERS[top], on_problem)
    relpaths = []
    for camera in cameras:
        for identity in subfolders(os.path.join(folder, top, camera), IDENTITY, on_problem):
            names = image_names(os.path.join(folder, top, camera, identity), on_problem)
            relpaths += [f"{top}/{camera}/{identity}/{name}" for name in names]
    return relpaths


def _camera_folders(folder: str, modality: int, on_problem: OnProblem) -> list[str]:
    cameras = subfolders(folder, "cam[1-9]", on_problem)
    expected = [f"cam{camera}" for camera in CAMERAS[modality]]
    for camera in expected if cameras else ():
        if camera not in cameras:
            on_problem(FileNotFoundError(f"looked for the folder {folder}/{camera}; {HELP}"))
    for camera in sorted(set(cameras) - set(expected)):
        if subfolders(os.path.join(folder, camera), ".*", on_problem):
            on_problem(ValueError(f"LLCM has no {camera} in {folder}, expected it empty; {HELP}"))
    return [camera for camera in expected if camera in cameras]


def _item(folder: str, relpath: str) -> ImageItem:
    return ImageItem(os.path.join(folder, relpath), *_parse_relpath(relpath), relpath)


_IR2VIS = Protocol(
    name="llcm_ir2vis",
    dataset="LLCM",
    direction="infrared to visible",
    query_modality=INFRARED,
    gallery_modality=VISIBLE,
    drawn_side="gallery",
    shots=1,
    camera_rule="llcm_same_identity_same_camera",
)


@DATASET_REGISTRY.register()
class LLCM(CrossModalityDataset):
    """LLCM as items; see the module's text for layout, counts and splits.

    Protocols: every image of one modality queries a gallery drawn from the other, ten draws. In
    ``llcm_vis2ir_swapped`` the drawn infrared images are the queries and all visible images the
    gallery, as some published test scripts have it; its numbers mean something else and its
    ``table`` keeps them apart.
    """

    name = title = folder_name = "LLCM"
    protocols = (
        _IR2VIS,
        replace(
            _IR2VIS,
            name="llcm_vis2ir",
            direction="visible to infrared",
            query_modality=VISIBLE,
            gallery_modality=INFRARED,
        ),
        replace(
            _IR2VIS,
            name="llcm_vis2ir_swapped",
            direction="drawn infrared to all visible (swapped)",
            drawn_side="query",
            table="swapped",
        ),
    )
    default_protocols = ("llcm_ir2vis", "llcm_vis2ir")
    # Their paper and index files. The paper prints 13,909 test images beside 46,767 in all and
    # 30,921 for training; only 46,767 - 30,921 = 15,846 adds up.
    expected_counts: ClassVar[Counts] = {
        "train": {
            **size_of(30_921, 713),
            "visible": {"images": 16_946},
            "infrared": {"images": 13_975},
        },
        "test": size_of(15_846, 351),
    }
    train_folders = tuple(TRAIN_FOLDERS)
    parse_relpath = staticmethod(_parse_relpath)
    read_train = staticmethod(_read_train)
    read_test = staticmethod(_read_test)
