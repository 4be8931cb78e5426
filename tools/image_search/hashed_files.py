"""Files that are whole or absent, with the hash that tells later whether they still are."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from wrimnet import atomic_files


def write_file(path: Path, write: Callable[[BinaryIO], Any]) -> str:
    """Writes as :func:`wrimnet.atomic_files.write_file` does and returns the file's sha256."""
    atomic_files.write_file(path, write)
    return sha256(path)


def write_json(path: Path, content: Any) -> str:
    """Writes ``content`` as :func:`write_file` does."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return write_file(path, lambda file: file.write(text.encode()))


def sha256(path: Path) -> str:
    """Returns the hash of a file in 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
