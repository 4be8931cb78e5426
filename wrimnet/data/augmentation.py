"""The training augmentation: one batched function, the same on CPU and GPU.

Order (METHOD.md section 6): multi-scale crop, resize to the input size, horizontal flip, random
erasing, grayscale.
"""

from collections.abc import Sequence
from dataclasses import replace

import wrimnet.compat  # noqa: F401  before the first import of fastreid

import numpy as np
import torch
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch import Tensor

from wrimnet.data.augmentation_draw import (
    AugmentationDraw,
    AugmentationSettings,
    draw_augmentation,
)
from wrimnet.data.randomness import generator
from wrimnet.modality import VISIBLE

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, PIL's convert("L")
CPU_CHUNK = 8  # images augmented together on a CPU, so that intermediate results stay in its cache


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


def apply_augmentation(
    images: Tensor, draw: AugmentationDraw, fill: Sequence[float], out: Tensor | None = None
) -> Tensor:
    """Applies given draws.

    Args:
        images: uint8 (B, H, W, 3).
        draw: B samples.
        fill: Value of erased pixels per channel, 0..255.
        out: Earlier result to write into.

    Returns:
        float32 (B, 3, H, W), channels last in memory.
    """
    step = CPU_CHUNK if images.device.type == "cpu" else max(len(images), 1)
    result = torch.empty(images.shape, device=images.device) if out is None else _interleaved(out)
    for start in range(0, len(images), step):
        rows = slice(start, start + step)
        _augment(images[rows], draw.rows(rows), fill, out=result[rows])
    return result.permute(0, 3, 1, 2)


def _interleaved(images: Tensor) -> Tensor:
    """Views (B, 3, H, W) that is channels last in memory as (B, H, W, 3)."""
    interleaved = images.permute(0, 2, 3, 1)
    if images.dtype != torch.float32 or not interleaved.is_contiguous():
        raise ValueError(
            f"out is {images.dtype} with strides {images.stride()}; expected float32, channels "
            "last, such as an earlier result of this function"
        )
    return interleaved


def _augment(images: Tensor, draw: AugmentationDraw, fill: Sequence[float], out: Tensor) -> None:
    """Augments uint8 (B, H, W, 3) into float32 `out` of that shape."""
    _sample_windows(images, draw.windows, draw.flipped, out)
    if draw.erased[:, 2:].any():
        _erase_in_place(out, draw.erased, fill)
    if draw.grayscale.any():
        _grayscale_in_place(out, draw.grayscale)


def _sample_windows(images: Tensor, windows: np.ndarray, flipped: np.ndarray, out: Tensor) -> None:
    """Resizes each sample's window to the whole image, bilinearly, mirrored where flipped.

    The same as cutting the window out and resizing it. Windows are parallel to the axes, so rows
    and columns are interpolated one after the other: exact where the window is the whole image,
    and faster than `grid_sample`, which has to be given a position for every pixel.
    """
    count, height, width, channels = images.shape
    geometry = _to_device(np.column_stack([windows, flipped]).T.copy(), images.device)
    top, left, tall, wide, mirrored = geometry[:, :, None].unbind()  # each (B, 1)

    above, below, weight = _neighbours(top, tall, height)
    first_row = torch.arange(count, device=images.device)[:, None] * height
    lines = images.reshape(count * height, width * channels)
    upper = lines.index_select(0, (first_row + above).view(-1)).float()
    lower = lines.index_select(0, (first_row + below).view(-1)).float()
    stretched = upper.lerp_(lower, weight.view(-1, 1)).view(count, height, width * channels)

    before, after, weight = _neighbours(left, wide, width)
    before, after, weight = (
        _per_channel(torch.where(mirrored > 0, values.flip(1), values), channels)
        for values in (before, after, weight)
    )  # each (B, 1, W * 3)
    leftward = stretched.gather(2, before.expand_as(stretched))
    rightward = stretched.gather(2, after.expand_as(stretched))
    torch.lerp(leftward, rightward, weight.float(), out=out.view_as(stretched))


def _neighbours(start: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the two source pixels of each of `size` output pixels, and the second one's weight.

    Output pixel i shows the source position start + (i + 1/2) length / size - 1/2, held inside
    the window [start, start + length - 1].

    Args:
        start: First pixel of each window, (B, 1).
        length: Pixels of each window, (B, 1).
        size: Output pixels.

    Returns:
        Indices (B, size), indices (B, size) and float32 weights (B, size) in [0, 1).
    """
    centres = torch.arange(size, device=start.device) + 0.5
    inside = (centres * (length.float() / size) - 0.5).clamp(min=0.0)
    inside = torch.minimum(inside, length - 1.0)
    whole = inside.floor()
    first = start + whole.long()
    second = torch.minimum(first + 1, start + length - 1)
    return first, second, inside - whole


def _per_channel(values: Tensor, channels: int) -> Tensor:
    """Turns columns (B, W) into those of interleaved channels, (B, 1, W * channels).

    Integers are positions and become those of the interleaved values; floats are repeated.
    """
    spread = values[:, :, None].expand(-1, -1, channels)
    if not values.is_floating_point():
        spread = spread * channels + torch.arange(channels, device=values.device)
    return spread.reshape(len(values), 1, -1)


def _erase_in_place(images: Tensor, rectangles: np.ndarray, fill: Sequence[float]) -> None:
    """Fills each sample's rectangle with one value per channel.

    A weight of 1 inside and 0 outside gives exactly the fill and exactly the image.
    """
    _, height, width, channels = images.shape
    top, left, tall, wide = _to_device(rectangles.T.copy(), images.device)[:, :, None].unbind()
    row = torch.arange(height, device=images.device)
    column = torch.arange(width * channels, device=images.device) // channels
    in_rows = (row >= top) & (row < top + tall)  # (B, H)
    in_columns = (column >= left) & (column < left + wide)  # (B, W * 3)
    inside = in_rows[:, :, None].float() * in_columns[:, None].float()
    value = _to_device(np.tile(np.asarray(fill, dtype=np.float32), width), images.device)
    images.view_as(inside).lerp_(value.expand_as(inside), inside)


def _grayscale_in_place(images: Tensor, selected: np.ndarray) -> None:
    """Gives the selected samples three equal channels, the luma of their colours."""
    index = _to_device(np.flatnonzero(selected), images.device)
    red, green, blue = images[index].unbind(dim=3)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    images.index_copy_(0, index, luma[:, :, :, None].repeat(1, 1, 1, 3))


def _to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Copies a small array without waiting for the device."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


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
