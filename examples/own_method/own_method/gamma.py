"""Random gamma on infrared images."""

import numpy as np

from wrimnet.config import Key
from wrimnet.data.augmentation_list import as_column
from wrimnet.modality import INFRARED
from wrimnet.registries import AUGMENTATION_REGISTRY


def add_config():
    """Returns the key of this augmentation."""
    return [Key("INPUT.GAMMA.RANGE", (0.7, 1.4), "exponent of infrared pixels", "2 x (0, 10]")]


@AUGMENTATION_REGISTRY.register()
class RandomGamma:
    """Raises the pixels of infrared images, scaled to 0..1, to a random power."""

    def __init__(self, cfg):
        self.low, self.high = cfg.INPUT.GAMMA.RANGE

    def __call__(self, images, modality, rng):
        """Returns images of the same shape."""
        gamma = np.where(modality == INFRARED, rng.uniform(self.low, self.high, len(images)), 1.0)
        return 255 * (images / 255) ** as_column(gamma, images)
