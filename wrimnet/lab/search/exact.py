"""Exact search: every embedding is compared, block by block, in bounded memory."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

BLOCK_ROWS = 32768
_BLOCK_SIMILARITIES = 2**23  # of all queries with the rows of a block: some 100 MB with all masks


class Neighbors(NamedTuple):
    """The k nearest of each query, nearest first: similarity (Q, k) float32, rows (Q, k) int64."""

    similarity: np.ndarray
    rows: np.ndarray


class Searcher(Protocol):
    """What finds the nearest embeddings of an index."""

    def search(self, queries: np.ndarray, top_k: int) -> Neighbors:
        """Returns the ``top_k`` most similar rows of each query (Q, D)."""


class ExactSearcher:
    """Compares queries with every row by dot products in float32; ties go to the lower row.

    Args:
        shards: arrays (n, D), float32 or float16, in memory or mapped from disk.
        device: where the products are computed.
        block_rows: rows compared at once.
    """

    def __init__(
        self, shards: Sequence[np.ndarray], *, device: str = "cpu", block_rows: int = BLOCK_ROWS
    ) -> None:
        self._shards = shards
        self._device = device
        self._block_rows = block_rows

    def search(self, queries: np.ndarray, top_k: int) -> Neighbors:
        """Finds the nearest rows.

        Args:
            queries: (Q, D) float32.
            top_k: k; an index with fewer rows gives all of them.

        Raises:
            ValueError: the queries do not fit, or k < 1.
        """
        check_queries(queries, self._shards[0].shape[1], top_k)
        wanted = torch.from_numpy(queries).to(self._device)
        best = wanted.new_empty(len(queries), 0)
        rows = torch.empty(len(queries), 0, dtype=torch.int64, device=self._device)
        for start, block in self._blocks(len(queries)):
            similarity = wanted @ block.to(self._device, torch.float32).T
            here = torch.arange(start, start + len(block), device=self._device)
            best = torch.cat((best, similarity), dim=1)
            rows = torch.cat((rows, here.expand(len(queries), -1)), dim=1)
            best, rows = _keep_best(best, rows, top_k)
        return Neighbors(best.cpu().numpy(), rows.cpu().numpy())

    def _blocks(self, num_queries: int) -> Iterator[tuple[int, Tensor]]:
        start, step = 0, max(1, min(self._block_rows, _BLOCK_SIMILARITIES // num_queries))
        for shard in self._shards:
            for begin in range(0, len(shard), step):
                block = np.array(shard[begin : begin + step])  # off the disk, writable
                yield start + begin, torch.from_numpy(block)
            start += len(shard)


def check_queries(queries: np.ndarray, dim: int, top_k: int) -> None:
    """Raises ValueError unless ``queries`` is (Q, dim) float32, finite, and ``top_k`` >= 1."""
    if queries.ndim != 2 or queries.shape[1] != dim or queries.dtype != np.float32:
        raise ValueError(
            f"queries are {queries.dtype} {queries.shape}, expected float32 (Q, {dim})"
        )
    if not np.isfinite(queries).all():
        raise ValueError("a query holds NaN or infinity")
    if top_k < 1:
        raise ValueError(f"top_k is {top_k}, expected at least 1")


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
