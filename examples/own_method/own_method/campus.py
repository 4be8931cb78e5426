"""CampusVI: images/IDENTITY_CAMERA_MODALITY_NUMBER.png, and lists.csv with columns file and list.

A list is train, query or gallery; a modality is rgb or ir. In parse_relpath, pid is IDENTITY.
"""

import csv
import os
import re

import wrimnet.compat  # noqa: F401

from fastreid.data.datasets import DATASET_REGISTRY

from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.modality import INFRARED, VISIBLE


@DATASET_REGISTRY.register()
class CampusVI(CrossModalityDataset):
    name = title = folder_name = "CampusVI"
    protocols = (
        Protocol(
            name="campus_ir2vis",
            dataset="CampusVI",
            direction="infrared to visible",
            query_modality=INFRARED,
            gallery_modality=VISIBLE,
            query_list="query",
            gallery_list="gallery",
        ),
    )
    default_protocols = ("campus_ir2vis",)

    @staticmethod
    def parse_relpath(relpath):
        match = re.fullmatch(r"images/(\d+)_(\d+)_(rgb|ir)_\d+\.png", relpath)
        if not match:
            raise ValueError(f"{relpath!r} is no path of CampusVI; expected images/7_2_ir_0.png")
        return int(match[1]), int(match[2]), VISIBLE if match[3] == "rgb" else INFRARED

    @staticmethod
    def read_train(folder, number, on_problem):
        return read_lists(folder, {"train"})

    @staticmethod
    def read_test(folder, number, on_problem):
        return read_lists(folder, {"query", "gallery"})


def read_lists(folder, names):
    with open(os.path.join(folder, "lists.csv"), newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["list"] in names]
    items = [
        ImageItem(os.path.join(folder, path), *CampusVI.parse_relpath(path), path, lists=(name,))
        for path, name in ((row["file"], row["list"]) for row in rows)
    ]
    return sorted(items, key=lambda item: item.modality)  # visible ones first
