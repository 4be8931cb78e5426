"""CAJ's channel augmentation, and the padded crop that all peers share, for whole batches.

Ye et al., Channel Augmented Joint Learning for Visible-Infrared Recognition, ICCV 2021. Order:
padded crop, then what :mod:`wrimnet.data.augmentation` does (flip, erasing, grayscale, and a
multi-scale crop where it is on), then the channels.
"""

from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
import torch.nn.functional as F
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch import Tensor

from wrimnet.data.augmentation import (
    LUMA,
    BatchAugmentation,
    build_augmentation_options,
    rows_of_rank,
)
from wrimnet.data.batch_rows import take_rows
from wrimnet.data.randomness import generator
from wrimnet.data.window_resize import to_device
from wrimnet.modality import VISIBLE
from wrimnet.registries import AUGMENTATION_REGISTRY

# What becomes of an image's channels: row i of the weights makes the value of all three.
_WEIGHTS = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), LUMA], dtype=np.float32)
GRAY, UNCHANGED = 3, 4


class ChannelAugmentation(BatchAugmentation):
    """Augments a batch as CAJ does; its parts are switched off one by one.

    Args:
        padding: pixels; the crop of the input's size moves so far beyond each edge, into black.
        adaptation: one of R, G, B takes the place of all, each with probability 1/4; else the image
            turns gray or stays, 1/8 each. Of both modalities.
        two_views: each visible image a second time with draws of its own, one of R, G, B in place
            of all (channel exchange).
        options: of :class:`wrimnet.data.augmentation.BatchAugmentation`.
    """

    def __init__(self, *, padding: int, adaptation: bool, two_views: bool, **options: Any) -> None:
        super().__init__(**options)
        self.padding, self.adaptation = padding, adaptation
        self.second = SecondView(padding=padding, **options) if two_views else None

    def augment(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns the batch with augmented images: V, V again with two views, then infrared."""
        first = super().augment(batch)
        if self.second is None:
            return first
        count = int((batch["modality"] == VISIBLE).sum())
        second = self.second.augment(batch)["images"][:count]
        images = torch.cat((first["images"][:count], second, first["images"][count:]))
        doubled = take_rows(batch, slice(0, count), slice(0, None))
        return {**doubled, "images": images}

    def __call__(
        self, images: Tensor, modality: Tensor, iteration: int, out: Tensor | None = None
    ) -> Tensor:
        """Augments a batch image by image; see the base class."""
        rng = generator(self.seed, f"{self.stream}, channels", iteration)
        count = len(modality) * self.world_size
        mine = rows_of_rank(count, self.rank, self.world_size)
        offsets = rng.integers(0, 2 * self.padding + 1, (count, 2))[mine]
        channels = self.draw_channels(rng, count)[mine]
        images = padded_crop(images, offsets, self.padding)
        return replace_channels(super().__call__(images, modality, iteration, out), channels)

    def draw_channels(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Returns for each of B images which channel replaces all: 0..2, GRAY or UNCHANGED."""
        if not self.adaptation:
            return np.full(count, UNCHANGED)
        chosen, turns_gray = rng.integers(4, size=count), rng.random(count) < 0.5
        return np.where((chosen == GRAY) & ~turns_gray, UNCHANGED, chosen)


class SecondView(ChannelAugmentation):
    """The second view of the visible images: as the first, with channel exchange."""

    stream = "second view"

    def __init__(self, *, padding: int, **options: Any) -> None:
        super().__init__(padding=padding, adaptation=True, two_views=False, **options)

    def draw_channels(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Returns for each of B images which channel replaces all: 0..2."""
        return rng.integers(3, size=count)


def padded_crop(images: Tensor, offsets: np.ndarray, padding: int) -> Tensor:
    """Crops each image from itself with a black border, at its own place.

    Args:
        images: uint8 (B, H, W, 3).
        offsets: (B, 2) rows and columns of the crop in the padded image, 0..2 x padding.
        padding: of the border, pixels.

    Returns:
        uint8 (B, H, W, 3).
    """
    if padding == 0:
        return images
    count, height, width, _ = images.shape
    padded = F.pad(images, (0, 0, padding, padding, padding, padding))
    top, left = to_device(offsets, images.device).unbind(1)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    image = torch.arange(count, device=images.device)
    return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]


def replace_channels(images: Tensor, chosen: np.ndarray) -> Tensor:
    """Puts one channel, or the luma, in the place of all three.

    Args:
        images: (B, 3, H, W).
        chosen: (B,) 0..2, GRAY or UNCHANGED.

    Returns:
        Of the same shape.
    """
    if (chosen == UNCHANGED).all():
        return images
    weights = to_device(_WEIGHTS[np.minimum(chosen, GRAY)], images.device)
    changed = to_device(chosen != UNCHANGED, images.device)
    replaced = (images * weights[:, :, None, None]).sum(1, keepdim=True)
    return torch.where(changed[:, None, None, None], replaced, images)


@AUGMENTATION_REGISTRY.register()
def build_channel_augmentation(cfg: CfgNode) -> ChannelAugmentation:
    """Builds the augmentation of INPUT.CHANNELS on top of the default one's keys.

    Raises:
        ValueError: two views with several processes, whose batches must be half visible.
    """
    channels, num_processes = cfg.INPUT.CHANNELS, comm.get_world_size()
    if channels.TWO_VIEWS and num_processes > 1:
        raise ValueError(
            f"{num_processes} processes: INPUT.CHANNELS.TWO_VIEWS makes batches two thirds "
            "visible and needs one; start it without torchrun"
        )
    return ChannelAugmentation(
        padding=channels.PADDING,
        adaptation=channels.ADAPTATION,
        two_views=channels.TWO_VIEWS,
        **build_augmentation_options(cfg),
    )


def check_channel_augmentation(cfg: CfgNode) -> None:
    """Raises ValueError for two views in batches that are cut into halves."""
    parts = cfg.SOLVER.ACCUMULATION_STEPS
    if cfg.INPUT.CHANNELS.TWO_VIEWS and parts > 1:
        raise ValueError(
            f"SOLVER.ACCUMULATION_STEPS = {parts} cuts batches that are half visible, "
            "INPUT.CHANNELS.TWO_VIEWS makes them two thirds visible; turn one of them off"
        )


build_channel_augmentation.check_config = check_channel_augmentation
