"""Files that are whole or absent, with the hash that tells later whether they still are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from wrimnet.atomic_files import write_file
from wrimnet.evaluation.provenance import file_sha256
from wrimnet.run_folder import encode_json


def write_hashed_file(path: Path, write: Callable[[BinaryIO], Any]) -> str:
    """Writes as :func:`wrimnet.atomic_files.write_file` does and returns the file's sha256."""
    write_file(path, write)
    return file_sha256(path)


def write_hashed_json(path: Path, content: Any) -> str:
    """Writes ``content`` as :func:`write_hashed_file` does."""
    return write_hashed_file(path, lambda file: file.write(encode_json(content)))
