"""Values of flags, checked before any work: files to be written, numbers."""

import argparse
from collections.abc import Callable
from pathlib import Path

from wrimnet.run_folder import CONFIG


def output_file(word: str) -> Path:
    """Reads a flag that names a file to be written: refused where it cannot be one."""
    path = Path(word)
    if path.is_dir() or not path.parent.is_dir():
        problem = "is a folder" if path.is_dir() else f"lies in {path.parent}, which is no folder"
        raise argparse.ArgumentTypeError(f"{word!r} {problem}; give a file to be written")
    return kept_out_of_runs(path)


def kept_out_of_runs(path: Path) -> Path:
    """Refuses to replace a file of a run, in its folder or below."""
    runs = [folder for folder in path.resolve().parents[:3] if (folder / CONFIG).is_file()]
    if path.exists() and runs:
        raise argparse.ArgumentTypeError(f"{str(path)!r} is a file of a run; give another one")
    return path


def picture_file(*endings: str) -> Callable[[str], Path]:
    """Returns what reads a flag that names a picture to be written, of one of these endings."""

    def read(word: str) -> Path:
        path = output_file(word)
        if path.suffix.lower() not in endings:
            known = " or ".join(endings)
            raise argparse.ArgumentTypeError(f"{word!r} ends in {path.suffix!r}; give {known}")
        return path

    return read


def at_least_one(word: str) -> int:
    """Reads a flag that counts something."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r}; give a whole number from 1")
    return int(word)
