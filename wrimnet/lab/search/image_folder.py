"""The images of a folder, in a fixed order."""

from collections.abc import Iterable
from pathlib import Path

from wrimnet.atomic_files import is_utf8

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def list_images(places: Iterable[str | Path]) -> list[str]:
    """Lists image files: those named, and those below the folders named, sorted in each.

    Raises:
        FileNotFoundError: a place does not exist.
        ValueError: a folder holds no image, or a file has a name that is not UTF-8.
    """
    paths = [path for place in places for path in _images_at(Path(place))]
    others = [path for path in paths if not is_utf8(path)]
    if others:
        raise ValueError(f"{others[0]!a} is no UTF-8 name, which the lists need; rename the file")
    return paths


def _images_at(place: Path) -> list[str]:
    if place.is_file():
        return [str(place.resolve())]
    if not place.is_dir():
        raise FileNotFoundError(f"no file or folder {str(place)!r}")
    found = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise ValueError(f"no image in {place}: looked for {', '.join(SUFFIXES)} at any depth")
    return [str(path.resolve()) for path in found]
