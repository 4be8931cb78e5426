"""k-reciprocal re-ranking by definition, on dense matrices, one image at a time."""

import numpy as np


def rerank_dense(dist, num_queries, k1, k2, original_weight, gallery_neighbors=True):
    """Re-ranked (Q, G) distances from squared Euclidean distances (N, N), queries first."""
    largest = dist.max(axis=1, keepdims=True)
    original = dist / np.where(largest > 0, largest, 1)  # of equal images all distances are 0
    barred = dist if gallery_neighbors else dist[:, :num_queries]
    nearest = np.argsort(barred, axis=1, kind="stable")
    num_all = len(dist)
    encoding = np.zeros_like(original)
    for image in range(num_all):
        members = _expanded_set(nearest, image, k1)
        weights = np.exp(-original[image, members])
        encoding[image, members] = weights / weights.sum()
    encoding = np.stack([encoding[nearest[image, :k2]].mean(axis=0) for image in range(num_all)])
    jaccard = np.stack([_jaccard(encoding, query, num_queries) for query in range(num_queries)])
    return (1 - original_weight) * jaccard + original_weight * original[:num_queries, num_queries:]


def _reciprocal_set(nearest, image, k):
    neighbors = nearest[image, : k + 1]
    return neighbors[(nearest[neighbors, : k + 1] == image).any(axis=1)]


def _expanded_set(nearest, image, k1):
    core = _reciprocal_set(nearest, image, k1)
    expanded = [core]
    for member in core:
        candidates = _reciprocal_set(nearest, member, round(k1 / 2))
        if len(np.intersect1d(candidates, core)) > 2 / 3 * len(candidates):
            expanded.append(candidates)
    return np.unique(np.concatenate(expanded))


def _jaccard(encoding, query, num_queries):
    """One minus the sum of minima over the sum of maxima, to each gallery image, (G,)."""
    gallery = encoding[num_queries:]
    support = np.flatnonzero(encoding[query])  # elsewhere the minimum is zero
    minimum = np.minimum(encoding[query, support], gallery[:, support]).sum(axis=1)
    return 1 - minimum / (2 - minimum)
