"""Training batches, prepared by a background thread."""

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.batch_rows import map_tensors
from wrimnet.data.images import ImageItem
from wrimnet.data.reading import ReadingWatch, read_ahead
from wrimnet.data.sampler import CrossModalitySampler, count_repeats
from wrimnet.data.sources import ImageSource


class TrainSet:
    """Training images in dataset order: pids, modality, camids, paths and labels of all N.

    Labels are 0..C-1, identities in ascending order of pid. ``attached`` holds what the dataset
    attached to the images, by name: a tensor (N, ...) of numbers, else a list.

    Raises:
        ValueError: no image at all, or images with other attached names than the first.
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
        self.attached = attached_columns(items)

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
        self._reader: object | None = None

    def iterate(self, start_iteration: int = 0) -> Iterator[dict[str, Any]]:
        """Yields the batches of iterations `start_iteration`, `start_iteration` + 1, ...

        A batch is a dict: "images" uint8 (B, H, W, 3) and "targets" int64 (B,) on the device,
        "labels" (the targets), "modality" int64 (B,) on the CPU, "camids" int64 (B,) and the
        tensors of "attached" on the device, "img_paths", "iteration", "repeats": images that stand
        there a second time. What stops the thread is raised, and a read that stalls.
        """
        reader = self._reader = object()  # a later call takes its place
        while self._reader is reader:
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
                    start_iteration += 1
            finally:
                running.close()
        raise RuntimeError("the loader was closed; build another one for more batches")

    def relabel(self, labels: np.ndarray) -> None:
        """Replaces the labels (N,) that the sampler and the losses see, from the next batch on.

        For labels that change between epochs, from a hook: ``trainer.data_loader.relabel``.
        Batches that were read ahead are read again. An image whose label is negative is not drawn;
        the others are classes from 0.

        Raises:
            ValueError: another number of labels, or no integers.
        """
        self._stop()
        self.sampler.relabel(labels)
        self.dataset.labels = self.sampler.labels

    def close(self) -> None:
        """Ends all threads and the source; the loader cannot be used afterwards."""
        self._reader = None
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
            "targets": self._to_device(torch.from_numpy(self.dataset.labels[indices])),
            "labels": torch.from_numpy(self.dataset.labels[indices]),
            "modality": torch.from_numpy(self.dataset.modality[indices]),
            "camids": self._to_device(torch.from_numpy(self.dataset.camids[indices])),
            "attached": {
                name: self._to_device(column[indices])
                if torch.is_tensor(column)
                else [column[index] for index in indices]
                for name, column in self.dataset.attached.items()
            },
            "img_paths": [self.dataset.paths[index] for index in indices],
            "iteration": iteration,
            "repeats": count_repeats(indices),
        }

    def _to_device(self, rows: Tensor) -> Tensor:
        rows = rows.pin_memory() if self.device.type == "cuda" else rows
        return rows.to(self.device, non_blocking=True)


def attached_columns(items: Sequence[ImageItem]) -> dict[str, Any]:
    """Returns what the dataset attached to items, by name: a tensor of numbers, or a list.

    Raises ValueError: items with other names than the first.
    """
    names = items[0].attached.keys()
    for item in items:
        if item.attached.keys() != names:
            raise ValueError(
                f"{item.path} has {sorted(item.attached)} attached, {items[0].path} has "
                f"{sorted(names)}; the dataset must attach the same names to all training images"
            )
    return {name: _column([item.attached[name] for item in items]) for name in names}


def _column(values: list[Any]) -> Tensor | list[Any]:
    """A tensor of numbers or of arrays of one shape, float32 where they are not whole."""
    try:
        array = np.asarray(values)
    except ValueError:  # of several shapes
        return values
    if array.dtype.kind not in "biuf":
        return values
    return torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array)


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
        map_tensors(batch, lambda one: one.record_stream(stream) if one.is_cuda else None)
    return batch


_COPY_STREAMS: dict[torch.device, torch.cuda.Stream] = {}


def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """Returns the device's stream for copies, made on first use."""
    if device not in _COPY_STREAMS:
        _COPY_STREAMS[device] = torch.cuda.Stream(device)
    return _COPY_STREAMS[device]
