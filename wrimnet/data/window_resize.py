"""Resizing one window of every image to the whole image, mirrored or not, for a batch at once.

The same as cutting the window out and resizing it bilinearly. Windows are parallel to the axes, so
rows and columns are interpolated one after the other: exact where the window is the whole image,
and faster than `grid_sample`, which is given a position for every pixel and wants the channels
apart.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class WindowPlan(NamedTuple):
    """The two source rows of every output row and the second one's weight; the same for columns.

    Columns are those of W * 3 interleaved values.
    """

    above: Tensor  # (B, H)
    below: Tensor  # (B, H)
    row_weight: Tensor  # (B, H)
    before: Tensor  # (B, 1, W * 3)
    after: Tensor  # (B, 1, W * 3)
    column_weight: Tensor  # (B, 1, W * 3)


def plan_windows(
    windows: np.ndarray, flipped: np.ndarray, shape: Sequence[int], device: torch.device
) -> WindowPlan:
    """Turns windows (B, 4), mirrored where flipped (B,), into positions and weights on a device.

    A window is (top, left, height, width) in pixels; the shape of an image is (H, W, 3).
    """
    height, width, channels = shape
    numbers = np.column_stack([windows, flipped]).T.astype(np.int64)
    top, left, tall, wide, mirrored = to_device(numbers, device)[:, :, None].unbind()
    columns = (
        _per_channel(torch.where(mirrored > 0, values.flip(1), values), channels)
        for values in _neighbors(left, wide, width)
    )
    return WindowPlan(*_neighbors(top, tall, height), *columns)


def _neighbors(start: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the two source pixels of each of `size` output pixels, and the second one's weight.

    Output pixel i shows the source position start + (i + 1/2) length / size - 1/2, held inside
    the window [start, start + length - 1]. Of start and length (B, 1) it makes two times indices
    (B, size) and float32 weights (B, size) in [0, 1).
    """
    centers = torch.arange(size, device=start.device) + 0.5
    inside = (centers * (length.float() / size) - 0.5).clamp(min=0.0)
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


class Scratch:
    """Memory for the intermediate results of a batch of images (B, H, W, 3), used again and again.

    Fresh memory for every step would cost a CPU more time than the arithmetic.
    """

    def __init__(self, shape: Sequence[int], device: torch.device) -> None:
        size = math.prod(shape)
        self._bytes = torch.empty(size, dtype=torch.uint8, device=device)
        self._floats = torch.empty(3, size, device=device)

    def bytes(self, shape: Sequence[int]) -> Tensor:
        """Returns uint8 memory of a shape."""
        return self._bytes[: math.prod(shape)].view(*shape)

    def floats(self, slot: int, shape: Sequence[int]) -> Tensor:
        """Returns float32 memory of a shape; slots 0, 1 and 2 do not overlap."""
        return self._floats[slot, : math.prod(shape)].view(*shape)


def resize_windows(images: Tensor, plan: WindowPlan, scratch: Scratch, out: Tensor) -> None:
    """Resizes the window of each image, uint8 (B, H, W, 3), into float32 ``out`` of that shape."""
    count, height, width, channels = images.shape
    shape = (count, height, width * channels)
    lines = images.reshape(-1, width * channels)
    first_row = height * torch.arange(count, device=images.device)[:, None]
    upper = _picked(lines, first_row + plan.above, scratch, slot=0)
    lower = _picked(lines, first_row + plan.below, scratch, slot=1)
    stretched = upper.lerp_(lower, plan.row_weight.reshape(-1, 1)).view(shape)
    leftward, rightward = (scratch.floats(slot, shape) for slot in (1, 2))
    torch.gather(stretched, 2, plan.before.expand(shape), out=leftward)
    torch.gather(stretched, 2, plan.after.expand(shape), out=rightward)
    torch.lerp(leftward, rightward, plan.column_weight, out=out.view(shape))


def _picked(lines: Tensor, rows: Tensor, scratch: Scratch, slot: int) -> Tensor:
    """Returns chosen lines as float32, in the scratch memory of a slot."""
    shape = (rows.numel(), lines.shape[1])
    chosen = torch.index_select(lines, 0, rows.view(-1), out=scratch.bytes(shape))
    return scratch.floats(slot, shape).copy_(chosen)


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Copies a small array without waiting for the device."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
