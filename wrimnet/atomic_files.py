"""Files that are whole or absent, and folders that one process writes at a time."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

LOCK = ".lock"


ADVICE = "free disk space or choose another folder"


def write_file(path: Path, write: Callable[[BinaryIO], Any], advice: str = ADVICE) -> None:
    """Lets ``write`` fill a temporary file, flushes it to the disk and renames it to ``path``.

    The temporary file is ``.NAME.PID.tmp`` in the folder of ``path``; only a killed process leaves
    one behind. What ``write`` raises passes through unless the disk is the reason.

    Raises:
        OSError: the disk is full or the folder read-only; names ``path``, which is as it was
            before, and ends with ``advice``.
    """
    check_regular(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except (OSError, RuntimeError) as error:
        cause = _disk_error(error)
        if cause is None:
            raise
        raise OSError(f"cannot write {path}: {cause.strerror or cause}; {advice}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file as :func:`write_file` does."""
    write_file(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file as :func:`write_file` does."""
    write_bytes(path, text.encode())


def check_regular(path: Path) -> None:
    """Raises OSError for a pipe, a device or a folder, on which reading or writing may not end."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file; move it away")


def _disk_error(error: BaseException) -> OSError | None:
    """Returns what the disk said: torch.save hides it behind a RuntimeError about positions."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_file(path: str | Path, what: str, advice: str = "") -> None:
    """Raises FileNotFoundError, "WHAT 'PATH' does not exist" or what else it is, if no file."""
    file = Path(path)
    if not file.is_file():
        other = "is a folder, expected a file" if file.is_dir() else "is not a regular file"
        problem = other if file.exists() else "does not exist"
        raise FileNotFoundError(f"{what} {str(path)!r} {problem}{advice}")


def file_sha256(path: str | Path) -> str:
    """Hashes a file; raises FileNotFoundError where there is none."""
    require_file(path, "file")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_utf8(name: str) -> bool:
    """Whether a file name, as Python reads it from the disk, can be written to a text file."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def try_lock(file: IO) -> bool:
    """Takes the lock of an open file unless another process holds it; a crash frees it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_lock(path: Path) -> IO:
    """Opens the file of a lock, which is made if there is none."""
    check_regular(path)
    return path.open("a")


@contextmanager
def sole_writer(folder: Path, advice: str) -> Iterator[None]:
    """Holds the lock of a folder that exists; the system frees it when the process ends.

    Raises:
        BlockingIOError: another process holds it; its text ends with ``advice``.
    """
    with open_lock(folder / LOCK) as file:
        if not try_lock(file):
            raise BlockingIOError(f"another process is writing to {str(folder)!r}; {advice}")
        yield
