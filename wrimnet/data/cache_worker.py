"""One of the processes that build a cache: ``python -m wrimnet.data.cache_worker``.

It reads its work as one JSON object from standard input, writes pixels straight into the cache
file and one JSON line per image to standard output. A process of its own, started anew, inherits
neither threads nor a CUDA context, and ends by itself when its parent is gone.
"""

import json
import os
import sys
import zlib
from typing import Any

import numpy as np

from wrimnet.data.cache_file import write_all
from wrimnet.data.images import UnreadableImageError
from wrimnet.data.items import ImageItem
from wrimnet.data.reading import ImageReader


def main() -> None:
    """Does the work; an expected failure is reported as a line, not as a traceback."""
    work = json.load(sys.stdin)
    try:
        _write_images(work)
    except UnreadableImageError as problem:
        _report(error="image", path=problem.path, reason=problem.reason)
    except ValueError as problem:
        _report(error="value", reason=str(problem))
    except OSError as problem:
        _report(error="system", code=problem.errno, reason=problem.strerror or str(problem))


def _write_images(work: dict[str, Any]) -> None:
    items = [ImageItem(path, pid, 0, modality, "") for path, pid, modality in work["items"]]
    reader = ImageReader(items, **work["reading"])
    place = np.empty((reader.height, reader.width, 3), dtype=np.uint8)
    descriptor = os.open(work["file"], os.O_WRONLY)
    for index in range(work["first"], len(items), work["step"]):
        reader.read_into(index, place)
        write_all(descriptor, memoryview(place), index * place.nbytes)
        _report(index=index, checksum=zlib.crc32(place))
    _report(skipped=reader.skipped)
    os.close(descriptor)


def _report(**content: Any) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
