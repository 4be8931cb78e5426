"""AGW's weighted regularized triplet loss, and CAJ's enhanced form of it.

Ye et al., PAMI 2021 (AGW); Ye et al., Channel Augmented Joint Learning, ICCV 2021 (CAJ).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from wrimnet.losses.pairs import check_identity_pairs
from wrimnet.losses.precision import at_least_float32, without_autocast

LEAST = 1e-6  # of a distance, and of the sum of the weights


def weighted_triplet_loss(embeddings: Tensor, pids: Tensor, *, squared: bool = False) -> Tensor:
    """Asks that the weighted mean positive be nearer than the weighted mean negative.

    With d the Euclidean distances of an anchor, at least e = 1e-6, and the mean over anchors E::

        L = E log(1 + exp(t)),  t = w+ . d+  -  w- . d-
        w+ = exp(d+ - max d+) / (sum exp(d+ - max d+) + e),  w- = exp(-d-) / (sum exp(-d-) + e)

    where the positives are of the anchor's identity, the anchor itself among them. CAJ squares t
    and keeps its sign. The weights are a softmax but for e, which is the official code's: far
    negatives, exp(-d) below 1e-6, together weigh less than 1, and nothing pushes them any more.
    Distances are norms of differences and the logarithm cannot overflow; the derivative of a
    distance below e is 0.

    Args:
        embeddings: (N, D) of any L2 norm.
        pids: (N,) identities.
        squared: CAJ's form.

    Returns:
        L, a scalar of float32, or of float64 for float64 embeddings.

    Raises:
        ValueError: on the CPU, an anchor without another image of its identity or of another.
    """
    if pids.device.type == "cpu" and not torch.compiler.is_compiling():
        check_identity_pairs(pids)
    with without_autocast(embeddings):
        features = at_least_float32(embeddings)
        dist = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
        dist, same = dist.clamp(min=LEAST), pids[:, None] == pids
        farthest = dist.masked_fill(~same, 0).amax(1, keepdim=True)
        excess = _weighted(dist, dist - farthest, same) - _weighted(dist, -dist, ~same)
        return F.softplus(excess * excess.abs() if squared else excess).mean()


def _weighted(dist: Tensor, exponents: Tensor, chosen: Tensor) -> Tensor:
    """Each anchor's weighted mean distance to the chosen images, (N,)."""
    weights = exponents.masked_fill(~chosen, -torch.inf).exp()
    return (weights * dist).sum(1) / (weights.sum(1) + LEAST)
