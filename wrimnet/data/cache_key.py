"""Everything the decoded, resized images depend on, and the file name made from it."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import PIL
from PIL import features

from wrimnet.data import images, reading
from wrimnet.data.images import UnreadableImageError
from wrimnet.data.items import ImageItem

FORMAT_VERSION = 1  # of the cache file itself


@dataclass(frozen=True, kw_only=True)
class CacheKey:
    """What the content of a cache is made of; two equal keys mean equal bytes.

    Args:
        dataset: Name of the dataset.
        count: Number of images.
        height: H.
        width: W.
        interpolation: Name of PIL's filter.
        images: Hash of the images' paths in the dataset, in order.
        files: Hash of the files' sizes and modification times.
        on_bad_image: "error" or "skip".
        code: Hash of the code that reads and resizes.
        libraries: Versions of Pillow and its JPEG decoder.
    """

    dataset: str
    count: int
    height: int
    width: int
    interpolation: str
    images: str
    files: str
    on_bad_image: str
    code: str
    libraries: str

    @property
    def stem(self) -> str:
        """File name without the part that changes when files, code or libraries do."""
        size = f"{self.height}x{self.width}"
        return f"{self.dataset}-{size}-{self.interpolation}-{self.images[:8]}"

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
) -> CacheKey:
    """Makes the key of a list of images; looks at every file's size and modification time.

    Raises:
        UnreadableImageError: If a file is missing and `on_bad_image` is "error".
    """
    return CacheKey(
        dataset=dataset,
        count=len(items),
        height=height,
        width=width,
        interpolation=interpolation,
        images=_hash([item.relpath for item in items]),
        files=_hash([_file_state(item.path, on_bad_image) for item in items]),
        on_bad_image=on_bad_image,
        code=_hash([FORMAT_VERSION, *(Path(m.__file__).read_text() for m in (images, reading))]),
        libraries=f"Pillow {PIL.__version__}, JPEG {features.version('jpg')}",
    )


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
