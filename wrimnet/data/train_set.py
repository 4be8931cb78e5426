"""The training images with their class labels."""

from collections.abc import Sequence

import numpy as np

from wrimnet.data.items import ImageItem


class TrainSet:
    """Training images in dataset order.

    Args:
        items: All training images.

    Attributes:
        labels: Class of each image, (N,): identities in ascending order of pid are 0..C-1.
        pids: Identity of each image as the dataset numbers it, (N,).
        modality: Modality of each image, (N,).
        camids: Camera of each image, (N,).
        paths: File of each image.

    Raises:
        ValueError: If there is no image.
    """

    def __init__(self, items: Sequence[ImageItem]) -> None:
        if not items:
            raise ValueError("the training set has no image; check DATASETS.ROOT and the split")
        self.items = list(items)
        self.pids = np.array([item.pid for item in items], dtype=np.int64)
        self.modality = np.array([item.modality for item in items], dtype=np.int64)
        self.camids = np.array([item.camid for item in items], dtype=np.int64)
        self.paths = [item.path for item in items]
        identities, self.labels = np.unique(self.pids, return_inverse=True)
        self.num_classes = len(identities)

    def __len__(self) -> int:
        return len(self.items)
