"""CMKIC, the Cross-Modality Key-Instance Contrastive loss (supplement, Eq. 1 and its mirror)."""

from typing import Literal

import torch
from torch import Tensor

from wrimnet.losses.pairs import check_cross_modality_pairs, cross_modality_pairs
from wrimnet.losses.precision import at_least_float32, without_autocast
from wrimnet.modality import INFRARED, VISIBLE

Reduction = Literal["mean", "sum"]


def cmkic_loss(
    embeddings: Tensor,
    pids: Tensor,
    modality: Tensor,
    *,
    top_k: int,
    temperature: float,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pulls every image to its hardest positives of the other modality.

    Supplement, Eq. 1 (anchors are infrared) and its mirror image (anchors are visible)::

        L_IV = sum_{i in I_infra} -1/K sum_{p in P_vis(i)}
                   log( exp(z_i.z_p / tau) / sum_{a in A(i)} exp(z_i.z_a / tau) )
        L_CMKIC = L_VI + L_IV

    P_vis(i) holds the K = min(top_k, number of positives) least similar images of the other
    modality with the identity of i; ties go to the lower index, and the choice carries no gradient.
    A(i) holds all negatives of the other modality and P_vis(i), but no other positive.

    Deviation: each direction is the mean over its anchors; ``reduction="sum"`` is Eq. 1 as printed.

    The batch is the whole batch: with several processes, gather before the call. The images may
    come in any order. Pairs are checked only where labels are on the CPU (see ``losses.pairs``).

    Args:
        embeddings: (N, D), L2-normalized.
        pids: (N,) identities.
        modality: (N,) VISIBLE or INFRARED.
        top_k: K of the paper, at least 1.
        temperature: tau of the paper, above 0.
        reduction: "mean" or "sum" over the anchors of a direction.

    Returns:
        L_CMKIC, a scalar of float32, or of float64 for float64 embeddings.

    Raises:
        ValueError: a shape or setting is wrong, or an anchor lacks a pair of the other modality.
    """
    _check_settings(top_k, temperature, reduction)
    _check_shapes(embeddings, pids, modality)
    if pids.device.type == "cpu" and not torch.compiler.is_compiling():
        check_cross_modality_pairs(pids, modality)
    with without_autocast(embeddings):
        z = at_least_float32(embeddings)
        per_anchor = _contrast(z @ z.T / temperature, pids, modality, top_k)
        directions = [_reduce(per_anchor, modality == of, reduction) for of in (VISIBLE, INFRARED)]
    return directions[0] + directions[1]  # L_VI + L_IV


def _contrast(logits: Tensor, pids: Tensor, modality: Tensor, top_k: int) -> Tensor:
    """The inner term of Eq. 1 for each anchor, from z_i.z_a / tau: (N, N) -> (N,)."""
    positive, negative = cross_modality_pairs(pids, modality)
    hardest = _hardest(logits.detach(), positive, top_k)  # P(i)
    candidates = negative | hardest  # A(i)
    log_partition = logits.masked_fill(~candidates, -torch.inf).logsumexp(1)
    attraction = logits.masked_fill(~hardest, 0.0).sum(1) / hardest.sum(1)
    has_pairs = positive.any(1) & negative.any(1)
    return (log_partition - attraction).masked_fill(~has_pairs, torch.nan)


def _hardest(similarity: Tensor, positive: Tensor, top_k: int) -> Tensor:
    """Marks the top_k least similar positives of each anchor: (N, N) -> (N, N)."""
    order = similarity.masked_fill(~positive, torch.inf).argsort(dim=1, stable=True)
    return positive & (order.argsort(dim=1) < top_k)  # a position's rank; a scatter may be random


def _reduce(per_anchor: Tensor, anchors: Tensor, reduction: Reduction) -> Tensor:
    total = per_anchor.masked_fill(~anchors, 0.0).sum()  # indexing by a mask would wait for the GPU
    return total / anchors.sum() if reduction == "mean" else total


def _check_settings(top_k: int, temperature: float, reduction: str) -> None:
    if top_k < 1:
        raise ValueError(f"top_k is {top_k}; expected at least 1 hardest positive per anchor")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; expected above 0 (the paper's is 0.07)")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction is {reduction!r}; expected 'mean' or 'sum'")


def _check_shapes(embeddings: Tensor, pids: Tensor, modality: Tensor) -> None:
    shapes = [tuple(tensor.shape) for tensor in (embeddings, pids, modality)]
    fits = embeddings.ndim == 2 and shapes[1:] == [(len(embeddings),)] * 2
    if not fits or len(embeddings) == 0:
        raise ValueError(
            f"embeddings, pids, modality have the shapes {shapes[0]}, {shapes[1]}, {shapes[2]}; "
            "expected (N, D), (N,), (N,), N at least 1"
        )
