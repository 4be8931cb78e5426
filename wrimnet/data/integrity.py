"""Opening many image files to the last pixel, in several processes."""

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TextIO

from wrimnet.data.images import UnreadableImageError, read_rgb

CHUNK = 64  # files per message to a process
BAR_WIDTH = 30


def unreadable_images(paths: Sequence[str], workers: int, progress: TextIO) -> list[str]:
    """Opens every file fully and names those that cannot be read.

    Args:
        paths: image files.
        workers: processes; 0 opens them in this one.
        progress: stream for the progress bar, such as `sys.stderr`.

    Returns:
        One "path: reason" per unreadable file, in the order of the paths.
    """
    problems = _with_bar(_problems(paths, workers), len(paths), progress)
    return [problem for problem in problems if problem]


def _problems(paths: Sequence[str], workers: int) -> Iterator[str]:
    if workers == 0:
        yield from map(_problem, paths)
        return
    # A fork would copy the threads' locks of the libraries already loaded.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_problem, paths, chunksize=CHUNK)


def _problem(path: str) -> str:
    try:
        read_rgb(path)
    except UnreadableImageError as problem:
        return str(problem)
    return ""


def _with_bar(problems: Iterable[str], total: int, stream: TextIO) -> Iterator[str]:
    """Passes the results on and draws a bar: each percent on a terminal, else each tenth."""
    terminal = stream.isatty()
    step = max(1, total // (100 if terminal else 10))
    num_bad = 0
    for done, problem in enumerate(problems, start=1):
        num_bad += bool(problem)
        if done % step == 0 or done == total:
            filled = BAR_WIDTH * done // total
            bar = "#" * filled + "." * (BAR_WIDTH - filled)
            ending = "\r" if terminal and done < total else "\n"
            stream.write(f"opening images [{bar}] {done}/{total}, {num_bad} unreadable{ending}")
            stream.flush()
        yield problem
