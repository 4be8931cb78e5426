"""One image of a dataset, as every part of the data layer passes it on."""

from typing import NamedTuple


class ImageItem(NamedTuple):
    """An image on disk with its labels.

    The first three fields stand in FastReID's order, so its own loaders can index an item.
    """

    path: str  # where the file lies on this disk
    pid: int  # identity as the dataset numbers it; training relabels to 0..C-1 in ascending order
    camid: int  # camera as the dataset numbers it, from 1
    modality: int  # `wrimnet.modality.VISIBLE` or `INFRARED`
    relpath: str  # POSIX path inside the dataset's folder, the same on every machine
