"""The two modalities, defined once. Modality is a property of an image, never of its camera."""

from numbers import Integral

VISIBLE = 0
INFRARED = 1

MODALITY_NAMES = ("visible", "infrared")
# by number: what else people call them
_ALIASES = (("vis", "rgb", "color", "colour"), ("ir", "nir", "tir", "thermal"))


def find_modality(modality: int | str) -> int:
    """Returns the number of a modality given by name, alias (in any case) or number.

    Raises:
        ValueError: neither a name nor a number of the two.
    """
    if isinstance(modality, str):
        for number, names in enumerate(zip(MODALITY_NAMES, _ALIASES, strict=True)):
            if modality.lower() in (names[0], *names[1]):
                return number
    elif isinstance(modality, Integral) and modality in (VISIBLE, INFRARED):
        return int(modality)
    words = [
        f"{name} (also {', '.join(others)})"
        for name, others in zip(MODALITY_NAMES, _ALIASES, strict=True)
    ]
    raise ValueError(f"unknown modality {modality!r}; choose one of {' or '.join(words)}")
