"""Embeddings of a list of images, each image read and embedded once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.images import read_rgb, resize_rgb
from wrimnet.data.items import ImageItem
from wrimnet.evaluation.progress import ProgressLine

PRECISIONS = ("fp32", "bf16")
_BATCHES_AHEAD = 2


def extract_embeddings(
    model: Any,
    items: Sequence[ImageItem],
    *,
    height: int,
    width: int,
    interpolation: str,
    batch_size: int,
    num_workers: int,
    flip: bool,
    device: str,
    precision: str = "fp32",
) -> dict[str, np.ndarray]:
    """Embeds images with ``model.embed_parts(images, modality)``, one modality at a time.

    Args:
        model: its training mode is restored afterwards.
        items: N images.
        height: pixels.
        width: pixels.
        interpolation: PIL filter of the resize.
        batch_size: images embedded together.
        num_workers: threads that read and resize.
        flip: average each part with that of the mirrored image.
        device: where the model is.
        precision: "fp32" or "bf16" of the forward pass.

    Returns:
        For each part a float32 array (N, D_part), rows in the order of ``items``.

    Raises:
        ValueError: no image, an unknown precision, an unreadable file, or embeddings with NaN.
    """
    if not items:
        raise ValueError("no image to embed: the list of test images is empty")
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of {PRECISIONS}")
    reader = _Reader(height, width, interpolation)
    parts: dict[str, np.ndarray] = {}
    training = model.training
    model.eval()
    try:
        with (
            ThreadPoolExecutor(max(1, num_workers)) as pool,
            ProgressLine("embedding", len(items), "images") as progress,
        ):
            for rows, images in _read_batches(pool, reader, items, batch_size):
                embedded = _embed(model, images, items[rows[0]].modality, flip, device, precision)
                _store(parts, embedded, rows, items)
                progress.advance(len(rows))
    finally:
        model.train(training)
    return parts


class _Reader:
    """Reads one image at the input size, (H, W, 3) uint8."""

    def __init__(self, height: int, width: int, interpolation: str) -> None:
        self._size = height, width, interpolation

    def __call__(self, item: ImageItem) -> np.ndarray:
        return resize_rgb(read_rgb(item.path), *self._size)


def _read_batches(
    pool: ThreadPoolExecutor, reader: _Reader, items: Sequence[ImageItem], batch_size: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of one modality each: rows and images (B, H, W, 3); reads a few batches ahead."""
    batches = list(_batch_rows(items, batch_size))
    waiting: list[list[Future]] = []
    for number, rows in enumerate(batches):
        while len(waiting) <= _BATCHES_AHEAD and number + len(waiting) < len(batches):
            ahead = batches[number + len(waiting)]
            waiting.append([pool.submit(reader, items[row]) for row in ahead])
        images = [future.result() for future in waiting.pop(0)]
        yield rows, torch.from_numpy(np.stack(images))


def _batch_rows(items: Sequence[ImageItem], batch_size: int) -> Iterator[list[int]]:
    for modality in sorted({item.modality for item in items}):
        rows = [row for row, item in enumerate(items) if item.modality == modality]
        for start in range(0, len(rows), batch_size):
            yield rows[start : start + batch_size]


@torch.inference_mode()
def _embed(
    model: Any, images: Tensor, modality: int, flip: bool, device: str, precision: str
) -> dict[str, Tensor]:
    images = images.to(device, non_blocking=True)
    kind = torch.device(device).type
    half = torch.autocast(kind, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    with half:
        parts = model.embed_parts(images, modality)
        if flip:
            mirrored = model.embed_parts(images.flip(2), modality)
            parts = {name: (part + mirrored[name]) / 2 for name, part in parts.items()}
    return {name: part.float().cpu() for name, part in parts.items()}


def _store(
    parts: dict[str, np.ndarray],
    embedded: dict[str, Tensor],
    rows: list[int],
    items: Sequence[ImageItem],
) -> None:
    for name, part in embedded.items():
        if not part.isfinite().all():
            bad = rows[int((~part.isfinite()).any(dim=1).nonzero()[0])]
            raise ValueError(
                f"the {name} embedding of {items[bad].relpath} holds NaN or infinity; "
                "check the weights, or evaluate in fp32"
            )
        if name not in parts:
            parts[name] = np.empty((len(items), part.shape[1]), dtype=np.float32)
        parts[name][rows] = part.numpy()
