"""UnlabelledFolder: two folders of images, and nobody knows who is on them.

Layout:

    UnlabelledFolder/
      visible/    images of any name
      infrared/   images of any name

There are no labels, so there is no protocol: a model adapted to them is not evaluated on them.
"""

import os

import wrimnet.compat  # noqa: F401

from fastreid.data.datasets import DATASET_REGISTRY

from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.datasets.layout import OnProblem, image_names, require_folder
from wrimnet.data.images import ImageItem
from wrimnet.modality import MODALITY_NAMES

NOBODY = 0  # the identity of every image


@DATASET_REGISTRY.register()
class UnlabelledFolder(CrossModalityDataset):
    """Images without identities; see the module's text."""

    name = title = folder_name = "UnlabelledFolder"
    protocols = default_protocols = ()

    @staticmethod
    def parse_relpath(relpath: str) -> tuple[int, int, int]:
        """Returns (nobody, camera 1 or 2, modality) of ``visible/any.jpg``."""
        top = relpath.partition("/")[0]
        if top not in MODALITY_NAMES:
            raise ValueError(f"{relpath!r}: expected visible/NAME or infrared/NAME")
        modality = MODALITY_NAMES.index(top)
        return NOBODY, modality + 1, modality

    @staticmethod
    def read_train(folder: str, number: int, on_problem: OnProblem) -> list[ImageItem]:
        """Reads every image, visible ones first."""
        relpaths = [
            f"{top}/{name}"
            for top in MODALITY_NAMES
            if require_folder(os.path.join(folder, top), on_problem)
            for name in image_names(os.path.join(folder, top), on_problem)
        ]
        parse = UnlabelledFolder.parse_relpath
        return [ImageItem(os.path.join(folder, path), *parse(path), path) for path in relpaths]

    @staticmethod
    def read_test(folder: str, number: int, on_problem: OnProblem) -> list[ImageItem]:
        """Returns none."""
        return []
