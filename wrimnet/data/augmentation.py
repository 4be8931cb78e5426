"""The training augmentation: one batched function, the same on CPU and GPU.

Order (METHOD.md section 6): multi-scale crop, resize to the input size, horizontal flip, random
erasing, grayscale.

Drawing comes first, for the whole batch, as plain arrays; then each step is done for the whole
batch at once, because launching many small kernels is what costs on a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import wrimnet.compat  # noqa: F401  before the first import of fastreid

import numpy as np
import torch
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch import Tensor

from wrimnet.data.randomness import generator
from wrimnet.data.window_resize import Scratch, plan_windows, resize_windows, to_device
from wrimnet.modality import VISIBLE
from wrimnet.registries import AUGMENTATION_REGISTRY, register_as

ERASING_ATTEMPTS = 32


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """Distributions of the draws; a probability of 0 and the scales (1.0,) switch a step off."""

    scales: Sequence[float]  # side of the crop window / side of the image, each in (0, 1]
    flip_prob: float
    erase_prob: float
    erase_area: tuple[float, float]  # erased share of the image, from and to
    erase_aspect: tuple[float, float]  # height / width of the rectangle, from and to
    grayscale_prob: float  # of visible images

    def __post_init__(self) -> None:
        if not self.scales or not all(0.0 < scale <= 1.0 for scale in self.scales):
            raise ValueError(
                f"INPUT.MULTISCALE_CROP.SCALES is {tuple(self.scales)}; expected one or more "
                "values above 0 and at most 1"
            )
        for name in ("flip_prob", "erase_prob", "grayscale_prob"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a value in [0, 1]")
        for name in ("AREA", "ASPECT"):
            low, high = getattr(self, f"erase_{name.lower()}")
            if not 0.0 < low <= high:
                raise ValueError(
                    f"INPUT.REA.{name} is ({low}, {high}); expected 0 < smallest <= largest"
                )


@dataclass(frozen=True)
class AugmentationDraw:
    """The draws of a batch. Rectangles are (top, left, height, width) in pixels."""

    windows: np.ndarray  # (B, 4), cut out
    flipped: np.ndarray  # (B,), True where the window is mirrored
    erased: np.ndarray  # (B, 4), after crop and flip; height and width 0 for none
    grayscale: np.ndarray  # (B,), True where an image becomes grayscale if it is visible

    def rows(self, selected: np.ndarray) -> "AugmentationDraw":
        """Returns the draws of the selected samples."""
        arrays = (self.windows, self.flipped, self.erased, self.grayscale)
        return AugmentationDraw(*(array[selected] for array in arrays))


def draw_augmentation(
    rng: np.random.Generator, count: int, height: int, width: int, settings: AugmentationSettings
) -> AugmentationDraw:
    """Draws for ``count`` images of one size; each step has its own numbers, used or not."""
    windows = _draw_windows(rng, count, height, width, settings.scales)
    flipped = rng.random(count) < settings.flip_prob
    erased = _draw_erasing(rng, count, height, width, settings)
    grayscale = rng.random(count) < settings.grayscale_prob
    return AugmentationDraw(windows, flipped, erased, grayscale)


def _draw_windows(
    rng: np.random.Generator, count: int, height: int, width: int, scales: Sequence[float]
) -> np.ndarray:
    scale = np.asarray(scales)[rng.integers(len(scales), size=count)]
    heights = np.maximum(np.rint(height * scale).astype(np.int64), 1)
    widths = np.maximum(np.rint(width * scale).astype(np.int64), 1)
    tops = rng.integers(0, height - heights + 1)
    lefts = rng.integers(0, width - widths + 1)
    return np.stack([tops, lefts, heights, widths], axis=1)


def _draw_erasing(
    rng: np.random.Generator, count: int, height: int, width: int, settings: AugmentationSettings
) -> np.ndarray:
    """Draws area (uniform) and aspect (log-uniform) until the rectangle fits into the image.

    Of `ERASING_ATTEMPTS` pairs per sample the first that fits counts; where none does, nothing is
    erased (with the paper's ranges the chance of that is below 1e-9).
    """
    is_erased = rng.random(count) < settings.erase_prob
    shape = (count, ERASING_ATTEMPTS)
    area = rng.uniform(*settings.erase_area, size=shape) * height * width
    lowest, highest = np.log(settings.erase_aspect)
    aspect = np.exp(rng.uniform(lowest, highest, size=shape))
    heights = np.maximum(np.rint(np.sqrt(area * aspect)).astype(np.int64), 1)
    widths = np.maximum(np.rint(np.sqrt(area / aspect)).astype(np.int64), 1)
    fits = (heights < height) & (widths < width)
    first = (np.arange(count), fits.argmax(axis=1))
    heights, widths = heights[first], widths[first]
    place = rng.random((2, count))
    tops = np.floor(place[0] * np.maximum(height - heights + 1, 1)).astype(np.int64)
    lefts = np.floor(place[1] * np.maximum(width - widths + 1, 1)).astype(np.int64)
    rectangles = np.stack([tops, lefts, heights, widths], axis=1)
    return np.where((is_erased & fits.any(axis=1))[:, None], rectangles, 0)


LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, PIL's convert("L")


def apply_augmentation(
    images: Tensor, draw: AugmentationDraw, fill: Sequence[float], out: Tensor | None = None
) -> Tensor:
    """Applies given draws to uint8 (B, H, W, 3); see :meth:`BatchAugmentation.__call__`."""
    result = torch.empty(images.shape, device=images.device) if out is None else _interleaved(out)
    plan = plan_windows(draw.windows, draw.flipped, images.shape[1:], images.device)
    scratch = Scratch(images.shape, images.device)
    resize_windows(images, plan, scratch, result)
    _erase_all(result, draw.erased, fill, scratch)
    gray = np.flatnonzero(draw.grayscale)
    if len(gray):
        index = to_device(gray, images.device)
        result.index_copy_(0, index, _luma(result[index]).repeat(1, 1, 1, 3))
    return result.permute(0, 3, 1, 2)


def _erase_all(
    images: Tensor, rectangles: np.ndarray, fill: Sequence[float], scratch: Scratch
) -> None:
    """Fills each sample's rectangle; weights 1 and 0 give exactly the fill, exactly the image."""
    count, height, width, channels = images.shape
    top, left, tall, wide = to_device(rectangles.T.copy(), images.device)[:, :, None].unbind()
    rows = _inside(top, tall, height)[:, :, None]
    columns = _inside(left, wide, width).repeat_interleave(channels, dim=1)[:, None]
    weight = scratch.floats(0, (count, height, width * channels))
    torch.mul(rows, columns, out=weight)
    value = to_device(np.tile(np.asarray(fill, dtype=np.float32), width), images.device)
    images.view_as(weight).lerp_(value.expand_as(weight), weight)


def _inside(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Marks positions start .. start + length - 1 of `size` with 1.0, float32 (B, size)."""
    position = torch.arange(size, device=start.device)
    return ((position >= start) & (position < start + length)).float()


def _luma(images: Tensor) -> Tensor:
    """Returns the luma of colors (..., 3) as (..., 1)."""
    red, green, blue = images.split(1, dim=-1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def _interleaved(images: Tensor) -> Tensor:
    """Views (B, 3, H, W) that is channels last in memory as (B, H, W, 3)."""
    interleaved = images.permute(0, 2, 3, 1)
    if images.dtype != torch.float32 or not interleaved.is_contiguous():
        raise ValueError(
            f"out is {images.dtype} with strides {images.stride()}; expected float32, channels "
            "last, such as an earlier result of this function"
        )
    return interleaved


class BatchAugmentation:
    """Augments the batch of one iteration; every sample has draws of its own.

    They belong to the rows of the *global* batch (visible first), whatever the number of processes.
    ``fill``, 0..255 per channel, fills erased rectangles of both modalities.
    """

    stream = "augmentation"  # of the random numbers

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

    def augment(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns the batch to train on; a custom one may hold more images, visible first.

        Raises ValueError: an earlier augmentation has made floats of the images.
        """
        if batch["images"].dtype != torch.uint8:
            raise ValueError(
                f"INPUT.AUGMENTATION: {type(self).__name__} takes images as they are read, (B, H, "
                "W, 3) bytes; name it first, as in [default, Yours]"
            )
        images = self(batch["images"], batch["modality"], batch["iteration"])
        return {**batch, "images": images}

    def __call__(
        self, images: Tensor, modality: Tensor, iteration: int, out: Tensor | None = None
    ) -> Tensor:
        """Augments uint8 (B, H, W, 3) on the device, with modality (B,) on the CPU.

        Returns float32 (B, 3, H, W), channels last in memory, 0..255; in the memory of ``out``, an
        earlier result, which saves a CPU as much time as the augmentation itself takes.
        """
        draw = self.draw(modality.numpy(), images.shape[1], images.shape[2], iteration)
        return apply_augmentation(images, draw, self.fill, out)

    def draw(
        self, modality: np.ndarray, height: int, width: int, iteration: int
    ) -> AugmentationDraw:
        """Returns the draws of this process's rows (B,) of the global batch."""
        rng = generator(self.seed, self.stream, iteration)
        count = len(modality) * self.world_size
        mine = rows_of_rank(count, self.rank, self.world_size)
        draw = draw_augmentation(rng, count, height, width, self.settings).rows(mine)
        return replace(draw, grayscale=draw.grayscale & (modality == VISIBLE))


def rows_of_rank(count: int, rank: int, world_size: int) -> np.ndarray:
    """Lists a process's rows of the global batch: its share of either modality's half."""
    rows = np.arange(count)
    if world_size == 1:
        return rows
    return rows.reshape(2, world_size, -1)[:, rank].reshape(-1)


@register_as(AUGMENTATION_REGISTRY, "default")
@AUGMENTATION_REGISTRY.register()
def build_batch_augmentation(cfg: CfgNode) -> BatchAugmentation:
    """Builds the augmentation of INPUT.{MULTISCALE_CROP, FLIP, REA, GRAYSCALE}."""
    return BatchAugmentation(**build_augmentation_options(cfg))


def build_augmentation_options(cfg: CfgNode) -> dict[str, Any]:
    """Returns the arguments of :class:`BatchAugmentation`."""
    crop, flip, erasing = cfg.INPUT.MULTISCALE_CROP, cfg.INPUT.FLIP, cfg.INPUT.REA
    gray = cfg.INPUT.GRAYSCALE
    settings = AugmentationSettings(
        scales=tuple(crop.SCALES) if crop.ENABLED else (1.0,),
        flip_prob=flip.PROB if flip.ENABLED else 0.0,
        erase_prob=erasing.PROB if erasing.ENABLED else 0.0,
        erase_area=tuple(erasing.AREA),
        erase_aspect=tuple(erasing.ASPECT),
        grayscale_prob=gray.PROB if gray.ENABLED else 0.0,
    )
    return {
        "settings": settings,
        "fill": tuple(cfg.MODEL.PIXEL_MEAN),
        "seed": cfg.SEED,
        "rank": comm.get_rank(),
        "world_size": comm.get_world_size(),
    }
