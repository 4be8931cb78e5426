"""One image of a dataset, as every part of the data layer passes it on."""

from typing import NamedTuple


class ImageItem(NamedTuple):
    """An image on disk with its labels.

    The first three fields stand in FastReID's order, so its own loaders can index an item.

    Attributes:
        path: where the file lies on this disk.
        pid: identity as the dataset numbers it; training relabels to 0..C-1 in ascending order.
        camid: camera as the dataset numbers it, from 1.
        modality: `wrimnet.modality.VISIBLE` or `INFRARED`.
        relpath: POSIX path inside the dataset's folder, the same on every machine.
    """

    path: str
    pid: int
    camid: int
    modality: int
    relpath: str
