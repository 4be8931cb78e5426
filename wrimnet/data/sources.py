"""Where a batch's images come from: decoded anew, from the disk cache, from memory, from the GPU.

`read` runs in the loader's background thread, `to_device` follows on the same thread.
"""

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.cache_file import CacheFile
from wrimnet.data.reading import ImageReader, ReadingWatch

LOAD_IMAGES = 64  # images that pass through the host at a time when a whole cache is loaded


class ImageSource:
    """Delivers uint8 images (B, H, W, 3) by index."""

    skipped: dict[str, str]  # reason per unreadable file that another image replaces

    def read(self, indices: np.ndarray) -> Tensor:
        """Prepares the images of `indices` (B,) in host memory."""
        raise NotImplementedError

    def to_device(self, read: Tensor, device: torch.device) -> Tensor:
        """Turns what `read` returned into uint8 (B, H, W, 3) on the device: here a copy."""
        return read.to(device, non_blocking=True)

    def close(self) -> None:
        """Ends threads and closes files: here none."""


class DecodingSource(ImageSource):
    """Decodes and resizes every image every time, in threads (PIL releases the interpreter lock).

    With ``pin`` it fills page-locked memory, for a CUDA device; so do the others.
    """

    def __init__(self, reader: ImageReader, *, num_threads: int, pin: bool) -> None:
        self.reader, self.pin, self.skipped = reader, pin, reader.skipped
        self._pool = ThreadPool(max(num_threads, 1))

    def read(self, indices: np.ndarray) -> Tensor:
        """Decodes the images, uint8 (B, H, W, 3)."""
        images = host_buffer((len(indices), self.reader.height, self.reader.width, 3), self.pin)
        jobs = zip(indices.tolist(), images.numpy(), strict=True)
        self._pool.starmap(self.reader.read_into, jobs, chunksize=1)
        return images

    def close(self) -> None:
        """Ends the threads."""
        self._pool.terminate()


class DiskSource(ImageSource):
    """Reads from the open cache file, which all processes of a machine share."""

    def __init__(self, cache: CacheFile, *, watch: ReadingWatch, pin: bool) -> None:
        self.cache, self.watch, self.pin, self.skipped = cache, watch, pin, cache.skipped

    def read(self, indices: np.ndarray) -> Tensor:
        """Copies the images out of the file, uint8 (B, H, W, 3)."""
        images = host_buffer((len(indices), *self.cache.shape[1:]), self.pin)
        self.watch.reading(str(self.cache.path), lambda: self._fill(indices, images.numpy()))
        return images

    def _fill(self, indices: np.ndarray, places: np.ndarray) -> None:
        for index, place in zip(indices.tolist(), places, strict=True):
            self.cache.read_into(index, place)


class MemorySource(ImageSource):
    """Holds all images of a cache, which is closed, in this process's memory."""

    def __init__(self, cache: CacheFile, *, pin: bool) -> None:
        self.pin, self.skipped = pin, cache.skipped
        self._images = load_all(cache)

    def read(self, indices: np.ndarray) -> Tensor:
        """Gathers the images, uint8 (B, H, W, 3)."""
        images = host_buffer((len(indices), *self._images.shape[1:]), self.pin)
        return torch.index_select(self._images, 0, torch.from_numpy(indices), out=images)


class DeviceSource(ImageSource):
    """Holds all images of a cache, which is closed, in the device's memory; only indices travel."""

    def __init__(self, cache: CacheFile, *, device: torch.device) -> None:
        self.skipped = cache.skipped
        self._images = load_all(cache, device)

    def read(self, indices: np.ndarray) -> Tensor:
        """Returns the indices, int64 (B,)."""
        rows = torch.from_numpy(indices)
        return rows.pin_memory() if self._images.device.type == "cuda" else rows

    def to_device(self, read: Tensor, device: torch.device) -> Tensor:
        """Gathers the images on the device, uint8 (B, H, W, 3)."""
        return self._images.index_select(0, read.to(device, non_blocking=True))


def load_all(cache: CacheFile, device: torch.device | str = "cpu") -> Tensor:
    """Loads a whole cache, uint8 (N, H, W, 3), in pieces, and closes it."""
    images = torch.empty(cache.shape, dtype=torch.uint8, device=device)
    piece = np.empty((LOAD_IMAGES, *cache.shape[1:]), dtype=np.uint8)
    for start in range(0, len(images), LOAD_IMAGES):
        stop = min(start + LOAD_IMAGES, len(images))
        for index in range(start, stop):
            cache.read_into(index, piece[index - start])
        images[start:stop].copy_(torch.from_numpy(piece[: stop - start]))
    cache.close()
    return images


def host_buffer(shape: Sequence[int], pin: bool) -> Tensor:
    """Allocates uint8 host memory; page-locked blocks are reused by PyTorch's own cache."""
    return torch.empty(tuple(shape), dtype=torch.uint8, pin_memory=pin)
