"""Scores of every trial of a protocol from one set of embeddings, within bounded memory.

Queries are taken in blocks. A block's similarities to every image that any trial searches are
computed once, and each trial reads its columns. The dot products are float64 sums of the float32
embeddings: no device's matrix precision enters, and features written to a file give the same
numbers as the model that wrote them. Equal embeddings tie (:mod:`wrimnet.metrics.distances`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.evaluation.galleries import Trial, item_labels
from wrimnet.metrics.distances import TILE_ROWS, all_to_all, distinct_rows, negative_products
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.metrics.names import Metric
from wrimnet.metrics.query_expansion import expand_embeddings
from wrimnet.metrics.ranking import (
    QueryScores,
    RankingMetrics,
    concatenate_scores,
    rank_queries,
    summarize_scores,
)
from wrimnet.metrics.reranking import check_reranking, rerank_blocks

_BYTES_PER_DISTANCE = 32  # float64 similarities, a trial's copy of them, its masks
_MOST_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class QueryExpansion:
    """Average query expansion: neighbors taken, exponent of their weights, rounds."""

    neighbors: int
    alpha: float
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Reranking:
    """k-reciprocal re-ranking: k1, k2, and lambda, the weight of the original distance.

    ``gallery_neighbors``: gallery images are neighbors too, as in the paper; else queries alone.
    """

    k1: int
    k2: int
    original_weight: float
    gallery_neighbors: bool = True

    def check(self, num_queries: int, num_gallery: int) -> None:
        """Raises ValueError if its numbers do not fit so many queries and gallery images."""
        near = num_queries + num_gallery * self.gallery_neighbors
        check_reranking(self.k1, self.k2, self.original_weight, near)

    def __str__(self) -> str:
        near = "queries+gallery" if self.gallery_neighbors else "queries"
        return f"k1={self.k1} k2={self.k2} lambda={self.original_weight} neighbors={near}"


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

    def check(self, num_queries: int, num_gallery: int) -> None:
        """Raises ValueError if re-ranking is not set for so many queries and gallery images."""
        if self.reranking is not None:
            self.reranking.check(num_queries, num_gallery)

    def describe(self) -> dict[str, str | None]:
        """Returns what changes the similarities, in words, for the description of results."""
        aqe = self.expansion
        return {
            "reranking": str(self.reranking) if self.reranking else None,
            "query_expansion": f"k={aqe.neighbors} alpha={aqe.alpha} rounds={aqe.rounds}"
            if aqe
            else None,
        }


def score_trials(
    embeddings: np.ndarray,
    items: Sequence[ImageItem],
    trials: Sequence[Trial],
    protocol: Protocol,
    scoring: Scoring,
    metrics: Mapping[str, Metric] | None = None,
) -> list[RankingMetrics]:
    """Scores each trial of a protocol on embeddings (N, D), one row per item.

    Similarity is their dot product as given; ``metrics`` are registered ones by name. ValueError if
    an embedding is not finite, the shapes do not fit, or a trial has no match.
    """
    ranked = rank_trials(embeddings, items, trials, protocol, scoring, metrics=metrics)
    return [summarize_scores(scores, metrics or ()) for scores in ranked]


def rank_trials(
    embeddings: np.ndarray,
    items: Sequence[ImageItem],
    trials: Sequence[Trial],
    protocol: Protocol,
    scoring: Scoring,
    *,
    metrics: Mapping[str, Metric] | None = None,
    num_nearest: int = 0,
) -> list[QueryScores]:
    """Scores the queries of each trial, in their order; see :func:`score_trials`.

    ``nearest`` of the scores, (Q, num_nearest), are places in the trial's gallery.
    """
    _check(embeddings, items)
    tensor = torch.from_numpy(np.ascontiguousarray(embeddings)).to(scoring.device)
    labels = item_labels(items, scoring.device)
    changed = scoring.expansion is not None or scoring.reranking is not None
    blocks = _changed_blocks if changed else _plain_blocks
    options: dict[str, Any] = {
        "rule": camera_rule(protocol.camera_rule),
        "unique_ids": protocol.unique_ids,
        "metrics": metrics,
        "num_nearest": num_nearest,
    }
    numbers: list[list[np.ndarray]] = [[] for _ in trials]
    scores: list[list[QueryScores]] = [[] for _ in trials]
    for trial, queries, dist in blocks(tensor, trials, scoring):
        rows = (trials[trial].query_rows[queries], trials[trial].gallery_rows)
        query_labels, gallery = (labels[torch.from_numpy(of).to(scoring.device)] for of in rows)
        numbers[trial].append(queries)
        scores[trial].append(rank_queries(dist, query_labels, gallery, **options))
    return [_in_order(*of_trial) for of_trial in zip(numbers, scores, strict=True)]


def _in_order(numbers: list[np.ndarray], chunks: list[QueryScores]) -> QueryScores:
    """Scores in the order of the trial's queries, however they were dealt out to blocks."""
    return concatenate_scores(chunks).rows(np.argsort(np.concatenate(numbers)))


_Block = tuple[int, np.ndarray, Tensor]  # trial, numbers of its queries, distances (Q, G)


def _plain_blocks(
    embeddings: Tensor, trials: Sequence[Trial], scoring: Scoring
) -> Iterator[_Block]:
    """One block of distances of distinct embeddings for all trials; each looks up its own."""
    queries, query_place = _distinct(embeddings, [trial.query_rows for trial in trials])
    gallery, gallery_place = _distinct(embeddings, [trial.gallery_rows for trial in trials])
    step = max(TILE_ROWS, _rows_per_block(len(gallery), scoring) // TILE_ROWS * TILE_ROWS)
    for start in range(0, len(queries), step):
        dist = negative_products(queries[start : start + step], gallery)
        for number, trial in enumerate(trials):
            place = query_place[trial.query_rows] - start
            inside = np.argsort(place, kind="stable")
            inside = inside[(place[inside] >= 0) & (place[inside] < step)]
            for chosen in np.split(inside, range(step, len(inside), step)):
                if chosen.size:
                    positions = place[chosen], gallery_place[trial.gallery_rows]
                    yield number, chosen, _looked_up(dist, *positions)


def _distinct(embeddings: Tensor, rows: list[np.ndarray]) -> tuple[Tensor, np.ndarray]:
    """Distinct embeddings of these rows, (U, D), and the place of each row's among them, (N,)."""
    used = np.unique(np.concatenate(rows))
    first, place = distinct_rows(embeddings[torch.from_numpy(used)].cpu().numpy())
    place_of_row = np.full(len(embeddings), -1)
    place_of_row[used] = place
    return embeddings[torch.from_numpy(used[first]).to(embeddings.device)], place_of_row


def _looked_up(dist: Tensor, rows: np.ndarray, columns: np.ndarray) -> Tensor:
    dist = dist.index_select(1, torch.from_numpy(columns).to(dist.device))
    every = len(rows) == len(dist) and (np.diff(rows) == 1).all()
    return dist if every else dist.index_select(0, torch.from_numpy(rows).to(dist.device))


def _changed_blocks(
    embeddings: Tensor, trials: Sequence[Trial], scoring: Scoring
) -> Iterator[_Block]:
    """Expansion and re-ranking depend on the gallery, so each trial has its own distances."""
    for number, trial in enumerate(trials):
        rows = torch.from_numpy(np.concatenate([trial.query_rows, trial.gallery_rows]))
        images = embeddings[rows.to(embeddings.device)].double()
        step, num_queries = _rows_per_block(len(images), scoring), len(trial.query_rows)
        if scoring.expansion is not None:
            options = {**asdict(scoring.expansion), "memory_gb": scoring.memory_gb / 2}
            images = expand_embeddings(images, **options, block_rows=step)
        for queries, dist in _distance_blocks(images, num_queries, step, scoring):
            yield number, np.arange(queries.start, queries.stop), dist


def _distance_blocks(
    images: Tensor, num_queries: int, step: int, scoring: Scoring
) -> Iterator[tuple[slice, Tensor]]:
    """Distances (B, G) of blocks of queries, the first of the images (N, D), to the others."""
    products = all_to_all(images, scoring.memory_gb / 2)
    if scoring.reranking is None:
        for start in range(0, num_queries, step):
            queries = slice(start, min(start + step, num_queries))
            yield queries, products(queries)[:, num_queries:]
        return
    wide = images.cpu().numpy()
    squares = torch.from_numpy((wide * wide).sum(1)).to(images.device)
    for queries, dist in rerank_blocks(
        lambda block: 2 * products(block) + squares[block, None] + squares,
        num_queries=num_queries,
        num_gallery=len(images) - num_queries,
        block_rows=step,
        **asdict(scoring.reranking),
    ):
        yield queries, dist.to(images.device)


def _rows_per_block(num_columns: int, scoring: Scoring) -> int:
    rows = int(scoring.memory_gb * 1e9 / 2 / (_BYTES_PER_DISTANCE * num_columns))
    return min(_MOST_ROWS, max(1, rows))


def _check(embeddings: np.ndarray, items: Sequence[ImageItem]) -> None:
    if embeddings.ndim != 2 or len(embeddings) != len(items) or embeddings.shape[1] == 0:
        raise ValueError(
            f"embeddings have shape {embeddings.shape}, expected ({len(items)}, D): one row per "
            "image"
        )
    if embeddings.dtype not in (np.float32, np.float64):
        raise ValueError(f"embeddings have dtype {embeddings.dtype}, expected float32 or float64")
    _refuse(~np.isfinite(embeddings).all(axis=1), "NaN or infinity", items)
    if embeddings.dtype == np.float64:
        squares = np.einsum("nd,nd->n", embeddings, embeddings)
        lost = (squares < np.finfo(np.float64).tiny) & embeddings.any(axis=1)
        too_far = "values whose squares float64 cannot hold (normalize them)"
        _refuse(lost | ~np.isfinite(squares), too_far, items)


def _refuse(rows: np.ndarray, what: str, items: Sequence[ImageItem]) -> None:
    """Raises ValueError for the embeddings of items that the mask (N,) marks, if any."""
    if rows.any():
        row = int(np.flatnonzero(rows)[0])
        raise ValueError(
            f"the embedding of {items[row].relpath} (row {row}) holds {what}, as do "
            f"{int(rows.sum())} of {len(items)} in all"
        )
