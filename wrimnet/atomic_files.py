"""Files that are whole or absent: written beside, flushed to the disk, renamed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


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
