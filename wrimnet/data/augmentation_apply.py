"""Applying drawn augmentations to a batch, by the same arithmetic on CPU and GPU.

A window is resized bilinearly, the same as cutting it out and resizing it. Windows are parallel to
the axes, so rows and columns are interpolated one after the other. That is exact where the window
is the whole image, and on a CPU twice as fast as `grid_sample`, which is given a position for
every pixel and wants the channels apart.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.augmentation_draw import AugmentationDraw

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, PIL's convert("L")
CPU_CHUNK = 4  # images augmented together on a CPU, so that intermediate results stay in its cache


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
    count = len(images)
    result = torch.empty(images.shape, device=images.device) if out is None else _interleaved(out)
    step = max(min(CPU_CHUNK, count) if images.device.type == "cpu" else count, 1)
    plan, scratch = _plan(draw, images.shape, fill, images.device), _Scratch(images[:step])
    for start in range(0, count, step):
        rows = slice(start, start + step)
        part = _Plan(*(values[rows] for values in plan))
        _sample_windows(images[rows], part, scratch, out=result[rows])
        if draw.erased[rows, 2:].any():
            _erase_in_place(result[rows], part, scratch)
        if draw.grayscale[rows].any():
            _grayscale_in_place(result[rows], np.flatnonzero(draw.grayscale[rows]))
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


class _Plan(NamedTuple):
    """The draws of a batch as positions and weights on its device, all float32 or int64.

    The two source rows of every output row and the second one's weight; the same for columns, of
    W * 3 interleaved values; which rows and which columns are erased (1.0) or not (0.0); the fill.
    """

    above: Tensor  # (B, H)
    below: Tensor  # (B, H)
    row_weight: Tensor  # (B, H)
    before: Tensor  # (B, 1, W * 3)
    after: Tensor  # (B, 1, W * 3)
    column_weight: Tensor  # (B, 1, W * 3)
    erased_rows: Tensor  # (B, H, 1)
    erased_columns: Tensor  # (B, 1, W * 3)
    fill: Tensor  # (B, 1, W * 3)


def _plan(
    draw: AugmentationDraw, shape: Sequence[int], fill: Sequence[float], device: torch.device
) -> _Plan:
    count, height, width, channels = shape
    numbers = np.column_stack([draw.windows, draw.erased, draw.flipped]).T.astype(np.int64)
    top, left, tall, wide, *erased, flipped = _to_device(numbers, device)[:, :, None].unbind()
    columns = (
        _per_channel(torch.where(flipped > 0, values.flip(1), values), channels)
        for values in _neighbours(left, wide, width)
    )
    value = _to_device(np.tile(np.asarray(fill, dtype=np.float32), width), device)
    return _Plan(
        *_neighbours(top, tall, height),
        *columns,
        _inside(erased[0], erased[2], height)[:, :, None],
        _inside(erased[1], erased[3], width).repeat_interleave(channels, dim=1)[:, None],
        value.expand(count, 1, -1),
    )


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


def _inside(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Marks positions start .. start + length - 1 of `size` with 1.0, float32 (B, size)."""
    position = torch.arange(size, device=start.device)
    return ((position >= start) & (position < start + length)).float()


class _Scratch:
    """Memory for the intermediate results of one chunk of images (B, H, W, 3), used by all chunks.

    Fresh memory for every step would cost a CPU more time than the arithmetic.
    """

    def __init__(self, images: Tensor) -> None:
        self._bytes = torch.empty(images.numel(), dtype=torch.uint8, device=images.device)
        self._floats = torch.empty(3, images.numel(), device=images.device)

    def bytes(self, shape: Sequence[int]) -> Tensor:
        """Returns uint8 memory of a shape."""
        return self._bytes[: math.prod(shape)].view(*shape)

    def floats(self, slot: int, shape: Sequence[int]) -> Tensor:
        """Returns float32 memory of a shape; slots 0, 1 and 2 do not overlap."""
        return self._floats[slot, : math.prod(shape)].view(*shape)


def _sample_windows(images: Tensor, plan: _Plan, scratch: _Scratch, out: Tensor) -> None:
    """Resizes the windows of uint8 images (B, H, W, 3) to the whole of `out`, mirrored or not."""
    count, height, width, channels = images.shape
    lines = images.reshape(count * height, width * channels)
    first_row = torch.arange(count, device=images.device)[:, None] * height
    upper = _picked(lines, first_row + plan.above, scratch, slot=0)
    lower = _picked(lines, first_row + plan.below, scratch, slot=1)
    upper.lerp_(lower, plan.row_weight.reshape(-1, 1))

    stretched = upper.view(count, height, width * channels)
    leftward, rightward = (scratch.floats(slot, stretched.shape) for slot in (1, 2))
    torch.gather(stretched, 2, plan.before.expand_as(stretched), out=leftward)
    torch.gather(stretched, 2, plan.after.expand_as(stretched), out=rightward)
    torch.lerp(leftward, rightward, plan.column_weight, out=out.view_as(stretched))


def _picked(lines: Tensor, rows: Tensor, scratch: _Scratch, slot: int) -> Tensor:
    """Returns chosen lines as float32, in the scratch memory of a slot."""
    chosen = torch.index_select(lines, 0, rows.view(-1), out=scratch.bytes(lines.shape))
    return scratch.floats(slot, lines.shape).copy_(chosen)


def _erase_in_place(images: Tensor, plan: _Plan, scratch: _Scratch) -> None:
    """Fills each sample's rectangle; weights 1 and 0 give exactly the fill, exactly the image."""
    count, height, width, channels = images.shape
    inside = scratch.floats(0, (count, height, width * channels))
    torch.mul(plan.erased_rows, plan.erased_columns, out=inside)
    images.view_as(inside).lerp_(plan.fill.expand_as(inside), inside)


def _grayscale_in_place(images: Tensor, selected: np.ndarray) -> None:
    """Gives the selected samples three equal channels, the luma of their colours."""
    index = _to_device(selected, images.device)
    red, green, blue = images[index].unbind(dim=3)
    luma = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    images.index_copy_(0, index, luma[:, :, :, None].repeat(1, 1, 1, 3))


def _to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Copies a small array without waiting for the device."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
