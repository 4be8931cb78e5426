"""Nearest and k-reciprocal neighbours of every image among N, as index arrays."""

import torch
from torch import Tensor

_ROWS = 512


def nearest_neighbors(dist: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Finds the nearest columns of each row in stable order, without sorting the row.

    Args:
        dist: (B, N).
        count: k, at most N.

    Returns:
        Their indices (B, k), nearest first, the lower index first where distances are equal, and
        the largest distance of each row (B,), both on the CPU.
    """
    _, indices = dist.topk(count, dim=1, largest=False)
    indices = indices.sort(dim=1).values
    own, order = dist.gather(1, indices).sort(dim=1, stable=True)
    indices = indices.gather(1, order)
    tied = (dist <= own[:, -1:]).sum(1) > count  # topk took any of the equally far
    if tied.any():
        indices[tied] = dist[tied].argsort(dim=1, stable=True)[:, :count]
    return indices.cpu(), dist.amax(1).cpu()


def expanded_sets(neighbors: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """Lists R*, the expanded k-reciprocal set of every image.

    Args:
        neighbors: (N, k + 1) nearest images, nearest first.
        half: how many of them make up the smaller neighbourhood whose sets are added.

    Returns:
        Images and members, (E,) each: pairs in ascending order, without duplicates.
    """
    members = _keep(neighbors, reciprocal(neighbors))  # (N, k + 1)
    smaller = _keep(neighbors[:, :half], reciprocal(neighbors[:, :half]))  # (N, half)
    pairs = [_expanded(members[rows], smaller, rows) for rows in _blocks(len(neighbors))]
    images, found = zip(*pairs, strict=True)
    return torch.cat(images), torch.cat(found)


def reciprocal(neighbors: Tensor) -> Tensor:
    """Says which neighbours have the image among their own, (N, k), from indices (N, k)."""
    parts = []
    for rows in _blocks(len(neighbors)):
        images = torch.arange(len(neighbors))[rows, None, None]
        parts.append((neighbors[neighbors[rows]] == images).any(2))
    return torch.cat(parts)


_NOBODY = -1


def _keep(neighbors: Tensor, mask: Tensor) -> Tensor:
    return neighbors.masked_fill(~mask, _NOBODY)


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


def _blocks(num_rows: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, num_rows, _ROWS)]
