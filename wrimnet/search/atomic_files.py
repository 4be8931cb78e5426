"""Files that are whole or absent: written beside, flushed, renamed."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_file(path: Path, write: Callable[[BinaryIO], Any]) -> str:
    """Lets ``write`` fill a temporary file, renames it to ``path`` and returns its sha256.

    Raises:
        OSError: the file cannot be written; one that was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        digest = sha256(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def write_json(path: Path, content: Any) -> str:
    """Writes ``content`` as :func:`write_file` does."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return write_file(path, lambda file: file.write(text.encode()))


def sha256(path: Path) -> str:
    """Returns the hash of a file in 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
