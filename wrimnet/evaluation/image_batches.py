"""Test images in batches, read a little ahead; a read that does not end is an error."""

import threading
from collections.abc import Iterator, Sequence
from queue import Empty, Full, Queue

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.reading import POLL_SECONDS, ImageReader, ThreadPool

BATCHES_AHEAD = 2


def read_batches(
    reader: ImageReader, batches: Sequence[list[int]], *, num_workers: int, timeout: float
) -> Iterator[tuple[list[int], Tensor]]:
    """Yields rows and images (B, H, W, 3) uint8 of each batch, in order.

    Args:
        reader: reads one image by its row.
        batches: rows of each batch.
        num_workers: threads that read and resize.
        timeout: seconds until a read that does not end is an error.

    Raises:
        UnreadableImageError: an image cannot be read.
        TimeoutError: a file is in reading for longer than the timeout; names it.
    """
    ahead = _Ahead(reader, batches, num_workers)
    try:
        for rows in batches:
            yield rows, torch.from_numpy(ahead.next_images(timeout))
    finally:
        ahead.stop()


class _Ahead:
    """Daemon threads, which do not keep the program alive when a disk is stuck."""

    def __init__(self, reader: ImageReader, batches: Sequence[list[int]], num_workers: int) -> None:
        self._reader, self._batches = reader, batches
        self._pool = ThreadPool(num_workers)
        self._ready: Queue = Queue(BATCHES_AHEAD)
        self._stopping = threading.Event()
        threading.Thread(target=self._produce, daemon=True, name="wrimnet-test-images").start()

    def next_images(self, timeout: float) -> np.ndarray:
        """Waits for the next batch, for as long as the reading gets on."""
        while True:
            try:
                images = self._ready.get(timeout=POLL_SECONDS)
            except Empty:
                self._check_stalled(timeout)
                continue
            if isinstance(images, BaseException):
                raise images
            return images

    def stop(self) -> None:
        """Asks the threads to end."""
        self._stopping.set()
        self._pool.close()

    def _check_stalled(self, timeout: float) -> None:
        stalled = self._reader.watch.stalled(timeout)
        if stalled:
            raise TimeoutError(
                f"reading has not ended within DATALOADER.TIMEOUT = {timeout:g} s: "
                f"{', '.join(stalled[:5])}; check the disk, or raise the timeout if it is slow"
            )

    def _produce(self) -> None:
        try:
            for rows in self._batches:
                self._put(self._read(rows))
        except BaseException as error:  # raised again in next_images
            self._put(error)

    def _read(self, rows: list[int]) -> np.ndarray:
        images = np.empty((len(rows), self._reader.height, self._reader.width, 3), np.uint8)
        self._pool.run(
            [
                lambda row=row, place=place: self._reader.read_into(row, place)
                for row, place in zip(rows, images, strict=True)
            ]
        )
        return images

    def _put(self, entry: np.ndarray | BaseException) -> None:
        while not self._stopping.is_set():
            try:
                return self._ready.put(entry, timeout=POLL_SECONDS)
            except Full:
                continue
