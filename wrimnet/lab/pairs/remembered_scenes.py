"""The scenes of a folder of photographs, found once: comparing all with all takes long."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from wrimnet.lab.pairs import same_scene
from wrimnet.run_folder import read_json, write_json

FILE = "scenes.json"
Groups = list[list[int]]


def remembered_groups(
    folder: Path,
    digests: Sequence[str],
    infrared_range: Sequence[float],
    find: Callable[[], Groups],
) -> Groups:
    """Return the groups that ``find`` made of these photographs, from a file where it is there.

    Args:
        folder: that has the file, or gets it.
        digests: hash of each infrared photograph.
        infrared_range: of its pixels of more than 8 bits.
        find: compares the photographs.
    """
    code = Path(same_scene.__file__).read_text(encoding="utf-8")
    content = json.dumps([list(digests), list(infrared_range), code])
    key = hashlib.sha256(content.encode()).hexdigest()
    known = read_json(folder / FILE) or {}
    if known.get("key") == key:
        return known["groups"]
    groups = find()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FILE, {"key": key, "groups": groups})
    return groups
