"""Batch-hard triplet loss over both modalities (supplement, Eq. 3)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from wrimnet.losses.pairs import check_identity_pairs, identity_pairs
from wrimnet.losses.precision import at_least_float32, without_autocast


def triplet_loss(
    embeddings: Tensor,
    pids: Tensor,
    *,
    margin: float,
    soft_margin: bool = False,
    unit_length: bool = False,
) -> Tensor:
    """Asks that the farthest positive be nearer than the nearest negative, by a margin.

    Supplement, Eq. 3, with d the Euclidean distance and the expectation over the batch's anchors::

        L_tri = E[d_p - d_n + alpha]_+

    The supplement does not say which pairs; here d_p is to the farthest image of the anchor's
    identity and d_n to the nearest of another, in either modality. Ties go to the lower index.

    Distances are norms of differences. The shorter |a|^2 + |b|^2 - 2ab loses the digits that small
    distances are made of, and its square root has an infinite derivative at 0. The derivative of
    the norm at 0, where it has none, is taken as 0: images that coincide do not move each other.
    Only the two chosen distances of an anchor are differentiated.

    Pairs are checked only where labels are on the CPU (see ``losses.pairs``).

    Args:
        embeddings: (N, D) of any L2 norm.
        pids: (N,) identities.
        margin: alpha of the paper, at least 0, in units of the distance.
        soft_margin: softplus(d_p - d_n) in place of the hinge; the margin is not read.
        unit_length: embeddings are divided by their lengths first, so distances end at 2.

    Returns:
        L_tri, a scalar of float32, or of float64 for float64 embeddings.

    Raises:
        ValueError: a shape or the margin is wrong, or an anchor lacks a positive or a negative.
    """
    _check_arguments(embeddings, pids, margin)
    if pids.device.type == "cpu" and not torch.compiler.is_compiling():
        check_identity_pairs(pids)
    with without_autocast(embeddings):
        features = at_least_float32(embeddings)
        features = F.normalize(features) if unit_length else features
        positive, negative = identity_pairs(pids)
        farthest, nearest = _hardest(features.detach(), positive, negative)
        d_p = torch.linalg.vector_norm(features - features[farthest], dim=1)
        d_n = torch.linalg.vector_norm(features - features[nearest], dim=1)
        has_pairs = positive.any(1) & negative.any(1)
        gap = d_p - d_n
        losses = F.softplus(gap) if soft_margin else (gap + margin).relu()
        return losses.masked_fill(~has_pairs, torch.nan).mean()


def _hardest(features: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of each anchor's farthest positive and nearest negative: two of (N,)."""
    dist = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    farthest = dist.masked_fill(~positive, -torch.inf).argmax(1)
    nearest = dist.masked_fill(~negative, torch.inf).argmin(1)
    return farthest, nearest


def _check_arguments(embeddings: Tensor, pids: Tensor, margin: float) -> None:
    if embeddings.ndim != 2 or pids.shape != embeddings.shape[:1] or len(pids) == 0:
        raise ValueError(
            f"embeddings and pids have the shapes {tuple(embeddings.shape)} and "
            f"{tuple(pids.shape)}; expected (N, D) and (N,), N at least 1"
        )
    if not margin >= 0:
        raise ValueError(f"margin is {margin}; expected at least 0 (the paper's is 0.3)")
