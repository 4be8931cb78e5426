"""k-reciprocal re-ranking with sparse neighbor sets.

Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.
N = Q + G images, queries first. d_ij is the squared Euclidean distance divided by the largest of
row i (by 1 if that is not positive: all images are equal), N(i, k) the k + 1 nearest images of i
in stable order (i itself among them).

    R(i, k)  = {j in N(i, k) : i in N(j, k)}
    R*(i)    = R(i, k1) and each R(j, k1 / 2), j in R(i, k1), with over 2/3 of it in R(i, k1)
    V_ij     = exp(-d_ij) / sum over R*(i), for j in R*(i)                            (Eq. 7)
    V_i     <- mean of V_j over the k2 nearest j of i                                  (Eq. 11)
    jaccard  = 1 - sum_j min(V_ij, V_gj) / sum_j max(V_ij, V_gj)                       (Eq. 10)
    distance = (1 - lambda) jaccard + lambda d                                         (Eq. 12)

A variant in use, IDKL's, bars the gallery from every N(i, k): an image's neighbors are queries
alone. Then R of a gallery image is empty, and V of it is the mean over its k2 nearest queries.

V has a few dozen entries per row, so it is kept sparse. Everything that follows the search for
neighbors runs on the CPU: one distance matrix gives one result on every device.
"""

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wrimnet.metrics.distances import DistanceRows

_NEIGHBOR_ROWS = 512


def nearest_neighbors(dist: Tensor, count: int) -> Tensor:
    """Finds the nearest columns of each row in stable order, without sorting the row.

    Args:
        dist: (B, N).
        count: k, at most N.

    Returns:
        Their indices (B, k) on the CPU, nearest first, the lower index first where distances are
        equal.
    """
    _, indices = dist.topk(count, dim=1, largest=False)
    indices = indices.sort(dim=1).values
    distances, order = dist.gather(1, indices).sort(dim=1, stable=True)
    indices = indices.gather(1, order)
    tied = (dist <= distances[:, -1:]).sum(1) > count  # topk took any of the equally far
    if tied.any():
        indices[tied] = dist[tied].argsort(dim=1, stable=True)[:, :count]
    return indices.cpu()


def expanded_sets(neighbors: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """Lists R*, the expanded k-reciprocal set of every image, from its (N, k + 1) nearest ones.

    The smaller neighborhoods, whose sets are added, are the ``half`` nearest. Returns images and
    members, (E,) each: pairs in ascending order, without duplicates.
    """
    members = _reciprocal(neighbors)  # (N, k + 1)
    smaller = _reciprocal(neighbors[:, :half])  # (N, half)
    pairs = [_expanded(members[rows], smaller, rows) for rows in _row_blocks(len(neighbors))]
    images, expanded = zip(*pairs, strict=True)
    return torch.cat(images), torch.cat(expanded)


_NOBODY = -1


def _reciprocal(neighbors: Tensor) -> Tensor:
    """The neighbors (N, k) that have the image among their own; _NOBODY for the others."""
    parts = []
    for rows in _row_blocks(len(neighbors)):
        images = torch.arange(len(neighbors))[rows, None, None]
        mutual = (neighbors[neighbors[rows]] == images).any(2)
        parts.append(neighbors[rows].masked_fill(~mutual, _NOBODY))
    return torch.cat(parts)


def _expanded(members: Tensor, smaller: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """R* of a block of images from their R (B, k + 1) and everyone's smaller R (N, half)."""
    candidates = smaller[members]  # (B, k + 1, half); nobody's row is dropped by ``accepted``
    present = candidates != _NOBODY
    shared = present & (candidates[..., None] == members[:, None, None, :]).any(3)
    accepted = 3 * shared.sum(2) > 2 * present.sum(2)
    accepted &= members != _NOBODY
    candidates = candidates.masked_fill(~accepted[..., None], _NOBODY)
    union = torch.cat((members, candidates.flatten(1)), dim=1).sort(dim=1).values
    new = union != _NOBODY
    new[:, 1:] &= union[:, 1:] != union[:, :-1]
    row, position = new.nonzero(as_tuple=True)
    return row + rows.start, union[row, position]


def _row_blocks(num_rows: int) -> list[slice]:
    return _blocks(num_rows, _NEIGHBOR_ROWS)


_ROWS = 128  # of the sparse stages: their working set stays in the cache


def rerank_blocks(
    distances: DistanceRows,
    *,
    num_queries: int,
    num_gallery: int,
    k1: int,
    k2: int,
    original_weight: float,
    block_rows: int,
    gallery_neighbors: bool = True,
) -> Iterator[tuple[slice, Tensor]]:
    """Yields re-ranked distances of consecutive queries.

    Args:
        distances: gives rows of the (N, N) squared Euclidean distances; called three times per row.
        num_queries: Q, the first images.
        num_gallery: G, the others.
        k1: size of the reciprocal neighborhood.
        k2: images averaged in the local expansion.
        original_weight: lambda, in [0, 1].
        block_rows: rows asked for at once.
        gallery_neighbors: gallery images are neighbors too; False for the variant above.

    Yields:
        The queries and their (B, G) distances to the gallery, on the CPU.

    Raises:
        ValueError: k1, k2 or lambda is out of range.
    """
    num_all = num_queries + num_gallery
    near = num_all if gallery_neighbors else num_queries  # images that may be neighbors
    check_reranking(k1, k2, original_weight, near)
    expanded, largest = _encode_all(
        distances, num_images=num_all, near=near, k1=k1, k2=k2, block_rows=block_rows
    )
    inverted = _inverted_index(expanded, num_queries)
    for rows in _blocks(num_queries, block_rows):
        original = distances(rows)[:, num_queries:].cpu() / largest[rows, None]
        jaccard = _jaccard(expanded, inverted, rows, num_gallery)
        yield rows, jaccard * (1 - original_weight) + original * original_weight


def jaccard_blocks(
    distances: DistanceRows, *, num_images: int, k1: int, k2: int, block_rows: int
) -> Iterator[tuple[slice, Tensor]]:
    """Yields the Jaccard distances (Eq. 10) of consecutive images to all N of the same set.

    Args:
        distances: gives rows of the (N, N) squared Euclidean distances; called twice per row.
        num_images: N.
        k1: size of the reciprocal neighborhood.
        k2: images averaged in the local expansion.
        block_rows: rows asked for at once, and yielded.

    Yields:
        The images and their (B, N) distances, on the CPU.

    Raises:
        ValueError: k1 or k2 is out of range.
    """
    check_reranking(k1, k2, 0.0, num_images)
    expanded, _ = _encode_all(
        distances, num_images=num_images, near=num_images, k1=k1, k2=k2, block_rows=block_rows
    )
    inverted = _inverted_index(expanded, 0)
    for rows in _blocks(num_images, block_rows):
        yield rows, _jaccard(expanded, inverted, rows, num_images)


def _encode_all(
    distances: DistanceRows, *, num_images: int, near: int, k1: int, k2: int, block_rows: int
) -> tuple["_Rows", Tensor]:
    """Returns V of all images and the largest distance of each, (N,), 1 in place of 0."""
    blocks = _blocks(num_images, block_rows)
    extremes = [_nearest_and_farthest(distances(rows), near, k1 + 1) for rows in blocks]
    neighbors = torch.cat([indices for indices, _ in extremes])  # (N, k1 + 1)
    largest = torch.cat([row_max for _, row_max in extremes])  # (N,)
    largest = torch.where(largest > 0, largest, 1.0)
    images, members = expanded_sets(neighbors, round(k1 / 2) + 1)
    encoding = _encode(distances, blocks, images, members, largest)
    return _local_expansion(encoding, neighbors[:, :k2]), largest


def _blocks(num_rows: int, block_rows: int) -> list[slice]:
    return [slice(s, min(s + block_rows, num_rows)) for s in range(0, num_rows, block_rows)]


def _nearest_and_farthest(dist: Tensor, near: int, count: int) -> tuple[Tensor, Tensor]:
    return nearest_neighbors(dist[:, :near], count), dist.amax(1).cpu()


def rerank(
    dist: Tensor,
    num_queries: int,
    *,
    k1: int,
    k2: int,
    original_weight: float,
    gallery_neighbors: bool = True,
) -> Tensor:
    """Re-ranks (N, N) squared distances in memory, queries first; see :func:`rerank_blocks`.

    Returns:
        Distances (Q, G), on the CPU.
    """
    blocks = rerank_blocks(
        lambda rows: dist[rows],
        num_queries=num_queries,
        num_gallery=len(dist) - num_queries,
        k1=k1,
        k2=k2,
        original_weight=original_weight,
        block_rows=512,
        gallery_neighbors=gallery_neighbors,
    )
    return torch.cat([block for _, block in blocks])


class _Rows(NamedTuple):
    """A sparse matrix row by row: entries of row i are starts[i] : starts[i + 1]."""

    starts: Tensor
    columns: Tensor
    values: Tensor


def check_reranking(k1: int, k2: int, original_weight: float, near: int) -> None:
    """Raises ValueError unless 1 <= k1 < near, 1 <= k2 <= k1 + 1 and 0 <= lambda <= 1."""
    if not 1 <= k1 < near:
        raise ValueError(
            f"K1 of re-ranking is {k1}, expected 1 to {near - 1} (images that may be neighbors, "
            "less one)"
        )
    if not 1 <= k2 <= k1 + 1:
        raise ValueError(f"K2 of re-ranking is {k2}, expected 1 to K1 + 1 = {k1 + 1}")
    if not 0 <= original_weight <= 1:
        raise ValueError(f"LAMBDA of re-ranking is {original_weight}, expected 0 to 1")


def _encode(
    distances: DistanceRows, blocks: list[slice], images: Tensor, members: Tensor, largest: Tensor
) -> Tensor:
    """V before the local expansion: sparse (N, N), each row summing to one."""
    bounds = torch.searchsorted(
        images, torch.tensor([rows.start for rows in blocks] + [len(largest)])
    )
    encoding = []
    for rows, start, end in zip(blocks, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        dist = distances(rows)
        pair = images[start:end] - rows.start, members[start:end]
        encoding.append(dist[tuple(index.to(dist.device) for index in pair)].cpu())
    # NumPy's exp: torch's rounds by the place in the array, which threads decide
    weights = torch.from_numpy(np.exp((-torch.cat(encoding) / largest[images]).numpy()))
    total = torch.zeros_like(largest).index_add_(0, images, weights)
    indices, size = torch.stack((images, members)), (len(largest), len(largest))
    return torch.sparse_coo_tensor(
        indices, weights / total[images], size, is_coalesced=True, check_invariants=True
    )


def _local_expansion(encoding: Tensor, nearest: Tensor) -> _Rows:
    num_all, k2 = nearest.shape
    images = torch.arange(num_all).repeat_interleave(k2)
    mean = torch.sparse_coo_tensor(
        torch.stack((images, nearest.flatten())),
        encoding.values().new_full((num_all * k2,), 1 / k2),
        encoding.shape,
        check_invariants=True,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        expanded = torch.sparse.mm(mean, encoding).coalesce()
    rows, columns = expanded.indices()
    return _Rows(torch.searchsorted(rows, torch.arange(num_all + 1)), columns, expanded.values())


def _inverted_index(encoding: _Rows, num_queries: int) -> _Rows:
    """For every image, the gallery images whose encoding holds it: the transpose of V's gallery."""
    num_all = len(encoding.starts) - 1
    first = int(encoding.starts[num_queries])
    counts = encoding.starts.diff()[num_queries:]
    gallery = torch.arange(num_all - num_queries).repeat_interleave(counts)
    columns, order = encoding.columns[first:].sort(stable=True)
    starts = torch.searchsorted(columns, torch.arange(num_all + 1))
    return _Rows(starts, gallery[order], encoding.values[first:][order])


def _jaccard(encoding: _Rows, inverted: _Rows, queries: slice, num_gallery: int) -> Tensor:
    """Jaccard distances (B, G): only gallery images that share an entry differ from one."""
    parts = []
    for start in range(queries.start, queries.stop, _ROWS):
        stop = min(start + _ROWS, queries.stop)
        minimum = _sum_of_minima(encoding, inverted, start, stop, num_gallery)
        parts.append(1 - minimum / (2 - minimum))  # both encodings sum to one
    return torch.cat(parts)


def _sum_of_minima(
    encoding: _Rows, inverted: _Rows, start: int, stop: int, num_gallery: int
) -> Tensor:
    """Sums over j of min(V_ij, V_gj) for queries start..stop, (B, G)."""
    entries = slice(int(encoding.starts[start]), int(encoding.starts[stop]))
    query = torch.arange(stop - start).repeat_interleave(encoding.starts[start : stop + 1].diff())
    columns, values = encoding.columns[entries], encoding.values[entries]
    lengths = inverted.starts.diff()[columns]
    ends = lengths.cumsum(0)
    shift = inverted.starts[columns] - (ends - lengths)  # from running number to inverted entry
    pairs = torch.arange(int(ends[-1])) + shift.repeat_interleave(lengths)
    minima = torch.minimum(values.repeat_interleave(lengths), inverted.values[pairs])
    cells = (query * num_gallery).repeat_interleave(lengths) + inverted.columns[pairs]
    total = values.new_zeros((stop - start) * num_gallery).index_add_(0, cells, minima)
    return total.view(stop - start, num_gallery)
