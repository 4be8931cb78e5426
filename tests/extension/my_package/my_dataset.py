"""MyVI: one folder per camera, a list of the identities to test on.

Layout:

    MyVI/
      visible_1/<identity>_<number>.jpg     infrared_2/ likewise
      test.txt                              one identity a line

Visible images are of camera 1, infrared ones of camera 2. pid is the identity in the file's name.
"""

import os
import re

from fastreid.data.datasets import DATASET_REGISTRY

from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.datasets.layout import image_names, read_identities, require_folder
from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.metrics.exclusion import register_camera_rule
from wrimnet.modality import INFRARED, VISIBLE

FOLDERS = {"visible_1": VISIBLE, "infrared_2": INFRARED}


@register_camera_rule
def nothing_but_identity_zero(query_pids, query_camids, gallery_pids, gallery_camids):
    """Removes the gallery images of identity 0, a background class."""
    return (gallery_pids == 0).expand(len(query_pids), -1)


@DATASET_REGISTRY.register()
class MyVI(CrossModalityDataset):
    """MyVI as items; see the module's text."""

    name = title = folder_name = "MyVI"
    protocols = (
        Protocol(
            name="myvi_ir2vis",
            dataset="MyVI",
            direction="infrared to visible",
            query_modality=INFRARED,
            gallery_modality=VISIBLE,
            camera_rule="nothing_but_identity_zero",
        ),
    )
    default_protocols = ("myvi_ir2vis",)

    @staticmethod
    def parse_relpath(relpath):
        """Returns (identity, camera, modality) of ``visible_1/0007_3.jpg``."""
        folder, _, name = relpath.partition("/")
        found = re.fullmatch(r"(\d{4})_\d+\.jpg", name)
        if folder not in FOLDERS or not found:
            raise ValueError(f"{relpath!r} is no path of MyVI; expected visible_1/0007_3.jpg")
        return int(found[1]), int(folder[-1]), FOLDERS[folder]

    @staticmethod
    def read_train(folder, number, on_problem):
        """Reads the images of identities that test.txt does not list."""
        test = read_identities(os.path.join(folder, "test.txt"), on_problem)
        return [item for item in read_images(folder, on_problem) if item.pid not in test]

    @staticmethod
    def read_test(folder, number, on_problem):
        """Reads the images of the identities that test.txt lists."""
        test = read_identities(os.path.join(folder, "test.txt"), on_problem)
        return [item for item in read_images(folder, on_problem) if item.pid in test]


def read_images(folder, on_problem):
    """Reads every image, visible ones first."""
    relpaths = [
        f"{top}/{name}"
        for top in FOLDERS
        if require_folder(os.path.join(folder, top), on_problem)
        for name in image_names(os.path.join(folder, top), on_problem)
    ]
    return [
        ImageItem(os.path.join(folder, path), *MyVI.parse_relpath(path), path) for path in relpaths
    ]
