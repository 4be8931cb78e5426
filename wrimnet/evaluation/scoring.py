"""Scores of every trial of a protocol from one set of embeddings, within bounded memory.

Queries are taken in blocks. A block's similarities to every image that any trial searches are
computed once, and each trial reads its columns. The dot products are float64 sums of the float32
embeddings: no device's matrix precision enters, and features written to a file give the same
numbers as the model that wrote them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.items import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.evaluation.galleries import Trial
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.metrics.query_expansion import expand_queries
from wrimnet.metrics.ranking import (
    Labels,
    QueryScores,
    RankingMetrics,
    concatenate_scores,
    rank_queries,
    summarise_scores,
)
from wrimnet.metrics.reranking import DistanceRows, rerank_blocks

_BYTES_PER_DISTANCE = 32  # float64 similarities, a trial's copy of them, its masks
_MOST_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class QueryExpansion:
    """Average query expansion: neighbours taken, exponent of their weights, rounds."""

    neighbors: int
    alpha: float
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Reranking:
    """k-reciprocal re-ranking: k1, k2, and lambda, the weight of the original distance."""

    k1: int
    k2: int
    original_weight: float


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How similarities are computed and what is done to them before ranking."""

    memory_gb: float = 4.0  # largest working set in 10^9 bytes, beside the embeddings themselves
    device: str = "cpu"
    expansion: QueryExpansion | None = None
    reranking: Reranking | None = None

    def __post_init__(self) -> None:
        if not self.memory_gb > 0:
            raise ValueError(f"memory_gb is {self.memory_gb}, expected more than 0 (10^9 bytes)")

    def describe(self) -> dict[str, str | None]:
        """Returns what changes the similarities, in words, for the description of results."""
        aqe, rerank = self.expansion, self.reranking
        return {
            "reranking": rerank
            and f"k1={rerank.k1} k2={rerank.k2} lambda={rerank.original_weight}",
            "query_expansion": aqe and f"k={aqe.neighbors} alpha={aqe.alpha} rounds={aqe.rounds}",
        }  # fmt: skip


def score_trials(
    embeddings: np.ndarray,
    items: Sequence[ImageItem],
    trials: Sequence[Trial],
    protocol: Protocol,
    scoring: Scoring,
) -> list[RankingMetrics]:
    """Scores each trial of a protocol.

    Args:
        embeddings: (N, D) floating, one row per item; similarity is their dot product as given.
        items: the N test images.
        trials: who queries and who is searched.
        protocol: its camera rule, and whether CMC counts identities.
        scoring: options.

    Raises:
        ValueError: an embedding is not finite or the shapes do not fit; a trial without a match.
    """
    _check(embeddings, items)
    tensor = torch.from_numpy(np.ascontiguousarray(embeddings)).to(scoring.device)
    labels = item_labels(items, scoring.device)
    changed = scoring.expansion is not None or scoring.reranking is not None
    blocks, rule = _changed_blocks if changed else _plain_blocks, camera_rule(protocol.camera_rule)
    scores: list[list[QueryScores]] = [[] for _ in trials]
    for number, query_rows, gallery_rows, dist in blocks(tensor, trials, scoring):
        queries, gallery = labels[query_rows], labels[gallery_rows]
        scores[number].append(
            rank_queries(dist, queries, gallery, rule=rule, unique_ids=protocol.unique_ids)
        )
    return [summarise_scores(concatenate_scores(chunks)) for chunks in scores]


def item_labels(items: Sequence[ImageItem], device: str = "cpu") -> Labels:
    """Identities and cameras of N items, (N,) each."""
    pids = torch.tensor([item.pid for item in items], dtype=torch.int64, device=device)
    camids = torch.tensor([item.camid for item in items], dtype=torch.int64, device=device)
    return Labels(pids, camids)


_Block = tuple[int, Tensor, Tensor, Tensor]  # trial, query rows, gallery rows, distances


def _plain_blocks(
    embeddings: Tensor, trials: Sequence[Trial], scoring: Scoring
) -> Iterator[_Block]:
    """One similarity block for all trials; a trial takes its rows and columns of it."""
    query_rows = np.unique(np.concatenate([trial.query_rows for trial in trials]))
    gallery_rows = np.unique(np.concatenate([trial.gallery_rows for trial in trials]))
    gallery = embeddings[_on(embeddings, gallery_rows)]
    step = _rows_per_block(len(gallery_rows), scoring.memory_gb)
    for start in range(0, len(query_rows), step):
        block_rows = query_rows[start : start + step]
        dist = _negative_similarity(embeddings[_on(embeddings, block_rows)], gallery, scoring)
        for number, trial in enumerate(trials):
            rows = np.flatnonzero(np.isin(block_rows, trial.query_rows))
            if rows.size:
                columns = np.searchsorted(gallery_rows, trial.gallery_rows)
                chosen = (_on(embeddings, of) for of in (block_rows[rows], trial.gallery_rows))
                yield number, *chosen, _take(dist, rows, columns)


def _changed_blocks(
    embeddings: Tensor, trials: Sequence[Trial], scoring: Scoring
) -> Iterator[_Block]:
    """Expansion and re-ranking depend on the gallery, so each trial has its own distances."""
    for number, trial in enumerate(trials):
        query_rows = _on(embeddings, trial.query_rows)
        gallery_rows = _on(embeddings, trial.gallery_rows)
        queries, gallery = embeddings[query_rows].double(), embeddings[gallery_rows].double()
        step = _rows_per_block(len(queries) + len(gallery), scoring.memory_gb)
        if scoring.expansion is not None:
            options = asdict(scoring.expansion)
            queries, gallery = expand_queries(queries, gallery, **options, block_rows=step)
        for rows, dist in _distance_blocks(queries, gallery, step, scoring):
            yield number, query_rows[rows], gallery_rows, dist


def _distance_blocks(
    queries: Tensor, gallery: Tensor, step: int, scoring: Scoring
) -> Iterator[tuple[slice, Tensor]]:
    if scoring.reranking is not None:
        for rows, dist in rerank_blocks(
            _squared_distances(queries, gallery, scoring),
            num_queries=len(queries),
            num_gallery=len(gallery),
            **asdict(scoring.reranking),
            block_rows=step,
        ):
            yield rows, dist.to(queries.device)
        return
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        yield rows, _negative_similarity(queries[rows], gallery, scoring)


def _squared_distances(queries: Tensor, gallery: Tensor, scoring: Scoring) -> DistanceRows:
    """Rows of the squared distances of all to all, (N, N): held where they fit, else recomputed."""
    every = torch.cat((queries, gallery))
    squares = torch.linalg.vecdot(every, every)

    def rows(block: slice) -> Tensor:
        dist = _negative_similarity(every[block], every, scoring)
        return dist.mul_(2).add_(squares[block, None]).add_(squares)

    if 8 * len(every) ** 2 > scoring.memory_gb * 1e9 / 2:
        return rows
    held = rows(slice(0, len(every)))
    return lambda block: held[block]


def _negative_similarity(queries: Tensor, gallery: Tensor, scoring: Scoring) -> Tensor:
    """Distances (Q, G) = -queries gallery^T in float64, the gallery widened piece by piece."""
    left = -queries.double()
    dist = left.new_empty(len(queries), len(gallery))
    step = max(1, int(scoring.memory_gb * 1e9 / 4 / (8 * gallery.shape[1])))
    for start in range(0, len(gallery), step):
        columns = slice(start, start + step)
        dist[:, columns] = left @ gallery[columns].double().T
    return dist


def _rows_per_block(num_columns: int, memory_gb: float) -> int:
    rows = int(memory_gb * 1e9 / 2 / (_BYTES_PER_DISTANCE * num_columns))
    return min(_MOST_ROWS, max(1, rows))


def _on(tensor: Tensor, rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows).to(tensor.device)


def _take(dist: Tensor, rows: np.ndarray, columns: np.ndarray) -> Tensor:
    """Some rows and columns; the columns first, which are fewer."""
    if len(columns) != dist.shape[1] or (np.diff(columns) != 1).any():
        dist = dist.index_select(1, _on(dist, columns))
    return dist if len(rows) == len(dist) else dist[_on(dist, rows)]


def _check(embeddings: np.ndarray, items: Sequence[ImageItem]) -> None:
    if embeddings.ndim != 2 or len(embeddings) != len(items) or embeddings.shape[1] == 0:
        raise ValueError(
            f"embeddings have shape {embeddings.shape}, expected ({len(items)}, D): one row per "
            "image"
        )
    if embeddings.dtype not in (np.float32, np.float64):
        raise ValueError(f"embeddings have dtype {embeddings.dtype}, expected float32 or float64")
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise ValueError(
            f"the embedding of {items[row].relpath} (row {row}) holds NaN or infinity, as do "
            f"{int((~finite).sum())} of {len(items)} in all"
        )
