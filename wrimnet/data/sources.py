"""Where a batch's images come from: decoded anew, from the disk cache, from memory, from the GPU.

A source has three methods. `read` runs in the loader's background thread and fills host memory;
`to_device` follows on the same thread; `close` ends whatever the source started.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.reading import ImageReader, ThreadPool


class ImageSource(Protocol):
    """Delivers uint8 images (B, H, W, 3) by index.

    Attributes:
        skipped: Reason per unreadable file that another image stands for.
    """

    skipped: dict[str, str]

    def read(self, indices: np.ndarray) -> Tensor:
        """Prepares the images of `indices` (B,) in host memory."""

    def to_device(self, read: Tensor, device: torch.device) -> Tensor:
        """Turns what `read` returned into uint8 (B, H, W, 3) on the device."""

    def close(self) -> None:
        """Ends threads and closes files."""


class DecodingSource:
    """Decodes and resizes every image every time, in threads (PIL releases the interpreter lock).

    Args:
        reader: Reads one image.
        num_threads: Threads that decode.
        pin: Whether to fill page-locked memory, for a CUDA device.
    """

    def __init__(self, reader: ImageReader, *, num_threads: int, pin: bool) -> None:
        self.reader, self.pin, self.skipped = reader, pin, reader.skipped
        self._pool = ThreadPool(num_threads)

    def read(self, indices: np.ndarray) -> Tensor:
        """Decodes the images, uint8 (B, H, W, 3)."""
        images = host_buffer((len(indices), self.reader.height, self.reader.width, 3), self.pin)
        places = images.numpy()
        self._pool.run(
            [
                lambda index=int(index), place=place: self.reader.read_into(index, place)
                for index, place in zip(indices, places, strict=True)
            ]
        )
        return images

    def to_device(self, read: Tensor, device: torch.device) -> Tensor:
        """Copies the images to the device."""
        return read.to(device, non_blocking=True)

    def close(self) -> None:
        """Ends the threads."""
        self._pool.close()


def host_buffer(shape: Sequence[int], pin: bool) -> Tensor:
    """Allocates uint8 host memory; page-locked blocks are reused by PyTorch's own cache."""
    return torch.empty(tuple(shape), dtype=torch.uint8, pin_memory=pin)
