"""The two modalities, defined once. Modality is a property of an image, never of its camera."""

VISIBLE = 0
INFRARED = 1

MODALITY_NAMES = ("visible", "infrared")


def find_modality(modality: int | str) -> int:
    """Returns the number of a modality given by name or number.

    Raises:
        ValueError: neither a name nor a number of the two.
    """
    if isinstance(modality, str) and modality in MODALITY_NAMES:
        return MODALITY_NAMES.index(modality)
    if isinstance(modality, int) and modality in (VISIBLE, INFRARED):
        return modality
    raise ValueError(f"unknown modality {modality!r}; choose one of {' or '.join(MODALITY_NAMES)}")
