"""Embeddings of a list of images, each image read and embedded once."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.items import ImageItem
from wrimnet.data.reading import ImageReader
from wrimnet.evaluation.image_batches import read_batches
from wrimnet.evaluation.progress import ProgressLine

PRECISIONS = ("fp32", "bf16")


def extract_embeddings(
    model: Any,
    items: Sequence[ImageItem],
    *,
    height: int,
    width: int,
    interpolation: str,
    batch_size: int,
    num_workers: int,
    timeout: float = 30.0,
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
        timeout: seconds until a read that does not end is an error.
        flip: average each part with that of the mirrored image.
        device: where the model is.
        precision: "fp32" or "bf16" of the forward pass.

    Returns:
        For each part a float32 array (N, D_part), rows in the order of ``items``.

    Raises:
        ValueError: no image, an unknown precision, an unreadable file, or embeddings with NaN.
        TimeoutError: a file is in reading for longer than the timeout.
    """
    if not items:
        raise ValueError("no image to embed: the list of test images is empty")
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of {PRECISIONS}")
    reader = ImageReader(
        items, height=height, width=width, interpolation=interpolation, on_bad_image="error"
    )
    batches = list(batch_rows(items, batch_size))
    parts: dict[str, np.ndarray] = {}
    training = model.training
    model.eval()
    try:
        with ProgressLine("embedding", len(items), "images") as progress:
            for rows, images in read_batches(
                reader, batches, num_workers=num_workers, timeout=timeout
            ):
                embedded = _embed(model, images, items[rows[0]].modality, flip, device, precision)
                _store(parts, embedded, rows, items)
                progress.advance(len(rows))
    finally:
        model.train(training)
    return parts


def batch_rows(items: Sequence[ImageItem], batch_size: int) -> Iterator[list[int]]:
    """Yields the rows of each batch: one modality each, all full but a modality's last."""
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
