"""Applying drawn augmentations to a batch.

There are two orders of work with equal results. A GPU does each step for the whole batch at once,
because launching many small kernels is what costs there. A CPU goes from sample to sample, leaves
out what a sample does not need, and stays in its cache.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.augmentation_draw import AugmentationDraw
from wrimnet.data.augmentation_windows import Scratch, plan_windows, resize_windows, to_device

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, PIL's convert("L")
RESIZED_TOGETHER = 4  # windows that a CPU resizes at a time


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
    result = torch.empty(images.shape, device=images.device) if out is None else _interleaved(out)
    apply = apply_by_sample if images.device.type == "cpu" else apply_by_step
    apply(images, draw, fill, result)
    return result.permute(0, 3, 1, 2)


def apply_by_step(
    images: Tensor, draw: AugmentationDraw, fill: Sequence[float], out: Tensor
) -> None:
    """Does each step for the whole batch.

    Args:
        images: uint8 (B, H, W, 3).
        draw: B samples.
        fill: Value of erased pixels per channel.
        out: float32 (B, H, W, 3), written.
    """
    count, *shape = images.shape
    plan = plan_windows(draw.windows, draw.flipped, shape, images.device)
    scratch = Scratch(images.shape, images.device)
    samples = torch.arange(count, device=images.device)
    resize_windows(images, samples, plan, scratch, out)
    _erase_all(out, draw.erased, fill, scratch)
    gray = np.flatnonzero(draw.grayscale)
    if len(gray):
        index = to_device(gray, images.device)
        out.index_copy_(0, index, _luma(out[index]).repeat(1, 1, 1, 3))


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


def apply_by_sample(
    images: Tensor, draw: AugmentationDraw, fill: Sequence[float], out: Tensor
) -> None:
    """Does all steps of a sample before the next; arguments as in `apply_by_step`."""
    value = torch.tensor(fill, dtype=torch.float32)
    whole = (draw.windows == [0, 0, *images.shape[1:3]]).all(axis=1)
    for sample in np.flatnonzero(whole).tolist():
        image = images[sample]
        out[sample].copy_(image.flip(1) if draw.flipped[sample] else image)
        _finish(out[sample], draw, sample, value)
    for samples, resized in _resized(images, draw, np.flatnonzero(~whole)):
        for sample, image in zip(samples.tolist(), resized, strict=True):
            _finish(image, draw, sample, value)
            out[sample].copy_(image)


def _resized(
    images: Tensor, draw: AugmentationDraw, chosen: np.ndarray
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yields a few of the chosen samples at a time with their resized windows."""
    if not len(chosen):
        return
    shape = images.shape[1:]
    plan = plan_windows(draw.windows[chosen], draw.flipped[chosen], shape, images.device)
    scratch = Scratch((min(RESIZED_TOGETHER, len(chosen)), *shape), images.device)
    for start in range(0, len(chosen), RESIZED_TOGETHER):
        part = slice(start, start + RESIZED_TOGETHER)
        samples = chosen[part]
        yield samples, resize_windows(images, torch.from_numpy(samples), plan.rows(part), scratch)


def _finish(image: Tensor, draw: AugmentationDraw, sample: int, fill: Tensor) -> None:
    """Erases and grays one image (H, W, 3) in place."""
    top, left, tall, wide = draw.erased[sample].tolist()
    if tall:
        image[top : top + tall, left : left + wide] = fill
    if draw.grayscale[sample]:
        image.copy_(_luma(image).expand_as(image))


def _luma(images: Tensor) -> Tensor:
    """Returns the luma of colours (..., 3) as (..., 1)."""
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
