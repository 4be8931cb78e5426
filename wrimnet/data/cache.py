"""The image cache: found and verified, or built by several processes of one builder."""

import errno
import fcntl
import logging
import multiprocessing
import os
import shutil
import threading
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from wrimnet.atomic_files import check_regular, try_lock
from wrimnet.data.cache_file import (
    CacheFile,
    CacheKey,
    DamagedCacheError,
    Decoded,
    write_all,
    write_description,
)
from wrimnet.data.images import ImageItem
from wrimnet.data.jpeg_warnings import jpeg_warning
from wrimnet.data.reading import ImageReader, stalled_error

POLL_SECONDS = 0.5
_GUARD = 'A script that trains needs `if __name__ == "__main__":`, as processes import it again'

# By default glibc returns each decoded image's memory to the system and asks for it again, which
# costs a process that does nothing else a third of its time.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}

logger = logging.getLogger(__name__)
_console = logging.getLogger("wrimnet.data.console")  # shown there, see wrimnet.console


def open_cache(
    key: CacheKey, items: Sequence[ImageItem], folder: Path, *, num_processes: int, timeout: float
) -> CacheFile:
    """Opens the cache of a key; builds it where there is none, or a damaged or outdated one.

    All processes of a machine may call this at once: the first builds, the others wait for it.
    Every image's checksum is compared on opening, about a second per gigabyte and core.
    Raises OSError, UnreadableImageError, or TimeoutError: reading an image does not end.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # it would wait for itself
        raise RuntimeError(_GUARD)
    path = folder / key.file_name
    cache = _open_verified(path, num_processes)  # complete from its first moment, so without a lock
    if cache is None:
        with _locked(path):
            cache = _open_verified(path, num_processes)
            cache = cache or _build(path, key, items, num_processes, timeout)
    _report_damaged(cache)
    return cache


def _report_damaged(cache: CacheFile) -> None:
    for file, reason in cache.skipped.items():
        logger.warning(
            "skipped unreadable image %s: %s (one of %d in the image cache)",
            file,
            reason,
            len(cache.skipped),
        )
    for file, warning in cache.warned.items():
        logger.warning(
            "damaged image %s: %s; it is used as it was decoded (one of %d in the image cache)",
            file,
            warning,
            len(cache.warned),
        )


def _build(
    path: Path, key: CacheKey, items: Sequence[ImageItem], num_processes: int, timeout: float
) -> CacheFile:
    outdated = [other for other in path.parent.glob(f"{key.stem}-*.cache") if other != path]
    _console.info("cache    building %s: %d images, %.2f GB", path, key.count, gigabytes(key))
    build_cache_file(path, key, items, num_processes=num_processes, timeout=timeout)
    for other in outdated:
        logger.warning("the image cache %s is outdated; it is replaced", other)
        other.unlink(missing_ok=True)
    return CacheFile(path)


def _open_verified(path: Path, num_threads: int) -> CacheFile | None:
    """Opens a cache and compares its checksums; None where it does not exist or is damaged."""
    try:
        cache = CacheFile(path)
        cache.verify(num_threads)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except DamagedCacheError as problem:
        logger.warning("%s; it is built again", problem)
        return None
    logger.info("using the image cache %s", path)
    return cache


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock of a cache file; it is released when the process ends, however it ends."""
    file = path.with_name(f"{path.name}.lock")
    check_regular(file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(file, "w")  # noqa: SIM115  closed below
    except OSError as problem:
        raise _unwritable(path.parent, problem) from problem
    with lock:
        if not try_lock(lock):
            logger.info("waiting for another process that builds %s", path)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unwritable(folder: Path, problem: OSError) -> OSError:
    return OSError(
        problem.errno,
        f"cannot write the image cache in {folder} ({problem.strerror}); set "
        "DATALOADER.CACHE_DIR to a folder that can be written, or DATALOADER.CACHE to none",
    )


def build_cache_file(
    path: Path, key: CacheKey, items: Sequence[ImageItem], *, num_processes: int, timeout: float
) -> None:
    """Decodes all images into a new cache file that appears complete or not at all.

    Raises OSError (no space, no rights), UnreadableImageError, TimeoutError, ChildProcessError.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        _reserve(partial, key.count * key.image_bytes)
        decoded = _decode_all(partial, key, items, num_processes, timeout)
        _complete(partial, path, key, decoded)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(path.parent, key) from problem
        raise
    finally:
        partial.unlink(missing_ok=True)


def no_space(folder: Path, key: CacheKey) -> OSError:
    """Makes the error of a folder without space for a cache."""
    free = shutil.disk_usage(folder).free
    lacks = f"{free / 1e9:.2f} GB free"
    if free > key.count * key.image_bytes:
        lacks += ", but no room for another file (inodes or a quota)"
    return OSError(
        errno.ENOSPC,
        f"the image cache needs {gigabytes(key):.2f} GB in {folder}, which has {lacks}; free "
        "disk space, set DATALOADER.CACHE_DIR to another disk, or DATALOADER.CACHE to none",
    )


def gigabytes(key: CacheKey) -> float:
    """Returns the size of a cache's pixels in 10^9 bytes."""
    return key.count * key.image_bytes / 1e9


def _reserve(partial: Path, size: int) -> None:
    """Reserves the file's whole size, so that a full disk is found before any work is done."""
    check_regular(partial)
    if shutil.disk_usage(partial.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with open(partial, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _complete(partial: Path, path: Path, key: CacheKey, decoded: Decoded) -> None:
    with open(partial, "r+b") as file:
        write_description(file.fileno(), key, decoded)
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _decode_all(
    partial: Path, key: CacheKey, items: Sequence[ImageItem], num_processes: int, timeout: float
) -> Decoded:
    """Writes the pixels of all images."""
    num_processes = max(1, min(num_processes, len(items)))
    decoded = Decoded([0] * len(items), {}, {})
    with (
        _pool(num_processes, (str(partial), key, items)) as pool,
        tqdm(desc="building the image cache", total=len(items), disable=None, leave=False) as bar,
    ):
        for index, future in _in_turn(pool, items, 4 * num_processes, timeout):
            decoded.checksums[index], skipped, warning = future.result()
            decoded.skipped.update(skipped)
            decoded.warned.update({items[index].path: warning} if warning else {})
            bar.update()
    return decoded


@contextmanager
def _pool(num_processes: int, arguments: tuple) -> Iterator[ProcessPoolExecutor]:
    """Processes started anew: they inherit neither threads nor a CUDA context.

    Where something ends the work early they are killed: one may hang in a read.
    """
    added = {name: value for name, value in _KEEP_MEMORY.items() if name not in os.environ}
    os.environ.update(added)
    pool = ProcessPoolExecutor(
        num_processes, multiprocessing.get_context("spawn"), _start_decoding, arguments
    )
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for name in added:
            del os.environ[name]


def _in_turn(
    pool: ProcessPoolExecutor, items: Sequence[ImageItem], in_flight: int, timeout: float
) -> Iterator[tuple[int, Future]]:
    """Has every image decoded, some at a time; yields its index when it is done."""
    waiting, left = iter(range(len(items))), dict[Future, int]()
    silent = 0  # looks, not seconds: those of a process that was stopped and continued do not count
    try:
        pool.submit(os.getpid).result()  # a process that starts has not begun to read
        for index in islice(waiting, in_flight):
            left[pool.submit(_decode_one, index)] = index
        while left:
            ended, _ = wait(left, POLL_SECONDS, FIRST_COMPLETED)
            in_hand = [items[index].path for future, index in left.items() if not future.done()]
            silent = 0 if ended else silent + 1
            if silent * POLL_SECONDS > timeout:
                raise stalled_error(timeout, in_hand)
            for future in ended:
                if isinstance(future.exception(), BrokenProcessPool):
                    raise _died(items[left[future]].path)
                yield left.pop(future), future
            for index in islice(waiting, len(ended)):
                left[pool.submit(_decode_one, index)] = index
    except BrokenProcessPool as problem:  # found where something is handed to the processes
        raise _died(items[min(left.values(), default=0)].path) from problem


def _died(path: str) -> ChildProcessError:
    return ChildProcessError(
        f"a process that builds the image cache died at {path} or near it; start again, with a "
        f"smaller DATALOADER.NUM_WORKERS if memory is short. {_GUARD}"
    )


_reader: ImageReader | None = None  # of a decoding process
_descriptor = -1


def _start_decoding(partial: str, key: CacheKey, items: Sequence[ImageItem]) -> None:
    """Makes a decoding process ready; it ends by itself when its parent is gone."""
    global _reader, _descriptor
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _reader = ImageReader(
        items,
        height=key.height,
        width=key.width,
        interpolation=key.interpolation,
        on_bad_image=key.on_bad_image,
        infrared_range=key.infrared_range,
    )
    _descriptor = os.open(partial, os.O_WRONLY)


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _decode_one(index: int) -> tuple[int, dict[str, str], str]:
    """Writes one image into the cache file.

    Returns its checksum, what was skipped so far and what the decoder warned of.
    """
    assert _reader is not None
    place = np.empty((_reader.height, _reader.width, 3), dtype=np.uint8)
    _reader.read_into(index, place)
    write_all(_descriptor, place.data, index * place.nbytes)
    path, skipped = _reader.items[index].path, dict(_reader.skipped)
    return zlib.crc32(place.data), skipped, "" if path in skipped else jpeg_warning(path)
