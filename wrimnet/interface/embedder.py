"""Embeddings of images by a trained model, batch by batch."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wrimnet.evaluation.evaluator import join_parts
from wrimnet.evaluation.progress import ProgressLine
from wrimnet.interface.image_input import ImageReader, check_images
from wrimnet.modality import MODALITY_NAMES, find_modality


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What identifies a model.

    Attributes:
        name: for titles, such as "WRIMNet-50x".
        weights: file that the weights came from.
        config_hash: of the configuration.
        model_hash: of everything that shapes an embedding; see :mod:`wrimnet.interface.model_hash`.
    """

    name: str
    weights: str
    config_hash: str
    model_hash: str


class Embedder:
    """A trained model with its preprocessing; made by :func:`wrimnet.load`.

    Args:
        model: has ``embed_parts(images, modality)`` and ``part_dims``; put in evaluation mode.
        parts: groups that make up the embedding, in order.
        reader: brings an image to the input size.
        batch_size: images embedded together.
        num_workers: threads that read images.
        flip: average with the mirrored image.
        device: where the model is.
        precision: "fp32" or "bf16" of the forward pass.
        facts: identify the model.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        parts: Sequence[str],
        reader: ImageReader,
        batch_size: int,
        num_workers: int,
        flip: bool,
        device: str,
        precision: str,
        facts: ModelFacts,
    ) -> None:
        self.model = model.eval()
        self.parts = tuple(parts)
        self.reader = reader
        self.batch_size = batch_size
        self.device = device
        self.facts = facts
        self._num_workers = num_workers
        self._flip = flip
        self._precision = precision

    @property
    def dim(self) -> int:
        """D, the length of an embedding."""
        return sum(self.model.part_dims[name] for name in self.parts)

    def embed(self, images: Any, modality: int | str) -> np.ndarray:
        """Embeds images of one modality; a progress line appears on a terminal.

        Args:
            images: N paths, PIL images or uint8 arrays (H, W, 3), or one array (N, H, W, 3).
            modality: "visible" or "infrared", or their numbers in :mod:`wrimnet.modality`.

        Returns:
            (N, D) float32, rows of unit length, in the order of the images. The similarity of two
            images, of the same or of different modality, is the dot product of their rows.

        Raises:
            ValueError: no image, an unreadable or unusable one, or an unknown modality.
        """
        modality, images = find_modality(modality), check_images(images)
        embeddings = np.empty((len(images), self.dim), dtype=np.float32)
        label = f"embedding {MODALITY_NAMES[modality]}"
        with ProgressLine(label, len(images), "images") as progress:
            for start, batch in self._batches(images):
                rows = slice(start, start + len(batch))
                embeddings[rows] = self._embed_batch(batch, modality)
                progress.advance(len(batch))
        return embeddings

    def _batches(self, images: Sequence[Any]) -> Iterator[tuple[int, Tensor]]:
        """Yields row and images (B, H, W, 3) of each batch; the next one is read meanwhile."""
        starts = range(0, len(images), self.batch_size)
        with ThreadPoolExecutor(max(1, self._num_workers)) as pool:
            reading = self._start_reading(pool, images, 0)
            for start in starts:
                batch = [future.result() for future in reading]
                reading = self._start_reading(pool, images, start + self.batch_size)
                yield start, torch.from_numpy(np.stack(batch))

    def _start_reading(
        self, pool: ThreadPoolExecutor, images: Sequence[Any], start: int
    ) -> list[Future]:
        return [pool.submit(self.reader, image) for image in images[start:][: self.batch_size]]

    @torch.inference_mode()
    def _embed_batch(self, batch: Tensor, modality: int) -> np.ndarray:
        batch = batch.to(self.device)
        kind, half = torch.device(self.device).type, self._precision == "bf16"
        with torch.autocast(kind, dtype=torch.bfloat16) if half else nullcontext():
            parts = self.model.embed_parts(batch, modality)
            if self._flip:
                mirrored = self.model.embed_parts(batch.flip(2), modality)
                parts = {name: (part + mirrored[name]) / 2 for name, part in parts.items()}
        arrays = {name: part.float().cpu().numpy() for name, part in parts.items()}
        return join_parts(arrays, self.parts)
