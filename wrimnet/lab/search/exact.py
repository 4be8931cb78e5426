"""Exact search: every embedding is compared, block by block, in bounded memory."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BLOCK_ROWS = 32768
_BLOCK_SIMILARITIES = 2**23  # of all queries with the rows of a block: some 100 MB with all masks


class Neighbors(NamedTuple):
    """The k nearest of each query, nearest first: similarity (Q, k) float32, rows (Q, k) int64."""

    similarity: np.ndarray
    rows: np.ndarray


def find_nearest(
    shards: Sequence[np.ndarray],
    queries: np.ndarray,
    top_k: int,
    *,
    device: str = "cpu",
    block_rows: int = BLOCK_ROWS,
) -> Neighbors:
    """Compares queries with every row by dot products in float32; ties go to the lower row.

    Args:
        shards: arrays (n, D), float32 or float16, in memory or mapped from disk.
        queries: (Q, D) float32, finite.
        top_k: k, at least 1; fewer rows give all of them.
        device: where the products are computed.
        block_rows: rows compared at once.
    """
    query_rows = torch.from_numpy(queries).to(device)
    best = query_rows.new_empty(len(queries), 0)
    rows = torch.empty(len(queries), 0, dtype=torch.int64, device=device)
    step = max(1, min(block_rows, _BLOCK_SIMILARITIES // len(queries)))
    for start, block in _blocks(shards, step):
        similarity = query_rows @ block.to(device, torch.float32).T
        here = torch.arange(start, start + len(block), device=device)
        best = torch.cat((best, similarity), dim=1)
        rows = torch.cat((rows, here.expand(len(queries), -1)), dim=1)
        best, rows = _keep_best(best, rows, top_k)
    return Neighbors(best.cpu().numpy(), rows.cpu().numpy())


def _blocks(shards: Sequence[np.ndarray], step: int) -> Iterator[tuple[int, Tensor]]:
    start = 0
    for shard in shards:
        for begin in range(0, len(shard), step):
            block = np.array(shard[begin : begin + step])  # off the disk, writable
            yield start + begin, torch.from_numpy(block)
        start += len(shard)


def _keep_best(similarity: Tensor, rows: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each line, descending; equal ones in the order of their rows."""
    count = min(top_k, similarity.shape[1])
    least = similarity.topk(count, dim=1).values[:, -1:]
    above, level = similarity > least, similarity == least
    room = count - above.sum(1, keepdim=True)
    chosen = above | (level & (level.cumsum(1) <= room))  # exactly `count` in each line
    similarity = similarity[chosen].view(-1, count)
    rows = rows[chosen].view(-1, count)
    order = similarity.argsort(dim=1, descending=True, stable=True)
    return similarity.gather(1, order), rows.gather(1, order)
