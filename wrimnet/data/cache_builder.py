"""Building a cache file with several processes."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import wrimnet
from wrimnet.data.cache_file import write_description
from wrimnet.data.cache_key import CacheKey
from wrimnet.data.images import UnreadableImageError
from wrimnet.data.items import ImageItem
from wrimnet.data.progress import Progress

POLL_SECONDS = 0.5
WORKER_MODULE = "wrimnet.data.cache_worker"

# By default glibc returns each decoded image's memory to the system and asks for it again, which
# costs a process that does nothing else a third of its time.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}


def build_cache_file(
    path: Path, key: CacheKey, items: Sequence[ImageItem], *, num_processes: int, timeout: float
) -> None:
    """Decodes and resizes all images into a new cache file that appears complete or not at all.

    Args:
        path: The file to make.
        key: What the content is made of.
        items: The images, N.
        num_processes: Processes that decode, at least 1.
        timeout: Seconds until an image that is not done is an error.

    Raises:
        UnreadableImageError: An image cannot be read, and the rule is not to skip it.
        OSError: No space left, a folder that cannot be written, or a failing disk.
        TimeoutError: Reading one image does not end.
        ChildProcessError: A process died.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        _reserve(partial, key.count * key.image_bytes)
        team = _Team(partial, key, items, num_processes=num_processes, timeout=timeout)
        try:
            checksums, skipped = team.collect()
        finally:
            team.stop()
        _complete(partial, path, key, checksums, skipped)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(path.parent, key) from problem
        raise
    finally:
        partial.unlink(missing_ok=True)


def no_space(folder: Path, key: CacheKey) -> OSError:
    """Makes the error of a folder without room for a cache."""
    return OSError(
        errno.ENOSPC,
        f"the image cache needs {gigabytes(key):.2f} GB in {folder}, which has "
        f"{shutil.disk_usage(folder).free / 1e9:.2f} GB free; make room, set DATALOADER.CACHE_DIR "
        "to a folder on another disk, or set DATALOADER.CACHE to none",
    )


def gigabytes(key: CacheKey) -> float:
    """Returns the size of a cache's pixels in 10^9 bytes."""
    return key.count * key.image_bytes / 1e9


def _reserve(partial: Path, size: int) -> None:
    """Makes the file with all its room, so that a full disk is found before any work is done."""
    if shutil.disk_usage(partial.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with open(partial, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _complete(
    partial: Path, path: Path, key: CacheKey, checksums: list[int], skipped: dict[str, str]
) -> None:
    with open(partial, "r+b") as file:
        write_description(file.fileno(), key, checksums, skipped)
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


class _Team:
    """The processes at work; process n decodes images n, n + P, n + 2P, ..."""

    def __init__(
        self,
        file: Path,
        key: CacheKey,
        items: Sequence[ImageItem],
        *,
        num_processes: int,
        timeout: float,
    ) -> None:
        self._items, self._timeout = items, timeout
        self._step = max(1, min(num_processes, len(items)))
        self._messages: SimpleQueue = SimpleQueue()
        self._checksums: list[int | None] = [None] * len(items)
        self._next = list(range(self._step))  # the image each process has in hand
        self._heard = [time.monotonic()] * self._step
        self._finished: set[int] = set()
        self._skipped: dict[str, str] = {}
        self._processes = [_start_worker() for _ in range(self._step)]
        for number, process in enumerate(self._processes):
            work = _work(file, key, items, number, self._step)
            threading.Thread(
                target=_relay, args=(number, process, work, self._messages), daemon=True
            ).start()

    def collect(self) -> tuple[list[int], dict[str, str]]:
        """Waits for all images; returns their checksums and the skipped files."""
        progress = Progress("building the image cache", len(self._items))
        while len(self._finished) < self._step:
            try:
                number, message = self._messages.get(timeout=POLL_SECONDS)
            except Empty:
                self._check_stalled()
                continue
            self._heard[number] = time.monotonic()
            self._take(number, message, progress)
        return [int(checksum) for checksum in self._checksums], self._skipped

    def stop(self) -> None:
        """Ends the processes that still run."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _take(self, number: int, message: dict[str, Any] | None, progress: Progress) -> None:
        if message is None:
            self._finish(number)
        elif "error" in message:
            raise _error(message)
        elif "skipped" in message:
            self._skipped.update(message["skipped"])
        else:
            self._checksums[message["index"]] = message["checksum"]
            self._next[number] = message["index"] + self._step
            progress.advance()

    def _finish(self, number: int) -> None:
        code = self._processes[number].wait()
        if code != 0 or self._next[number] < len(self._items):
            raise ChildProcessError(
                f"a process that builds the image cache died (exit code {code}) at "
                f"{self._in_hand(number)}; start again, with a smaller DATALOADER.NUM_WORKERS if "
                "memory is short"
            )
        self._finished.add(number)

    def _check_stalled(self) -> None:
        now = time.monotonic()
        for number, heard in enumerate(self._heard):
            if number not in self._finished and now - heard > self._timeout:
                raise TimeoutError(
                    f"reading has not ended within DATALOADER.TIMEOUT = {self._timeout:g} s: "
                    f"{self._in_hand(number)}; check the disk, or raise the timeout if it is slow"
                )

    def _in_hand(self, number: int) -> str:
        index = self._next[number]
        return self._items[index].path if index < len(self._items) else "the end of its work"


def _start_worker() -> subprocess.Popen:
    package_folder = str(Path(wrimnet.__file__).parent.parent)
    search = os.pathsep.join(filter(None, [package_folder, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", WORKER_MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**KEEP_MEMORY, **os.environ, "PYTHONPATH": search},
        text=True,
    )


def _work(file: Path, key: CacheKey, items: Sequence[ImageItem], first: int, step: int) -> str:
    reading = {
        "height": key.height,
        "width": key.width,
        "interpolation": key.interpolation,
        "on_bad_image": key.on_bad_image,
    }
    images = [(item.path, item.pid, item.modality) for item in items]
    return json.dumps(
        {"file": str(file), "items": images, "reading": reading, "first": first, "step": step}
    )


def _relay(number: int, process: subprocess.Popen, work: str, messages: SimpleQueue) -> None:
    """Hands a process its work and passes on its lines; None when it has ended."""
    try:
        process.stdin.write(work)
        process.stdin.close()
        for line in process.stdout:
            messages.put((number, json.loads(line)))
    except (OSError, ValueError):
        pass  # it died half-way; its exit code tells the rest
    messages.put((number, None))


def _error(message: dict[str, Any]) -> Exception:
    if message["error"] == "image":
        return UnreadableImageError(message["path"], message["reason"])
    if message["error"] == "system":
        return OSError(message["code"], f"building the image cache: {message['reason']}")
    return ValueError(message["reason"])
