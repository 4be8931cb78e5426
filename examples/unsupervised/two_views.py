"""The augmentation: visible images plain and with jitter and channel exchange; infrared once."""

from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
from fastreid.config import CfgNode
from torch import Tensor

from wrimnet.data.augmentation import LUMA, build_augmentation_options, rows_of_rank
from wrimnet.data.batch_rows import take_rows
from wrimnet.data.randomness import generator
from wrimnet.data.window_resize import to_device
from wrimnet.modality import VISIBLE
from wrimnet.peers.channel_augmentation import ChannelAugmentation, SecondView
from wrimnet.registries import AUGMENTATION_REGISTRY


class TwoViews(ChannelAugmentation):
    """Half of the visible images in two views, then the infrared ones: a batch of the same size.

    Args:
        jitter: of the second view, see :class:`JitteredView`.
        padding: of the crop, pixels.
        options: of :class:`wrimnet.data.augmentation.BatchAugmentation`.
    """

    def __init__(self, *, jitter: float, padding: int, **options: Any) -> None:
        super().__init__(padding=padding, adaptation=False, two_views=False, **options)
        self.second = JitteredView(jitter=jitter, padding=padding, **options)

    def augment(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns V / 2 visible images plain, the same with channel exchange, the infrared ones."""
        visible = int((batch["modality"] == VISIBLE).sum())
        kept = take_rows(batch, slice(0, visible // 2), slice(visible, None))
        return super().augment(kept)


class JitteredView(SecondView):
    """Changes brightness, contrast and saturation by factors 1 - jitter to 1 + jitter first."""

    def __init__(self, *, jitter: float, **options: Any) -> None:
        super().__init__(**options)
        self.jitter = jitter

    def __call__(
        self, images: Tensor, modality: Tensor, iteration: int, out: Tensor | None = None
    ) -> Tensor:
        """Augments a batch image by image; see the base class."""
        rng = generator(self.seed, f"{self.stream}, jitter", iteration)
        count = len(modality) * self.world_size
        mine = rows_of_rank(count, self.rank, self.world_size)
        factors = rng.uniform(1 - self.jitter, 1 + self.jitter, (3, count))[:, mine]
        return super().__call__(jittered(images, factors), modality, iteration, out)


def jittered(images: Tensor, factors: np.ndarray) -> Tensor:
    """Changes brightness, contrast and saturation, in this order, as PIL's ImageEnhance does.

    Args:
        images: uint8 (B, H, W, 3).
        factors: (3, B), 1 for no change.

    Returns:
        uint8 (B, H, W, 3).
    """
    scale = to_device(factors.astype(np.float32), images.device)[:, :, None, None, None]
    luma = torch.tensor(LUMA, device=images.device)
    bright = (scale[0] * images).clamp(0, 255)
    gray = (bright * luma).sum(3, keepdim=True)
    mean = gray.mean((1, 2), keepdim=True)
    contrasted = (mean + scale[1] * (bright - mean)).clamp(0, 255)
    gray = (contrasted * luma).sum(3, keepdim=True)
    return (gray + scale[2] * (contrasted - gray)).clamp(0, 255).round().to(torch.uint8)


@AUGMENTATION_REGISTRY.register()
def build_two_views(cfg: CfgNode) -> TwoViews:
    """Builds the augmentation of INPUT.CHANNELS.PADDING and UNSUPERVISED.JITTER."""
    return TwoViews(
        jitter=cfg.UNSUPERVISED.JITTER,
        padding=cfg.INPUT.CHANNELS.PADDING,
        **build_augmentation_options(cfg),
    )
