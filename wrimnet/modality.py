"""The two modalities, defined once. Modality is a property of an image, never of its camera."""

VISIBLE = 0
INFRARED = 1

MODALITY_NAMES = ("visible", "infrared")
