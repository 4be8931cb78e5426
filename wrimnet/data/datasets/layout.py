"""Reading the distributed folders and index files, with every deviation named.

Each function takes `on_problem`, called with an exception for every deviation found. A reader
passes `stop`, which raises it; the dataset check passes a list's `append` and goes on.

In folders of images, files without an image extension (.DS_Store, Thumbs.db, ...) are ignored;
nothing else is.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, NoReturn

from wrimnet.atomic_files import is_utf8
from wrimnet.data.images import ImageItem

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
NUMBER = "[0-9]{1,9}"
SHOWN = 5  # missing files named in one message
HELP = "see datasets/README.md for the expected tree"

OnProblem = Callable[[Exception], object]


class IndexLine(NamedTuple):
    """A line "relative/path label" of an index file, with its file and number."""

    relpath: str
    label: int
    source: str  # "<index file>:<line number>"


def stop(problem: Exception) -> NoReturn:
    """Raises the problem: the strict reading that training and testing use."""
    raise problem


def require_folder(folder: str, on_problem: OnProblem) -> bool:
    """Says whether a folder is there; its absence is a problem."""
    if os.path.isdir(folder):
        return True
    on_problem(FileNotFoundError(f"looked for the folder {folder}, which does not exist; {HELP}"))
    return False


def subfolders(folder: str, pattern: str, on_problem: OnProblem) -> list[str]:
    """Lists the folders inside a folder, sorted; reports names that do not match."""
    if not require_folder(folder, on_problem):
        return []
    with os.scandir(folder) as entries:
        is_folder = {entry.name: entry.is_dir() for entry in entries}
    matching = [name for name in is_folder if is_folder[name] and re.fullmatch(pattern, name)]
    for name in sorted(set(is_folder) - set(matching)):
        if is_folder[name]:
            on_problem(ValueError(f"unexpected folder {name!r} in {folder}; {HELP}"))
        elif _is_image(name):
            on_problem(ValueError(f"image {name!r} in {folder}, which holds folders only; {HELP}"))
    return sorted(matching)


def image_names(folder: str, on_problem: OnProblem) -> list[str]:
    """Lists the image files of a folder, sorted; a folder among them is a problem."""
    with os.scandir(folder) as entries:
        is_folder = {entry.name: entry.is_dir() for entry in entries}
    for name in sorted(name for name in is_folder if is_folder[name]):
        on_problem(ValueError(f"unexpected folder {name!r} in {folder}; {HELP}"))
    return sorted(name for name in is_folder if not is_folder[name] and _is_image(name))


def read_identities(path: str, on_problem: OnProblem) -> list[int]:
    """Reads an identity list: comma-separated positive integers, ascending in the result.

    Trailing commas and line ends are accepted, as the distributed files have them.
    """
    identities: set[int] = set()
    expected = "expected comma-separated integers, each once"
    for number, line in _numbered_lines(path, on_problem):
        for field in filter(None, re.split(r"[,\s]+", line)):
            if re.fullmatch(NUMBER, field) and int(field) not in identities:
                identities.add(int(field))
            else:
                on_problem(ValueError(f"{path}:{number}: {field!r}; {expected}; {HELP}"))
    if not identities and os.path.isfile(path):
        on_problem(ValueError(f"{path} lists no identity; {HELP}"))
    return sorted(identities)


def read_index(path: str, on_problem: OnProblem) -> list[IndexLine]:
    """Reads an index file: one "relative/path label" per line, label an integer from 0."""
    lines = []
    for number, line in _numbered_lines(path, on_problem):
        relpath, _, label = line.strip().rpartition(" ")
        if not relpath or not re.fullmatch(NUMBER, label):
            expected = "expected 'relative/path label'"
            on_problem(ValueError(f"{path}:{number}: {expected}, got {line!r}; {HELP}"))
            continue
        lines.append(IndexLine(relpath.strip(), int(label), f"{path}:{number}"))
    first: dict[str, IndexLine] = {}
    again = [line for line in lines if first.setdefault(line.relpath, line) is not line]
    if again:
        shown = f"{again[0].source}: {again[0].relpath}, as in {first[again[0].relpath].source}"
        problem = f"{path} names {len(again)} images again: {shown}; keep one line per image"
        on_problem(ValueError(f"{problem}; {HELP}"))
    if not lines and os.path.isfile(path):
        on_problem(ValueError(f"{path} lists no image; {HELP}"))
    return list(first.values())


def existing(folder: str, lines: Sequence[IndexLine], on_problem: OnProblem) -> list[IndexLine]:
    """Keeps the index lines whose file is there; all others together are one problem.

    Every folder is listed once, which is much quicker than asking for every file.
    """
    parents = {line.relpath.rpartition("/")[0] for line in lines}
    names = {parent: _names_in(os.path.join(folder, parent)) for parent in parents}
    missing = []
    for line in lines:
        parent, _, name = line.relpath.rpartition("/")
        if name not in names[parent]:
            missing.append(line)
    if missing:
        shown = "; ".join(f"{line.source}: {line.relpath}" for line in missing[:SHOWN])
        on_problem(
            FileNotFoundError(
                f"{len(missing)} of {len(lines)} indexed images do not exist in {folder}: {shown}"
                f"{'; ...' if len(missing) > SHOWN else ''}; {HELP}"
            )
        )
    absent = set(missing)
    return [line for line in lines if line not in absent]


def inside(
    lines: Iterable[IndexLine], top: str, parse: Callable[[str], object], on_problem: OnProblem
) -> list[IndexLine]:
    """Keeps the index lines whose path parses and is in the folder `top`."""
    kept = []
    for line in lines:
        try:
            parse(line.relpath)
        except ValueError as problem:
            on_problem(ValueError(f"{line.source}: {problem}"))
            continue
        if line.relpath.startswith(f"{top}/"):
            kept.append(line)
        else:
            on_problem(ValueError(f"{line.source}: {line.relpath!r} is not in {top}/; {HELP}"))
    return kept


def check_present(
    listed: Iterable[int], present: Iterable[int], place: str, on_problem: OnProblem
) -> None:
    """Checks that every listed identity has an image; all that have none are one problem."""
    absent = sorted(set(listed) - set(present))
    if absent:
        on_problem(
            FileNotFoundError(
                f"{len(absent)} listed identities have no image in {place}: "
                f"{', '.join(f'{pid:04d}' for pid in absent[:SHOWN])}"
                f"{', ...' if len(absent) > SHOWN else ''}; {HELP}"
            )
        )


def check_labels(
    lines: Iterable[IndexLine], identity_of: Callable[[str], int], on_problem: OnProblem
) -> None:
    """Checks that each identity has one label, which no other has, in all given index lines."""
    label_of: dict[int, int] = {}
    identity_of_label: dict[int, int] = {}
    for line in lines:
        identity = identity_of(line.relpath)
        label = label_of.setdefault(identity, line.label)
        other = identity_of_label.setdefault(line.label, identity)
        if (label, other) != (line.label, identity):
            earlier = f"identity {identity} the label {label}"
            if label == line.label:
                earlier = f"identity {other} the same label"
            on_problem(
                ValueError(
                    f"{line.source} gives identity {identity} the label {line.label}, but an "
                    f"earlier line gives {earlier}; expected one label per identity, in the lists "
                    f"of both modalities; {HELP}"
                )
            )


def check_names(items: Sequence[ImageItem], on_problem: OnProblem) -> list[ImageItem]:
    """Keeps the images whose path in the dataset is UTF-8, as every file that names them is."""
    others = [item for item in items if not is_utf8(item.relpath)]
    for item in others:
        on_problem(
            ValueError(
                f"{item.relpath!a} in the dataset's folder is not a UTF-8 name; rename the file"
            )
        )
    return [item for item in items if item not in others] if others else list(items)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def _names_in(folder: str) -> set[str]:
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def _numbered_lines(path: str, on_problem: OnProblem) -> list[tuple[int, str]]:
    if not os.path.isfile(path):
        on_problem(FileNotFoundError(f"looked for the file {path}, which does not exist; {HELP}"))
        return []
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError:
        on_problem(ValueError(f"{path} is not a text file; {HELP}"))
        return []
    return list(enumerate(text.rstrip().splitlines(), start=1))
