"""The image cache: found and verified, or built; by one process at a time."""

import fcntl
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from wrimnet.data.cache_builder import build_cache_file, gigabytes
from wrimnet.data.cache_file import CacheFile, DamagedCacheError
from wrimnet.data.cache_key import CacheKey
from wrimnet.data.items import ImageItem

LOCK_POLL_SECONDS = 0.5

logger = logging.getLogger(__name__)


def open_cache(
    key: CacheKey,
    items: Sequence[ImageItem],
    folder: Path,
    *,
    num_processes: int,
    timeout: float,
) -> CacheFile:
    """Opens the cache of a key; builds it where there is none, or a damaged or outdated one.

    All processes of a machine may call this at once: the first builds, the others wait for it.
    Every image's checksum is compared on opening, about a second per gigabyte and core.

    Args:
        key: What the content is made of.
        items: The images, N.
        folder: Where caches lie; made if it does not exist.
        num_processes: Processes that decode, and threads that verify.
        timeout: Seconds until an image that is not done is an error.

    Returns:
        The cache, open for reading.

    Raises:
        OSError: If there is no room, or the folder cannot be written.
        UnreadableImageError: If an image cannot be read and is not to be skipped.
    """
    path = _prepared(folder) / key.file_name
    with _locked(path, fcntl.LOCK_SH):
        found = _open_verified(path, num_processes)
    if found is None:
        with _locked(path, fcntl.LOCK_EX):
            found = _open_verified(path, num_processes)
            found = found or _build(path, key, items, num_processes, timeout)
    _report_skipped(found)
    return found


def _report_skipped(cache: CacheFile) -> None:
    for file, reason in cache.skipped.items():
        logger.warning(
            "skipped unreadable image %s: %s (one of %d in the image cache)",
            file,
            reason,
            len(cache.skipped),
        )


def _build(
    path: Path, key: CacheKey, items: Sequence[ImageItem], num_processes: int, timeout: float
) -> CacheFile:
    outdated = _report_outdated(path, key)
    logger.info("building the image cache %s: %d images, %.2f GB", path, key.count, gigabytes(key))
    build_cache_file(path, key, items, num_processes=num_processes, timeout=timeout)
    for other in outdated:
        other.unlink(missing_ok=True)
    return CacheFile(path)


def _open_verified(path: Path, num_threads: int) -> CacheFile | None:
    """Opens a cache and compares its checksums; None where it does not exist or is damaged."""
    try:
        found = CacheFile(path)
        found.verify(num_threads)
    except FileNotFoundError:
        return None
    except DamagedCacheError as problem:
        logger.warning("%s; it is built again", problem)
        return None
    logger.info("using the image cache %s", path)
    return found


def _report_outdated(path: Path, key: CacheKey) -> list[Path]:
    """Says which caches of the same images and size the new one replaces, and why."""
    outdated = [other for other in path.parent.glob(f"{key.stem}-*.cache") if other != path]
    for other in outdated:
        logger.warning(
            "the image cache %s is outdated (%s); it is replaced", other, _why(other, key)
        )
    return outdated


def _why(other: Path, key: CacheKey) -> str:
    try:
        cache = CacheFile(other)
    except DamagedCacheError:
        return "damaged"
    cache.close()
    wanted = asdict(key)
    return ", ".join(name for name in wanted if cache.key.get(name) != wanted[name]) + " changed"


def _prepared(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise _unwritable(folder, problem) from problem
    return folder


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    """Holds the lock of a cache file; it is released when the process ends, however it ends."""
    try:
        lock = open(path.with_name(f"{path.name}.lock"), "w")  # noqa: SIM115  closed below
    except OSError as problem:
        raise _unwritable(path.parent, problem) from problem
    with lock:
        if not _try_lock(lock.fileno(), kind):
            logger.info("waiting for another process that builds %s", path)
            while not _try_lock(lock.fileno(), kind):
                time.sleep(LOCK_POLL_SECONDS)
        yield


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unwritable(folder: Path, problem: OSError) -> OSError:
    return OSError(
        problem.errno,
        f"the image cache cannot be kept in {folder} ({problem.strerror}); set "
        "DATALOADER.CACHE_DIR to a folder that can be written, or DATALOADER.CACHE to none",
    )
