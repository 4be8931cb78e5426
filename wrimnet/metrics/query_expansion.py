"""Average query expansion: each embedding becomes the mean of its nearest neighbors.

Source: Chum et al., "Total Recall", ICCV 2007, with the similarity weights of Radenovic et al.
(alpha query expansion), applied to queries and gallery alike, as FastReID does.
"""

import numpy as np
import torch
from torch import Tensor

from wrimnet.metrics.distances import DistanceRows, all_to_all, distinct_rows, unit_rows
from wrimnet.metrics.reranking import nearest_neighbors


def expand_embeddings(
    embeddings: Tensor,
    *,
    neighbors: int,
    alpha: float,
    rounds: int,
    block_rows: int = 1024,
    memory_gb: float = 2.0,
) -> Tensor:
    """Replaces every embedding e_i by L2norm(sum over its k nearest j of max(s_ij, 0)^alpha e_j).

    s is the cosine similarity, and an embedding is among its own nearest; of equally similar ones
    the first come first.

    Args:
        embeddings: (N, D), of queries and gallery together.
        neighbors: k, at most N.
        alpha: exponent, at least 0.
        rounds: how often this is repeated.
        block_rows: rows of the (N, N) similarity matrix looked at together.
        memory_gb: largest similarity matrix in memory, 10^9 bytes.

    Returns:
        The new embeddings (N, D), float64, L2-normalized; equal ones where they were equal.

    Raises:
        ValueError: neighbors, alpha or rounds are out of range.
    """
    num_all = len(embeddings)
    if not 1 <= neighbors <= num_all:
        raise ValueError(f"neighbors is {neighbors}, expected 1 to {num_all} (queries + gallery)")
    if alpha < 0 or rounds < 1:
        raise ValueError(f"alpha {alpha} and rounds {rounds}: expected alpha >= 0 and rounds >= 1")
    expanded = unit_rows(embeddings.cpu().numpy())
    for _ in range(rounds):
        products = all_to_all(torch.from_numpy(expanded).to(embeddings.device), memory_gb)
        first, place = distinct_rows(expanded)
        nearest, similarity = _nearest(products, num_all, neighbors, block_rows)
        weights = np.maximum(similarity[first], 0) ** alpha  # (U, k)
        terms = (weights[:, n, None] * expanded[nearest[first, n]] for n in range(neighbors))
        expanded = unit_rows(sum(terms))[place]
    return torch.from_numpy(expanded).to(embeddings.device)


def _nearest(
    products: DistanceRows, num_all: int, count: int, block_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (N, k) and similarities (N, k) of the nearest, nearest first."""
    neighbors = []
    for start in range(0, num_all, block_rows):
        dist = products(slice(start, start + block_rows))
        indices = nearest_neighbors(dist, count)
        neighbors.append((indices.numpy(), -dist.cpu().gather(1, indices).numpy()))
    indices, similarity = zip(*neighbors, strict=True)
    return np.concatenate(indices), np.concatenate(similarity)
