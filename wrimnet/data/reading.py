"""Reading images in threads: who reads what since when, ahead of whoever needs it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from queue import Empty, Full, Queue, SimpleQueue
from typing import Generic, TypeVar

import numpy as np

from wrimnet.data.images import ImageItem, UnreadableImageError, read_rgb, resize_rgb
from wrimnet.modality import INFRARED, MODALITY_NAMES

POLL_SECONDS = 0.2
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def stalled_error(timeout: float, what: Sequence[str]) -> TimeoutError:
    """Makes the error of reads that do not end."""
    return TimeoutError(
        f"reading has not ended within DATALOADER.TIMEOUT = {timeout:g} s: {', '.join(what[:5])}; "
        "check the disk, or raise the timeout if it is slow"
    )


class ReadingWatch:
    """Knows which files are being read, and since when, across threads."""

    def __init__(self) -> None:
        self._started: dict[int, tuple[float, str]] = {}

    def reading(self, path: str, read: Callable[[], None]) -> None:
        """Runs `read` while the calling thread counts as reading `path`."""
        thread = threading.get_ident()
        self._started[thread] = (time.monotonic(), path)
        try:
            read()
        finally:
            del self._started[thread]

    def stalled(self, seconds: float) -> list[str]:
        """Lists the files that have been in reading for longer than `seconds`."""
        now = time.monotonic()
        return sorted(path for begin, path in [*self._started.values()] if now - begin > seconds)


class ImageReader:
    """Reads and resizes images by index, with one rule for images that cannot be read.

    With "error" an unreadable image raises. With "skip" its place is taken by the next readable
    image of the same identity and modality in dataset order (cyclic), so the result depends on
    nothing but the files; every skipped file is reported once and kept in ``skipped``.
    """

    def __init__(
        self,
        items: Sequence[ImageItem],
        *,
        height: int,
        width: int,
        interpolation: str,
        on_bad_image: str,
        infrared_range: Sequence[float] = (),
        watch: ReadingWatch | None = None,
    ) -> None:
        if on_bad_image not in ("error", "skip"):
            raise ValueError(
                f"DATALOADER.ON_BAD_IMAGE is {on_bad_image!r}; expected 'error' or 'skip'"
            )
        self.items, self.height, self.width = items, height, width
        self.interpolation, self.on_bad_image = interpolation, on_bad_image
        self.infrared_range = infrared_range
        self.watch = watch or ReadingWatch()
        self.skipped: dict[str, str] = {}
        self._lock = threading.Lock()

    def read_into(self, index: int, place: np.ndarray) -> None:
        """Writes image `index`, or what replaces it, to uint8 (H, W, 3).

        Raises UnreadableImageError, or ValueError: no image of its identity and modality is left.
        """
        for candidate in self._candidates(index):
            item = self.items[candidate]
            path = item.path
            if path in self.skipped:
                continue
            try:
                self.watch.reading(path, lambda item=item: self._decode(item, place))
                return
            except UnreadableImageError as problem:
                if self.on_bad_image == "error":
                    advice = "DATALOADER.ON_BAD_IMAGE skip puts another in its place"
                    raise UnreadableImageError(path, f"{problem.reason}; {advice}") from problem
                self._report(problem)
        raise ValueError(self._none_left(index))

    def _decode(self, item: ImageItem, place: np.ndarray) -> None:
        image = read_rgb(item.path, self.infrared_range if item.modality == INFRARED else ())
        place[...] = resize_rgb(image, self.height, self.width, self.interpolation)

    def _candidates(self, index: int) -> Iterator[int]:
        """Yields the image itself, then those that may replace it."""
        yield index
        item = self.items[index]
        group = self._groups[item.pid, item.modality]
        start = group.index(index) + 1
        yield from group[start:] + group[: start - 1]

    @cached_property
    def _groups(self) -> dict[tuple[int, int], list[int]]:
        groups: dict[tuple[int, int], list[int]] = {}
        for index, item in enumerate(self.items):
            groups.setdefault((item.pid, item.modality), []).append(index)
        return groups

    def _report(self, problem: UnreadableImageError) -> None:
        with self._lock:
            if problem.path in self.skipped:
                return
            self.skipped[problem.path] = problem.reason
            total = len(self.skipped)
        logger.warning("skipped unreadable image %s (%d skipped so far)", problem, total)

    def _none_left(self, index: int) -> str:
        item = self.items[index]
        return (
            f"identity {item.pid} has no readable {MODALITY_NAMES[item.modality]} image left; "
            f"the last tried was {item.path}; repair the files or leave the identity out"
        )


class Prefetcher(Generic[Result]):
    """Works through an iterator in a background thread, a few results ahead.

    The thread is a daemon: one that is stuck in a read of a dead disk does not keep the process
    alive. What stops the iterator is raised where the result is asked for; so is a read that does
    not end within ``timeout`` seconds.
    """

    def __init__(
        self,
        results: Iterator[Result],
        *,
        ahead: int,
        watch: ReadingWatch,
        timeout: float,
        name: str,
    ) -> None:
        self._results, self._watch, self._timeout = results, watch, timeout
        self._queue: Queue = Queue(max(ahead, 1))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._produce, daemon=True, name=name)
        self._thread.start()

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        """Waits for the next result, for as long as the reading gets on.

        Raises TimeoutError: a file is in reading for longer than the timeout; names it.
        """
        while True:
            try:
                result, error = self._queue.get(timeout=POLL_SECONDS)
            except Empty:
                self._check_alive()
                continue
            if error is not None:
                raise error
            return result

    def close(self) -> None:
        """Asks the thread to end and waits for it, unless it is stuck in a read."""
        self._stopping.set()
        while self._thread.is_alive() and not self._watch.stalled(self._timeout):
            self._thread.join(POLL_SECONDS)

    def _check_alive(self) -> None:
        if self._watch.stalled(self._timeout):
            time.sleep(POLL_SECONDS)  # a process that was stopped and continued reads on
            stalled = self._watch.stalled(self._timeout)
            if stalled:
                raise stalled_error(self._timeout, stalled)
        if not self._thread.is_alive() and self._queue.empty():
            raise RuntimeError("the loader was closed while a batch was waited for")

    def _produce(self) -> None:
        try:
            for result in self._results:
                self._put((result, None))
                if self._stopping.is_set():
                    return
            self._put((None, StopIteration()))
        except BaseException as error:  # raised again in __next__
            self._put((None, error))

    def _put(self, entry: tuple) -> None:
        while not self._stopping.is_set():
            try:
                return self._queue.put(entry, timeout=POLL_SECONDS)
            except Full:
                continue


class ThreadPool:
    """Daemon threads that run small jobs; unlike the standard pool it never delays an exit.

    A thread that is stuck in a read of a dead disk cannot be ended from outside; being a daemon
    it does not keep the process alive.
    """

    def __init__(self, num_threads: int) -> None:
        self._jobs: SimpleQueue = SimpleQueue()
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name=f"wrimnet-read-{i}")
            for i in range(max(num_threads, 1))
        ]
        for thread in self._threads:
            thread.start()

    def run(self, jobs: Sequence[Callable[[], None]]) -> None:
        """Runs all jobs and waits for them; raises the first job's error there was.

        Raises RuntimeError: If the pool was closed meanwhile.
        """
        done: SimpleQueue = SimpleQueue()
        for position, job in enumerate(jobs):
            self._jobs.put((position, job, done))
        failures = [failure for _ in jobs if (failure := self._wait(done)) is not None]
        if failures:
            raise min(failures, key=lambda failure: failure[0])[1]

    def _wait(self, done: SimpleQueue) -> tuple[int, BaseException] | None:
        while not self._closed.is_set():
            try:
                return done.get(timeout=POLL_SECONDS)
            except Empty:
                continue
        raise RuntimeError("the image reader was closed")

    def close(self) -> None:
        """Ends the threads as soon as each has finished its present job."""
        self._closed.set()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:  # one that frees a tensor while Python ends would abort it
            thread.join(POLL_SECONDS)

    def _work(self) -> None:
        while (task := self._jobs.get()) is not None:
            position, job, done = task
            try:
                if not self._closed.is_set():
                    job()
                done.put(None)
            except BaseException as error:  # handed to whoever waits for the job
                done.put((position, error))
