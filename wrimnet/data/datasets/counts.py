"""Counting the images and identities of a split and comparing them with expected counts."""

from collections.abc import Iterable, Sequence
from typing import Any

from wrimnet.data.datasets.expected_counts import Counts
from wrimnet.data.items import ImageItem
from wrimnet.modality import MODALITY_NAMES

SIZE_KEYS = ("images", "identities")
KNOWN_KEYS = ("train", "test", *MODALITY_NAMES, "cameras", *SIZE_KEYS)


def count_items(items: Sequence[ImageItem]) -> Counts:
    """Counts images and identities: of the split, per modality, per modality and camera.

    Returns:
        A dict in the shape described in `expected_counts`, ready for JSON.
    """
    counts: Counts = _size(items)
    for modality, name in enumerate(MODALITY_NAMES):
        of_modality = [item for item in items if item.modality == modality]
        camids = sorted({item.camid for item in of_modality})
        counts[name] = _size(of_modality)
        counts[name]["cameras"] = {
            str(camid): _size(item for item in of_modality if item.camid == camid)
            for camid in camids
        }
    return counts


def count_differences(found: Counts, expected: Counts, prefix: str = "") -> list[str]:
    """Names every expected count that was not found.

    Args:
        found: counts of the data on disk.
        expected: what they should be; keys it leaves out are not compared.
        prefix: words before each difference, such as the split's name.

    Returns:
        One line per difference: "train, visible, images: found 10, expected 12".
    """
    differences = []
    for key, wanted in expected.items():
        where = f"{prefix}, {key}" if prefix else key
        if isinstance(wanted, dict):
            differences += count_differences(found.get(key, {}), wanted, where)
        elif found.get(key, 0) != wanted:
            differences.append(f"{where}: found {found.get(key, 0)}, expected {wanted}")
    return differences


def check_counts(counts: Any, place: str = "counts") -> Counts:
    """Returns expected counts read from elsewhere, if they have the shape of `expected_counts`.

    Raises:
        ValueError: a value is neither an integer nor a dict of such, or a key has no meaning.
    """
    if not isinstance(counts, dict):
        raise ValueError(f"{place} is {counts!r}; expected a JSON object, see expected_counts.py")
    for key, value in counts.items():
        if key not in KNOWN_KEYS and not key.isdecimal():
            raise ValueError(f"{place} has the key {key!r}; expected {', '.join(KNOWN_KEYS)}")
        if not isinstance(value, int) or isinstance(value, bool):
            check_counts(value, f"{place}, {key}")
    return counts


def _size(items: Iterable[ImageItem]) -> dict[str, Any]:
    pids = [item.pid for item in items]
    return {"images": len(pids), "identities": len(set(pids))}
