"""Training batches, prepared by a background thread."""

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.images import ImageItem
from wrimnet.data.reading import ReadingWatch, read_ahead
from wrimnet.data.sampler import CrossModalitySampler, count_repeats
from wrimnet.data.sources import ImageSource


class TrainSet:
    """Training images in dataset order: pids, modality, camids, paths and labels of all N.

    Labels are 0..C-1, identities in ascending order of pid. No image at all is a ValueError.
    """

    def __init__(self, items: Sequence[ImageItem]) -> None:
        if not items:
            raise ValueError("the training set has no image; check DATASETS.ROOT and the split")
        self.items = list(items)
        self.pids = np.array([item.pid for item in items], dtype=np.int64)
        self.modality = np.array([item.modality for item in items], dtype=np.int64)
        self.camids = np.array([item.camid for item in items], dtype=np.int64)
        self.paths = [item.path for item in items]
        identities, self.labels = np.unique(self.pids, return_inverse=True)
        self.num_classes = len(identities)

    def __len__(self) -> int:
        return len(self.items)


class TrainLoader:
    """Endless batches of a training set from any iteration on.

    One background thread reads, copies to the device on a stream of its own, and keeps a few
    batches ready. There are no worker processes that could die unseen. An error of the thread is
    raised where the batch is asked for; so is a read that does not end within ``timeout`` seconds.
    """

    def __init__(
        self,
        *,
        dataset: TrainSet,
        sampler: CrossModalitySampler,
        source: ImageSource,
        watch: ReadingWatch,
        device: torch.device,
        prefetch: int,
        timeout: float,
    ) -> None:
        self.dataset, self.sampler, self.source = dataset, sampler, source
        self.watch, self.device = watch, device
        self.prefetch, self.timeout = max(prefetch, 1), timeout
        self._running: Generator | None = None

    def iterate(self, start_iteration: int = 0) -> Iterator[dict[str, Any]]:
        """Yields the batches of iterations `start_iteration`, `start_iteration` + 1, ...

        A batch is a dict: "images" uint8 (B, H, W, 3) and "targets" int64 (B,) on the device,
        "labels" (the targets), "modality", "camids" int64 (B,) on the CPU, "img_paths",
        "iteration", "repeats": images that stand there a second time. What stops the thread is
        raised, and a read that stalls.
        """
        self._stop()
        running = self._running = read_ahead(
            partial(_loaded, self),
            count(start_iteration),
            ahead=self.prefetch,
            watch=self.watch,
            timeout=self.timeout,
        )
        try:
            for batch, ready in running:
                yield _received(batch, ready)
        finally:
            running.close()
        raise RuntimeError("the loader was closed; build another one for more batches")

    def close(self) -> None:
        """Ends all threads and the source; the loader cannot be used afterwards."""
        self._stop()
        self.source.close()

    @property
    def skipped(self) -> dict[str, str]:
        """Unreadable files that other images stand for, with the reason of each."""
        return self.source.skipped

    def _stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None

    def load(self, iteration: int) -> dict[str, Any]:
        """Prepares one batch; the device copies may still be under way."""
        indices = self.sampler.batch(iteration)
        images = self.source.to_device(self.source.read(indices), self.device)
        return {
            "images": images,
            "targets": self._labels(indices).to(self.device, non_blocking=True),
            "labels": torch.from_numpy(self.dataset.labels[indices]),
            "modality": torch.from_numpy(self.dataset.modality[indices]),
            "camids": torch.from_numpy(self.dataset.camids[indices]),
            "img_paths": [self.dataset.paths[index] for index in indices],
            "iteration": iteration,
            "repeats": count_repeats(indices),
        }

    def _labels(self, indices: np.ndarray) -> Tensor:
        labels = torch.from_numpy(self.dataset.labels[indices])
        return labels.pin_memory() if self.device.type == "cuda" else labels


def _loaded(loader: TrainLoader, iteration: int) -> tuple[dict[str, Any], torch.cuda.Event | None]:
    """Loads a batch; on CUDA on a stream of its own, with the event that ends its copies."""
    if loader.device.type != "cuda":
        return loader.load(iteration), None
    with torch.cuda.stream(_copy_stream(loader.device)):
        batch = loader.load(iteration)
        return batch, torch.cuda.current_stream(loader.device).record_event()


def _received(batch: dict[str, Any], ready: torch.cuda.Event | None) -> dict[str, Any]:
    """Makes the training's stream wait for the copies, and keeps their memory until it is done."""
    if ready is not None:
        stream = torch.cuda.current_stream(batch["images"].device)
        stream.wait_event(ready)
        for name in ("images", "targets"):
            batch[name].record_stream(stream)
    return batch


_COPY_STREAMS: dict[torch.device, torch.cuda.Stream] = {}


def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """Returns the device's stream for copies, made on first use."""
    if device not in _COPY_STREAMS:
        _COPY_STREAMS[device] = torch.cuda.Stream(device)
    return _COPY_STREAMS[device]
