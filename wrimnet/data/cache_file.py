"""The cache file: uint8 pixels of all images, then a description with a checksum per image.

Layout: N * H * W * 3 bytes of pixels; a JSON object; its length (8 bytes) and CRC-32 (4 bytes),
little endian; 8 bytes that mark the end. A file that was not written to its end lacks the mark.

Images are read with `pread`, not through a memory map: both share the page cache between
processes, but a file that is cut short or a failing disk gives an error here, where a memory map
would kill the process.
"""

import hashlib
import inspect
import json
import os
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import features

from wrimnet.atomic_files import check_regular
from wrimnet.data import gray_levels, images, reading
from wrimnet.data.images import ImageItem, UnreadableImageError

FORMAT_VERSION = 2  # of the cache file itself


@dataclass(frozen=True, kw_only=True)
class CacheKey:
    """What the content of a cache is made of; two equal keys mean equal bytes."""

    dataset: str  # name of the dataset
    count: int  # number of images
    height: int  # H
    width: int  # W
    interpolation: str  # name of PIL's filter
    images: str  # hash of the images' paths in the dataset, in order
    folders: str  # hash of the folders that hold them
    files: str  # hash of the files' sizes and modification times
    on_bad_image: str  # "error" or "skip"
    infrared_range: list[float]  # low, high of infrared pixels of more than 8 bits, or none
    code: str  # hash of the code that reads and resizes
    libraries: str  # versions of Pillow and its JPEG decoder

    @property
    def stem(self) -> str:
        """File name without the part that changes when files, code or libraries do."""
        size = f"{self.height}x{self.width}"
        kind = _hash([self.images, self.folders, self.on_bad_image])[:8]
        return f"{self.dataset}-{size}-{self.interpolation}-{kind}"

    @property
    def file_name(self) -> str:
        """Name of the cache file."""
        return f"{self.stem}-{_hash(asdict(self))[:16]}.cache"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, 3)."""
        return self.height, self.width, 3

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return int(np.prod(self.image_shape))


def cache_key(
    items: Sequence[ImageItem],
    *,
    dataset: str,
    height: int,
    width: int,
    interpolation: str,
    on_bad_image: str,
    infrared_range: Sequence[float] = (),
) -> CacheKey:
    """Makes the key of a list of images; looks at every file's place, size and time.

    Raises UnreadableImageError: If a file is missing and `on_bad_image` is "error".
    """
    return CacheKey(
        dataset=dataset,
        count=len(items),
        height=height,
        width=width,
        interpolation=interpolation,
        images=_hash([item.relpath for item in items]),
        folders=_hash(sorted(map(os.path.realpath, {os.path.dirname(i.path) for i in items}))),
        files=_hash([_file_state(item.path, on_bad_image) for item in items]),
        on_bad_image=on_bad_image,
        infrared_range=list(infrared_range),
        code=_hash(
            [
                FORMAT_VERSION,
                *(inspect.getsource(m) for m in (gray_levels, images, reading)),
            ]
        ),
        libraries=f"Pillow {PIL.__version__}, JPEG {features.version('jpg')}",
    )


class Decoded(NamedTuple):
    """What is known of the N images beside their pixels; files by path, with the reason."""

    checksums: list[int]  # N CRC-32
    skipped: dict[str, str]
    warned: dict[str, str]  # used, though the decoder warned of their data


def _file_state(path: str, on_bad_image: str) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except FileNotFoundError as problem:
        if on_bad_image == "skip":
            return None
        raise UnreadableImageError(path, "the file does not exist") from problem
    return state.st_size, state.st_mtime_ns


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


END_MARK = b"WRIMEND1"
FOOTER = struct.Struct("<QI8s")


class DamagedCacheError(ValueError):
    """A cache file that is not what was written."""


class CacheFile:
    """An opened cache of ``shape`` (N, H, W, 3); DamagedCacheError if it is not as written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        check_regular(path)
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  closed by close()
        try:
            description = self._read_description()
        except DamagedCacheError:
            self.close()
            raise
        self.key: dict = description["key"]
        self.skipped: dict[str, str] = description["skipped"]
        self.warned: dict[str, str] = description["warned"]
        self.shape = (self.key["count"], self.key["height"], self.key["width"], 3)
        self._checksums: list[int] = description["checksums"]
        self._image_bytes = int(np.prod(self.shape[1:]))

    def read_into(self, index: int, place: np.ndarray) -> None:
        """Copies image `index` to contiguous uint8 (H, W, 3).

        Raises DamagedCacheError: If the file has become shorter.
        """
        view = place.data.cast("B")
        got = os.preadv(self._file.fileno(), [view], index * self._image_bytes)
        if got != self._image_bytes:
            raise self._damaged(
                f"image {index} is cut short; it may have been changed while in use"
            )

    def verify(self, num_threads: int) -> None:
        """Reads the whole file and compares every image's checksum.

        This also brings the file into the page cache.

        Raises DamagedCacheError: If an image differs.
        """
        with ThreadPoolExecutor(max(num_threads, 1)) as pool:
            step = -(-self.shape[0] // max(num_threads, 1))
            starts = range(0, self.shape[0], max(step, 1))
            for _ in pool.map(lambda start: self._verify_range(start, start + step), starts):
                pass

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _verify_range(self, start: int, stop: int) -> None:
        place = np.empty(self.shape[1:], dtype=np.uint8)
        for index in range(start, min(stop, self.shape[0])):
            self.read_into(index, place)
            if zlib.crc32(place.data) != self._checksums[index]:
                raise self._damaged(f"image {index} has another checksum than when it was written")

    def _read_description(self) -> dict:
        size = os.fstat(self._file.fileno()).st_size
        if size < FOOTER.size:
            raise self._damaged("it is too short")
        length, checksum, mark = FOOTER.unpack(self._bytes_at(size - FOOTER.size, FOOTER.size))
        if mark != END_MARK or length > size - FOOTER.size:
            raise self._damaged("its end is missing")
        content = self._bytes_at(size - FOOTER.size - length, length)
        if zlib.crc32(content) != checksum:
            raise self._damaged("its description has another checksum than when it was written")
        description = json.loads(content)
        key = description["key"]
        pixels = key["count"] * key["height"] * key["width"] * 3
        if size != pixels + length + FOOTER.size:
            raise self._damaged(f"it has {size} bytes, expected {pixels + length + FOOTER.size}")
        return description

    def _bytes_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)

    def _damaged(self, what: str) -> DamagedCacheError:
        return DamagedCacheError(f"the image cache {self.path} is damaged: {what}")


def write_description(descriptor: int, key: CacheKey, decoded: Decoded) -> None:
    """Completes a file whose pixels are written and brings it to the disk."""
    described = {"key": asdict(key), **decoded._asdict()}
    content = json.dumps(described).encode()
    footer = FOOTER.pack(len(content), zlib.crc32(content), END_MARK)
    write_all(descriptor, content + footer, key.count * key.image_bytes)
    os.fsync(descriptor)


def write_all(descriptor: int, content: bytes | memoryview, offset: int) -> None:
    """Writes all bytes at an offset; a single `pwrite` may stop early when a disk fills up."""
    view = memoryview(content).cast("B")
    while len(view):
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
