"""Files that are whole or absent, and folders that one process writes at a time."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

LOCK = ".lock"


def write_file(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Lets ``write`` fill a temporary file, flushes it to the disk and renames it to ``path``.

    The temporary file is ``.NAME.PID.tmp`` in the folder of ``path``; only a killed process leaves
    one behind. What ``write`` raises passes through.

    Raises:
        OSError: the file cannot be written; ``path`` is as it was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_file(path: str | Path, what: str, advice: str = "") -> None:
    """Raises FileNotFoundError, "WHAT 'PATH' does not exist" or what else it is, if no file."""
    found = Path(path)
    if not found.is_file():
        other = "is a folder, expected a file" if found.is_dir() else "is no regular file"
        problem = other if found.exists() else "does not exist"
        raise FileNotFoundError(f"{what} {str(path)!r} {problem}{advice}")


def try_lock(file: IO) -> bool:
    """Takes the lock of an open file unless another process holds it; a crash frees it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def sole_writer(folder: Path, advice: str) -> Iterator[None]:
    """Holds the lock of a folder that exists; the system frees it when the process ends.

    Raises:
        BlockingIOError: another process holds it; its text ends with ``advice``.
    """
    with (folder / LOCK).open("w") as file:
        if not try_lock(file):
            raise BlockingIOError(f"another process is writing to {str(folder)!r}; {advice}")
        yield
