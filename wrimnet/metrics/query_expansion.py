"""Average query expansion: each embedding becomes the mean of its nearest neighbours.

Source: Chum et al., "Total Recall", ICCV 2007, with the similarity weights of Radenovic et al.
(alpha query expansion), applied to queries and gallery alike, as FastReID does.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def expand_queries(
    queries: Tensor,
    gallery: Tensor,
    *,
    neighbors: int,
    alpha: float,
    rounds: int,
    block_rows: int = 1024,
) -> tuple[Tensor, Tensor]:
    """Replaces every embedding e_i by L2norm(sum over its k nearest j of max(s_ij, 0)^alpha e_j).

    s is the cosine similarity and an embedding is its own nearest neighbour. Queries and gallery
    are searched together.

    Args:
        queries: (Q, D).
        gallery: (G, D).
        neighbors: k, at most Q + G.
        alpha: exponent, at least 0.
        rounds: how often this is repeated.
        block_rows: rows of the (Q + G, Q + G) similarity matrix held at once.

    Returns:
        The new queries (Q, D) and gallery (G, D), of unit length.

    Raises:
        ValueError: neighbors, alpha or rounds are out of range.
    """
    num_all = len(queries) + len(gallery)
    if not 1 <= neighbors <= num_all:
        raise ValueError(f"neighbors is {neighbors}, expected 1 to {num_all} (queries + gallery)")
    if alpha < 0 or rounds < 1:
        raise ValueError(f"alpha {alpha} and rounds {rounds}: expected alpha >= 0 and rounds >= 1")
    embeddings = normalize(torch.cat((queries, gallery)), dim=1)
    for _ in range(rounds):
        blocks = embeddings.split(block_rows)
        embeddings = torch.cat([_expand(b, embeddings, neighbors, alpha) for b in blocks])
    return embeddings[: len(queries)], embeddings[len(queries) :]


def _expand(block: Tensor, embeddings: Tensor, neighbors: int, alpha: float) -> Tensor:
    similarity, nearest = (block @ embeddings.T).topk(neighbors, dim=1)
    weights = similarity.clamp_(min=0).pow_(alpha)  # (B, k)
    return normalize((weights[:, :, None] * embeddings[nearest]).sum(1), dim=1)
