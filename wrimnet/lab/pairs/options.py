"""What decides the bytes of a set, and the bounds of each."""

from dataclasses import dataclass

from wrimnet.lab.synthetic.rendering import MAX_IMAGES_PER_ID

AUTO = ("auto",)  # of infrared_range: measured
LEAST = {
    "box_class": 0,
    "scene_prefix": 0,
    "train_ids": 2,
    "test_ids": 1,
    "images_per_id": 1,
    "test_images_per_id": 2,  # so that a query has a match in another camera
    "height": 16,
    "width": 8,
    "min_size": 16,
    "min_contrast": 0,
    "seed": 0,
}
BELOW = {"images_per_id": MAX_IMAGES_PER_ID, "test_images_per_id": MAX_IMAGES_PER_ID}


@dataclass(frozen=True)
class Options:
    """What decides the bytes of a set, beside the photographs.

    Args:
        kind: "places" or "boxes".
        box_class: class of the boxes that become identities.
        scene_prefix: photographs whose stems agree in so many characters are one scene; 0 looks
            for photographs that show the same place instead.
        train_share: share of the scenes for training.
        train_ids: training identities; None takes all.
        test_ids: test identities; None takes all.
        images_per_id: training images per identity and modality.
        test_images_per_id: the same in the test set.
        height: rows of an image.
        width: columns of an image.
        min_size: least height of a place or a box in a photograph, pixels.
        seed: all randomness comes from it.
        pad: keep boxes whose cuts leave the photograph; its edge is repeated there.
        min_contrast: least visible contrast of a place or a box, gray levels.
        infrared_range: (low, high) of infrared pixels of more than 8 bits; () for none.
    """

    kind: str = "places"
    box_class: int = 0
    scene_prefix: int = 0
    train_share: float = 2 / 3
    train_ids: int | None = None
    test_ids: int | None = None
    images_per_id: int = 8
    test_images_per_id: int = 4
    height: int = 96
    width: int = 36
    min_size: int = 80
    seed: int = 0
    pad: bool = False
    min_contrast: int = 0
    infrared_range: tuple = ()


def check_options(options: Options) -> None:
    """Check every bound.

    Raises:
        ValueError: a value is beyond its bounds.
    """
    for name, least in LEAST.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}, expected at least {least}")
    for name, bound in BELOW.items():
        if getattr(options, name) >= bound:
            raise ValueError(f"{name} is {getattr(options, name)}, expected below {bound}")
    ends = options.infrared_range
    if ends not in ((), AUTO) and not (len(ends) == 2 and ends[0] < ends[1]):
        raise ValueError(f"infrared_range is {ends}, expected LOW HIGH with LOW < HIGH, or auto")
    if not 0 < options.train_share < 1:
        raise ValueError(
            f"train_share is {options.train_share}, the share of the scenes for training: more "
            "than 0 and less than 1, so that both splits have some"
        )
