"""Which images of a batch form pairs, and does every anchor have the pairs that a loss needs?

The checks read label values, which on a CUDA tensor would make the host wait for the device in
every step. The losses therefore call them only on CPU labels and outside of compiled code; who
keeps labels on a GPU, or compiles a loss, calls them on the CPU copies, as
``WRIMNet.check_labels`` does. Without that call an anchor that lacks a pair turns the loss into
NaN: it is never left out and never counted as zero.
"""

from torch import Tensor

from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE


def identity_pairs(pids: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the positives and negatives of every anchor among all images.

    Args:
        pids: (N,) identities.

    Returns:
        Two (N, N) masks, anchors in rows: positive (same identity, not the anchor itself) and
        negative (another identity).
    """
    same_identity = pids[:, None] == pids
    positive = same_identity.clone().fill_diagonal_(False)
    return positive, ~same_identity


def cross_modality_pairs(pids: Tensor, modality: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the positives and negatives of every anchor among images of the other modality.

    Args:
        pids: (N,) identities.
        modality: (N,) VISIBLE or INFRARED.

    Returns:
        Two (N, N) masks, anchors in rows: positive (same identity) and negative (another identity).
    """
    same_identity = pids[:, None] == pids
    cross_modality = modality[:, None] != modality
    return cross_modality & same_identity, cross_modality & ~same_identity


def check_identity_pairs(pids: Tensor) -> None:
    """Refuses a batch in which an anchor lacks a positive or a negative.

    Args:
        pids: (N,) identities, on the CPU.

    Raises:
        ValueError: an anchor lacks a pair; names the first such anchor.
    """
    for kind, pairs in zip(("positive", "negative"), identity_pairs(pids), strict=True):
        missing = ~pairs.any(1)
        if missing.any():
            anchor = _first(missing)
            raise ValueError(
                f"anchor {anchor} (pid {int(pids[anchor])}) has no {kind} in the batch of "
                f"{len(pids)}; draw at least two identities with two images each"
            )


def check_cross_modality_pairs(pids: Tensor, modality: Tensor) -> None:
    """Refuses a batch in which an anchor lacks a positive or negative of the other modality.

    Args:
        pids: (N,) identities, on the CPU.
        modality: (N,) VISIBLE or INFRARED, on the CPU.

    Raises:
        ValueError: a modality is unknown, or an anchor lacks a pair; names the first such image.
    """
    unknown = (modality != VISIBLE) & (modality != INFRARED)
    if unknown.any():
        image = _first(unknown)
        raise ValueError(
            f"image {image} has modality {int(modality[image])}; expected {VISIBLE} "
            f"({MODALITY_NAMES[VISIBLE]}) or {INFRARED} ({MODALITY_NAMES[INFRARED]})"
        )
    pairs_of_kind = cross_modality_pairs(pids, modality)
    for kind, pairs in zip(("positive", "negative"), pairs_of_kind, strict=True):
        missing = ~pairs.any(1)
        if missing.any():
            anchor = _first(missing)
            name = MODALITY_NAMES[int(modality[anchor])]
            raise ValueError(
                f"anchor {anchor} (pid {int(pids[anchor])}, {name}) has no {kind} of the other "
                "modality; draw at least two identities, each in both modalities "
                "(CrossModalitySampler does)"
            )


def _first(mask: Tensor) -> int:
    return int(mask.nonzero()[0])
