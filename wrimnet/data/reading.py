"""Reading images in threads: who reads what since when, ahead of whoever needs it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from multiprocessing.pool import AsyncResult, ThreadPool
from typing import Any, TypeVar

import numpy as np

from wrimnet.data.images import ImageItem, UnreadableImageError, read_rgb, resize_rgb
from wrimnet.modality import INFRARED, MODALITY_NAMES

POLL_SECONDS = 0.2
Argument = TypeVar("Argument")
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
                self.watch.reading(path, partial(self._decode, item, place))
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


def read_ahead(
    load: Callable[[Argument], Result],
    arguments: Iterable[Argument],
    *,
    ahead: int,
    watch: ReadingWatch,
    timeout: float,
) -> Generator[Result, None, None]:
    """Yields ``load(argument)`` of each argument, computed by one thread, some results ahead.

    The thread is a daemon: one that waits for a dead disk does not keep the process alive.
    Raises what ``load`` raises, or TimeoutError: a file is being read for more than ``timeout``
    seconds.
    """
    pool, busy, left = ThreadPool(1), threading.Lock(), iter(arguments)

    def load_alone(argument: Argument) -> Result:
        with busy:
            return load(argument)

    pending = deque(pool.apply_async(load_alone, (a,)) for a in islice(left, ahead + 1))
    try:
        while pending:
            result = _wait_for(pending.popleft(), watch, timeout)
            yield result
            pending.extend(pool.apply_async(load_alone, (a,)) for a in islice(left, 1))
    finally:
        pool.terminate()
        while not busy.acquire(timeout=POLL_SECONDS) and not watch.stalled(timeout):
            pass


def _wait_for(pending: AsyncResult, watch: ReadingWatch, timeout: float) -> Any:
    while not pending.ready():
        pending.wait(POLL_SECONDS)
        if watch.stalled(timeout):
            time.sleep(POLL_SECONDS)  # a process that was stopped and continued goes on reading
            if stalled := watch.stalled(timeout):
                raise stalled_error(timeout, stalled)
    return pending.get()
