"""Training batches, prepared by a background thread."""

import threading
from collections.abc import Iterator
from queue import Empty, Full, Queue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.reading import ReadingWatch
from wrimnet.data.sampler import CrossModalitySampler, count_repeats
from wrimnet.data.sources import ImageSource
from wrimnet.data.train_set import TrainSet

POLL_SECONDS = 0.2


class TrainLoader:
    """Endless batches of a training set from any iteration on.

    One background thread reads, copies to the device on a stream of its own, and keeps a few
    batches ready. There are no worker processes that could die unseen. An error of the thread is
    raised where the batch is asked for; so is a read that does not end.

    Args:
        dataset: Training images.
        sampler: Chooses the images of an iteration.
        source: Delivers their pixels.
        watch: Knows which files are being read.
        device: Where "images" and "targets" shall lie.
        prefetch: Batches kept ready, at least 1.
        timeout: Seconds until a read that does not end is an error.
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
        self._running: _Prefetcher | None = None

    def iterate(self, start_iteration: int = 0) -> Iterator[dict[str, Any]]:
        """Yields the batches of iterations `start_iteration`, `start_iteration` + 1, ...

        A batch is a dict: "images" uint8 (B, H, W, 3) and "targets" int64 (B,) on the device,
        "labels" (the targets), "modality" and "camids" int64 (B,) on the CPU, "img_paths" (B
        strings), "iteration" and "repeats", the number of images that stand in the batch a second
        time.

        Raises:
            TimeoutError: If a file is in reading for longer than the timeout; names it.
            Exception: Whatever stopped the background thread, such as an unreadable image.
        """
        self._stop()
        running = self._running = _Prefetcher(self, start_iteration)
        try:
            while True:
                yield running.next_batch()
        finally:
            running.stop()

    def close(self) -> None:
        """Ends all threads and the source; the loader cannot be used afterwards."""
        self.source.close()
        self._stop()

    @property
    def skipped(self) -> dict[str, str]:
        """Unreadable files that other images stand for, with the reason of each."""
        return self.source.skipped

    def _stop(self) -> None:
        if self._running is not None:
            self._running.stop()
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


class _Prefetcher:
    """The background thread of one `iterate`, and the queue between it and the training."""

    def __init__(self, loader: TrainLoader, start_iteration: int) -> None:
        self._loader = loader
        self._queue: Queue = Queue(maxsize=loader.prefetch)
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._produce, args=(start_iteration,), daemon=True, name="wrimnet-batches"
        )
        self._thread.start()

    def next_batch(self) -> dict[str, Any]:
        """Waits for the next batch, for as long as the reading gets on."""
        while True:
            try:
                batch, ready, error = self._queue.get(timeout=POLL_SECONDS)
            except Empty:
                self._check_alive()
                continue
            if error is not None:
                raise error
            return _received(batch, ready)

    def stop(self) -> None:
        """Asks the thread to end and waits for it, unless it is stuck in a read."""
        self._stopping.set()
        while self._thread.is_alive() and not self._loader.watch.stalled(self._loader.timeout):
            self._thread.join(POLL_SECONDS)

    def _check_alive(self) -> None:
        stalled = self._loader.watch.stalled(self._loader.timeout)
        if stalled:
            raise TimeoutError(
                f"reading has not ended within DATALOADER.TIMEOUT = {self._loader.timeout:g} s: "
                f"{', '.join(stalled[:5])}; check the disk, or raise the timeout if it is slow"
            )
        if not self._thread.is_alive() and self._queue.empty():
            raise RuntimeError("the loader was closed while a batch was waited for")

    def _produce(self, iteration: int) -> None:
        try:
            while not self._stopping.is_set():
                self._put((*_loaded(self._loader, iteration), None))
                iteration += 1
        except BaseException as error:  # raised again in next_batch
            self._put((None, None, error))

    def _put(self, entry: tuple) -> None:
        while not self._stopping.is_set():
            try:
                return self._queue.put(entry, timeout=POLL_SECONDS)
            except Full:
                continue


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
