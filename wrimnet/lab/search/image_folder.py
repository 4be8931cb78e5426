"""The images of a folder, in a fixed order."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wrimnet.data.images import readable_endings


class FoundImages(NamedTuple):
    """Absolute paths of images, and how many entries were left out, by their kind."""

    paths: list[str]
    left_out: Counter[str]

    def describe_left_out(self) -> str:
        """Says what was left out, such as "3 .heic, 1 hidden"; "" for nothing."""
        return ", ".join(f"{number} {kind}" for kind, number in sorted(self.left_out.items()))


def list_images(places: Iterable[str | Path]) -> FoundImages:
    """Lists image files: those named, and those below the folders named, sorted in each.

    Links are followed. Hidden entries, links to nothing and files of other endings are left out.

    Raises:
        FileNotFoundError: a place does not exist.
        ValueError: a folder holds no image, or a link to a folder above it.
    """
    images = FoundImages([], Counter())
    for word in places:
        place = Path(word)
        if place.is_file():
            images.paths.append(str(place.resolve()))
        elif word and place.is_dir():  # "" is a mistake, not the working folder
            images.paths.extend(_images_below(place, images.left_out))
        else:
            raise FileNotFoundError(f"{str(word)!r} does not exist; give images or folders")
    return images


def _images_below(place: Path, left_out: Counter[str]) -> list[str]:
    endings, before = readable_endings(), left_out.copy()
    images = []
    for file in _files_below(str(place), (), left_out):
        ending = os.path.splitext(file)[1].lower()
        if ending in endings:
            images.append(os.path.realpath(file))
        else:
            left_out[ending or "without ending"] += 1
    if not images:
        others = FoundImages([], left_out - before).describe_left_out()
        raise ValueError(
            f"no image in {place}: looked for {', '.join(sorted(endings))} at any depth"
            f"{others and ', found '}{others}"
        )
    return list(dict.fromkeys(images))


def _files_below(
    folder: str, above: tuple[tuple[int, int], ...], left_out: Counter[str]
) -> Iterator[str]:
    """Yields the files of a folder and of those in it, by name; ``above`` are its parents."""
    state = os.stat(folder)
    identity = state.st_dev, state.st_ino
    if identity in above:
        raise ValueError(f"{folder} is a link to a folder above it; remove the link")
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith("."):
            left_out["hidden"] += 1
        elif entry.is_dir():
            yield from _files_below(entry.path, (*above, identity), left_out)
        elif entry.is_file():
            yield entry.path
        else:
            left_out["links to nothing or no files"] += 1
