"""Pseudo labels of one modality: DBSCAN on the Jaccard distances of k-reciprocal encodings."""

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from wrimnet.metrics.reranking import jaccard_blocks

try:
    from sklearn.cluster import DBSCAN
    from sklearn.neighbors import sort_graph_by_row_values
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "clustering needs scikit-learn, which is missing; pip install -e '.[unsupervised]'"
    ) from error

OUTLIER = -1
_BLOCK_ROWS = 512


def near_pairs(embeddings: Tensor, *, k1: int, k2: int, eps: float) -> Any:
    """Returns the Jaccard distances up to ``eps`` of unit embeddings (N, D), sparse (N, N).

    Only blocks of rows are ever dense, so memory grows with the pairs that are near.
    """
    count, blocks = len(embeddings), []
    for _, dist in jaccard_blocks(
        lambda rows: (2 - 2 * embeddings[rows] @ embeddings.T).clamp(min=0),
        num_images=count,
        k1=k1,
        k2=k2,
        block_rows=_BLOCK_ROWS,
    ):
        rows, columns = (dist <= eps).nonzero(as_tuple=True)
        values = dist[rows, columns].clamp(min=0).double().numpy()
        shape = (len(dist), count)
        blocks.append(sparse.csr_matrix((values, (rows.numpy(), columns.numpy())), shape=shape))
    return sparse.vstack(blocks, format="csr")


def cluster_images(
    embeddings: Tensor, *, k1: int, k2: int, eps: float, min_samples: int
) -> np.ndarray:
    """Returns the cluster of each image, (N,): 0, 1, ..., or OUTLIER.

    Args:
        embeddings: (N, D), L2-normalized rows.
        k1: size of the reciprocal neighborhood.
        k2: images averaged in the local expansion.
        eps: largest Jaccard distance of neighbors.
        min_samples: neighbors of a core image, itself among them.
    """
    near = sort_graph_by_row_values(
        near_pairs(embeddings, k1=k1, k2=k2, eps=eps), warn_when_not_sorted=False
    )
    scan = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed")
    return scan.fit_predict(near).astype(np.int64)


def cluster_means(embeddings: Tensor, labels: np.ndarray) -> Tensor:
    """Returns the mean embedding of each cluster, L2-normalized, (C, D); no outliers."""
    rows = torch.from_numpy(labels).to(embeddings.device)
    kept = rows != OUTLIER
    sums = embeddings.new_zeros(int(labels.max()) + 1, embeddings.shape[1])
    return F.normalize(sums.index_add_(0, rows[kept], embeddings[kept]), dim=1)
