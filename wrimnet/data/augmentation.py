"""The training augmentation: one batched function, the same on CPU and GPU.

Order (METHOD.md section 6): multi-scale crop, resize to the input size, horizontal flip, random
erasing, grayscale.
"""

from collections.abc import Sequence
from dataclasses import replace

import wrimnet.compat  # noqa: F401  before the first import of fastreid

import numpy as np
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch import Tensor

from wrimnet.data.augmentation_apply import apply_augmentation
from wrimnet.data.augmentation_draw import (
    AugmentationDraw,
    AugmentationSettings,
    draw_augmentation,
)
from wrimnet.data.randomness import generator
from wrimnet.modality import VISIBLE


class BatchAugmentation:
    """Augments the batch of one iteration; every sample has draws of its own.

    The draws belong to the rows of the *global* batch (visible first), so they do not depend on
    the number of processes.

    Args:
        settings: Distributions of the draws.
        fill: Pixel mean per channel, 0..255; fills erased rectangles of both modalities.
        seed: The run's SEED.
        rank: This process among `world_size`.
        world_size: Number of training processes.
    """

    def __init__(
        self,
        *,
        settings: AugmentationSettings,
        fill: Sequence[float],
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.settings, self.fill, self.seed = settings, tuple(fill), seed
        self.rank, self.world_size = rank, world_size

    def __call__(
        self, images: Tensor, modality: Tensor, iteration: int, out: Tensor | None = None
    ) -> Tensor:
        """Augments a batch.

        Args:
            images: uint8 (B, H, W, 3) on the training device.
            modality: (B,) on the CPU; with several processes visible first, half and half.
            iteration: Counts from 0; together with the seed it decides all draws.
            out: Result of an earlier call to write into. On a CPU fresh memory for the result
                costs as much time as the augmentation itself.

        Returns:
            float32 (B, 3, H, W), channels last in memory, pixel units 0..255.
        """
        draw = self.draw(modality.numpy(), images.shape[1], images.shape[2], iteration)
        return apply_augmentation(images, draw, self.fill, out)

    def draw(
        self, modality: np.ndarray, height: int, width: int, iteration: int
    ) -> AugmentationDraw:
        """Returns the draws of this process's rows (B,) of the global batch."""
        rng = generator(self.seed, "augmentation", iteration)
        count = len(modality) * self.world_size
        mine = _rows_of_rank(count, self.rank, self.world_size)
        draw = draw_augmentation(rng, count, height, width, self.settings).rows(mine)
        return replace(draw, grayscale=draw.grayscale & (modality == VISIBLE))


def _rows_of_rank(count: int, rank: int, world_size: int) -> np.ndarray:
    """Lists a process's rows of the global batch: its share of either modality's half."""
    rows = np.arange(count)
    if world_size == 1:
        return rows
    return rows.reshape(2, world_size, -1)[:, rank].reshape(-1)


def build_augmentation(cfg: CfgNode) -> BatchAugmentation:
    """Builds the augmentation of INPUT.{MULTISCALE_CROP, FLIP, REA, GRAYSCALE}."""
    crop, flip, erasing, gray = (
        cfg.INPUT.MULTISCALE_CROP,
        cfg.INPUT.FLIP,
        cfg.INPUT.REA,
        cfg.INPUT.GRAYSCALE,
    )
    settings = AugmentationSettings(
        scales=tuple(crop.SCALES) if crop.ENABLED else (1.0,),
        flip_prob=flip.PROB if flip.ENABLED else 0.0,
        erase_prob=erasing.PROB if erasing.ENABLED else 0.0,
        erase_area=tuple(erasing.AREA),
        erase_aspect=tuple(erasing.ASPECT),
        grayscale_prob=gray.PROB if gray.ENABLED else 0.0,
    )
    return BatchAugmentation(
        settings=settings,
        fill=tuple(cfg.MODEL.PIXEL_MEAN),
        seed=cfg.SEED,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )
