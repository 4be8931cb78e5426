"""DEEN's losses on the copies that DEE makes of a batch (CVPR 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wrimnet.losses.precision import at_least_float32, without_autocast
from wrimnet.modality import INFRARED, VISIBLE


def center_pushing_loss(
    copies: Sequence[Tensor], pids: Tensor, modality: Tensor, *, margin: float
) -> Tensor:
    """CPM: a branch's centers near the original's of the other modality, away from its own.

    With c1, c2 the visible and infrared centers of the original, c3, c4 those of a branch, d the
    Euclidean distance, m(c) that to the nearest other identity's center of the same kind, sg
    without gradient, hinge(n, p) = mean over identities of max(0, p - n + margin)::

        L = sum over branches of 1/2 [ push(c1, c3, d(c2, c3)) + push(c2, c4, d(c1, c4)) ]
        push(c, b, p) = hinge(sg d(c, b), p) + 1/2 [ hinge(m(b), p) + hinge(m(c), p) ]

    Args:
        copies: the original batch and each branch's, (N, D) each.
        pids: (N,) identities, each with as many images as the others in either modality.
        modality: (N,) VISIBLE or INFRARED.
        margin: in units of the distance.

    Returns:
        L, a scalar of float32, or of float64 for float64 features.
    """
    with without_autocast(copies[0]):
        same = pids[:, None] == pids
        original, *branches = map(at_least_float32, copies)
        visible, infrared = (
            _mean_of((same & (modality == kind)).to(original.dtype)) for kind in (VISIBLE, INFRARED)
        )
        c1, c2 = visible @ original, infrared @ original
        pushed = [
            _push(c1, visible @ branch, c2, same, margin)
            + _push(c2, infrared @ branch, c1, same, margin)
            for branch in branches
        ]
        return torch.stack(pushed).sum() / 2


def _mean_of(members: Tensor) -> Tensor:
    """Weights (N, N) that make of images (N, D) the center of each row's members."""
    return members / members.sum(1, keepdim=True)


def _push(features: Tensor, branch: Tensor, other: Tensor, same: Tensor, margin: float) -> Tensor:
    """Rows are images: every identity counts as often as the others."""
    positive = _distance(other, branch)
    away = (positive - _distance(features, branch).detach() + margin).relu().mean()
    for centers in (branch, features):
        away = away + (positive - _nearest_other(centers, same) + margin).relu().mean() / 2
    return away


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return torch.linalg.vector_norm(first - second, dim=1)


def _nearest_other(centers: Tensor, same: Tensor) -> Tensor:
    dist = torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
    return dist.masked_fill(same, torch.inf).amin(1)


def branch_similarity_loss(copies: Sequence[Tensor]) -> Tensor:
    """What the official code computes as its orthogonality loss.

    The paper wants the embeddings of the branches orthogonal; the official shapes make of it one
    inner product per image, of the pooled features b1, b2 (N, D), neither absolute nor of unit
    vectors, divided by the images of all three copies::

        L = 1 / (3N) sum_i b1_i . b2_i

    Args:
        copies: the original batch, which is only counted, and each branch's, (N, D) each.

    Returns:
        L, a scalar of float32, or of float64 for float64 features.
    """
    with without_autocast(copies[0]):
        _, first, second = map(at_least_float32, copies)
        return (first * second).sum() / (len(copies) * len(first))
