"""CMC, average precision and inverse negative penalty of ranked galleries, without sorting them.

Q queries, G gallery images, M the most matches that any query has. Everything follows from the
1-based ranks r_1 < ... < r_n of a query's n matches, and a rank is a count: one plus the gallery
images that are closer. Equal distances are resolved by gallery order, as a stable sort does. Ranks
are integers, and the few floating-point operations on them run on the CPU, so that one distance
matrix gives the same bits on every device.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wrimnet.metrics.exclusion import CameraRule
from wrimnet.metrics.names import CMC_LENGTH, Metric
from wrimnet.metrics.registered import score_registered
from wrimnet.metrics.reranking import nearest_neighbors

# Elements of the distance matrix looked at together: what a core's cache holds, what fills a GPU.
_CHUNK_ELEMENTS = {"cpu": 2**17, "cuda": 2**25}


class QueryScores(NamedTuple):
    """What the ranked list of each query says; every array has Q rows, 0 where there is no match.

    Attributes:
        first_match: (Q,) rank of the first match, counted in images or in identities.
        average_precision: (Q,) mean over the matches of j / r_j.
        inverse_negative_penalty: (Q,) n / r_n.
        num_matches: (Q,) n.
        nearest: (Q, k) columns of the nearest gallery images, -1 where the camera rule leaves less.
        registered: (Q, L) values of registered metrics, in the order in which they were given.
    """

    first_match: np.ndarray
    average_precision: np.ndarray
    inverse_negative_penalty: np.ndarray
    num_matches: np.ndarray
    nearest: np.ndarray
    registered: np.ndarray

    def rows(self, rows: np.ndarray) -> "QueryScores":
        """Returns the scores of some queries."""
        return QueryScores(*(column[rows] for column in self))


@dataclass(frozen=True)
class RankingMetrics:
    """Means over the queries that have a match, as fractions."""

    cmc: np.ndarray  # float32 (20,), share of queries whose first match is among the first k
    mean_average_precision: float  # mAP
    mean_inverse_negative_penalty: float  # mINP
    num_queries: int  # queries asked
    num_skipped: int  # queries without a match, which no mean contains
    registered: dict[str, float] = field(default_factory=dict)  # by name


@dataclass(frozen=True)
class Labels:
    """Identities and cameras of a list of images, (n,) int64 each."""

    pids: Tensor
    camids: Tensor

    def __getitem__(self, rows: slice | Tensor) -> "Labels":
        return Labels(self.pids[rows], self.camids[rows])


def rank_queries(
    dist: Tensor,
    queries: Labels,
    gallery: Labels,
    *,
    rule: CameraRule,
    unique_ids: bool,
    metrics: Mapping[str, Metric] | None = None,
    num_nearest: int = 0,
) -> QueryScores:
    """Scores every query against one gallery.

    Args:
        dist: (Q, G) float32 or float64 distances, smaller is closer.
        queries: labels of the Q queries.
        gallery: labels of the G gallery images.
        rule: which pairs are removed before ranking.
        unique_ids: count ``first_match`` in identities, each at its closest image.
        metrics: registered metrics by name.
        num_nearest: k, how many nearest gallery images are listed, at most G.

    Returns:
        The scores in the order of the queries.

    Raises:
        ValueError: a shape or dtype does not fit, a side is empty, a distance is not finite, or a
            registered metric gives no number in [0, 1].
    """
    _check(dist, queries, gallery)
    groups = _group_by_identity(gallery.pids)
    chunks = []
    step = max(1, _CHUNK_ELEMENTS.get(dist.device.type, 2**17) // dist.shape[1])
    for rows in (slice(start, start + step) for start in range(0, len(dist), step)):
        chunk = queries[rows]
        removed = rule(chunk.pids, chunk.camids, gallery.pids, gallery.camids)
        visible = dist[rows].masked_fill(removed, torch.inf)
        nearest = _nearest(visible, min(num_nearest, dist.shape[1]))
        scores = _score_chunk(visible, chunk.pids, groups, unique_ids, metrics or {})
        chunks.append(scores._replace(nearest=nearest))
    return concatenate_scores(chunks)


def any_match(queries: Labels, gallery: Labels, rule: CameraRule) -> bool:
    """Whether a query's identity is in the gallery, among the images that the rule leaves it."""
    step = max(1, _CHUNK_ELEMENTS["cpu"] // len(gallery.pids))
    for start in range(0, len(queries.pids), step):
        chunk = queries[start : start + step]
        removed = rule(chunk.pids, chunk.camids, gallery.pids, gallery.camids)
        if ((chunk.pids[:, None] == gallery.pids) & ~removed).any():
            return True
    return False


def concatenate_scores(chunks: Iterable[QueryScores]) -> QueryScores:
    """Joins the scores of consecutive queries."""
    return QueryScores(*(np.concatenate(column) for column in zip(*chunks, strict=True)))


def summarize_scores(scores: QueryScores, names: Iterable[str] = ()) -> RankingMetrics:
    """Averages over the queries that have a match.

    The curve is a float32 sum of indicators divided by the number of such queries. It has 20
    values however small the gallery is: beyond the last rank it keeps its last value. ``names`` are
    those of the registered metrics.

    Raises:
        ValueError: no query has a match.
    """
    valid = scores.first_match > 0
    num_valid = int(valid.sum())
    if num_valid == 0:
        raise ValueError(
            f"none of the {valid.size} queries has a match in the gallery; "
            "check the identities of both sides and the camera rule"
        )
    hits = scores.first_match[valid][:, None] <= np.arange(1, CMC_LENGTH + 1)
    return RankingMetrics(
        cmc=hits.sum(axis=0).astype(np.float32) / np.float32(num_valid),
        mean_average_precision=float(scores.average_precision[valid].mean()),
        mean_inverse_negative_penalty=float(scores.inverse_negative_penalty[valid].mean()),
        num_queries=valid.size,
        num_skipped=valid.size - num_valid,
        registered={
            name: float(values[valid].mean())
            for name, values in zip(names, scores.registered.T, strict=True)
        },
    )


@dataclass(frozen=True)
class _GalleryGroups:
    """The gallery's columns grouped by identity (I identities)."""

    pids: Tensor  # (I,) ascending
    columns: Tensor  # (G,) columns of identity 0 first, then of identity 1, ...
    starts: Tensor  # (I,) where each identity begins in ``columns``
    counts: Tensor  # (I,)
    identity_of_column: Tensor  # (G,) index into ``pids``

    def matches(self, query_pids: Tensor) -> tuple[Tensor, Tensor]:
        """Columns of each query's identity, (Q, M), and which of those entries exist, (Q, M)."""
        slot = torch.searchsorted(self.pids, query_pids).clamp_(max=len(self.pids) - 1)
        counts = self.counts[slot] * (self.pids[slot] == query_pids)
        offsets = torch.arange(int(counts.max()), device=counts.device)
        exists = offsets < counts[:, None]
        return self.columns[(self.starts[slot][:, None] + offsets) * exists], exists


def _group_by_identity(gallery_pids: Tensor) -> _GalleryGroups:
    pids, identity, counts = gallery_pids.unique(return_inverse=True, return_counts=True)
    columns = identity.argsort(stable=True)
    return _GalleryGroups(pids, columns, counts.cumsum(0) - counts, counts, identity)


def _score_chunk(
    dist: Tensor,
    query_pids: Tensor,
    gallery: _GalleryGroups,
    unique_ids: bool,
    metrics: Mapping[str, Metric],
) -> QueryScores:
    columns, exists = gallery.matches(query_pids)
    ranks, tied = _match_ranks(dist, columns, exists)
    if tied.any():  # a match and another image are equally far: put stable ranks for distances
        dist = dist.clone()
        dist[tied] = _stable_ranks(dist[tied]).to(dist.dtype)
        ranks[tied] = _match_ranks(dist[tied], columns[tied], exists[tied])[0]
    if unique_ids and exists.any():
        first = _identity_rank(dist, columns, ranks, gallery)
    else:
        first = torch.cat((ranks, ranks.new_full((len(ranks), 1), _NO_MATCH)), dim=1).amin(1)
    scores = _scores_from_ranks(ranks.cpu().numpy(), first.cpu().numpy())
    if not metrics:
        return scores
    sizes = (dist < torch.inf).sum(1).cpu().numpy()
    return scores._replace(registered=score_registered(metrics, ranks.cpu().numpy(), sizes))


def _nearest(visible: Tensor, count: int) -> np.ndarray:
    """Columns (Q, count) of the nearest images, -1 for those that the camera rule removes."""
    if not count:
        return np.empty((len(visible), 0), np.int64)
    columns = nearest_neighbors(visible, count)
    removed = visible.cpu().gather(1, columns) == torch.inf
    return columns.masked_fill(removed, -1).numpy()


_NO_MATCH = torch.iinfo(torch.int32).max


def _match_ranks(dist: Tensor, columns: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
    """Ranks (Q, M) of the matches, _NO_MATCH where there is none, and which rows hold a tie."""
    distances = dist.gather(1, columns).masked_fill_(~exists, torch.inf)
    ranks = torch.full(distances.shape, _NO_MATCH, dtype=torch.int32, device=dist.device)
    tied = torch.zeros(len(dist), dtype=torch.bool, device=dist.device)
    for m in range(distances.shape[1]):
        seen = distances[:, m] < torch.inf
        closer = (dist < distances[:, m, None]).sum(1, dtype=torch.int32)
        within = (dist <= distances[:, m, None]).sum(1, dtype=torch.int32)
        ranks[:, m] = torch.where(seen, closer + 1, _NO_MATCH)
        tied |= seen & (within - closer > 1)
    return ranks, tied


def _stable_ranks(dist: Tensor) -> Tensor:
    """Position of every column when the row is sorted; removed pairs (infinite) stay infinite."""
    order = dist.argsort(dim=1, stable=True)
    positions = torch.arange(dist.shape[1], device=dist.device, dtype=dist.dtype)
    ranks = torch.empty_like(dist).scatter_(1, order, positions.expand_as(dist))
    return ranks.masked_fill_(dist == torch.inf, torch.inf)


def _identity_rank(dist: Tensor, columns: Tensor, ranks: Tensor, gallery: _GalleryGroups) -> Tensor:
    """One plus the identities whose closest image is closer than the query's own closest, (Q,)."""
    closest = dist.new_full((len(dist), len(gallery.pids)), torch.inf)
    closest.scatter_reduce_(1, gallery.identity_of_column.expand_as(dist), dist, "amin")
    distance = dist.gather(1, columns.gather(1, ranks.argmin(1, keepdim=True)))
    return (closest < distance).sum(1, dtype=torch.int32) + 1


def _scores_from_ranks(ranks: np.ndarray, first: np.ndarray) -> QueryScores:
    """Average precision and penalty from the ranks (Q, M) of the matches."""
    ordered = np.sort(ranks, axis=1).T  # (M, Q)
    exists = ordered < _NO_MATCH
    num_matches = exists.sum(axis=0)
    divisor = np.maximum(num_matches, 1)
    nth = np.arange(1, len(ordered) + 1)[:, None]
    precision = _sum_in_order(np.where(exists, nth / ordered, 0.0))
    last = np.where(exists, ordered, 1).max(axis=0, initial=1)
    return QueryScores(
        first_match=np.where(num_matches > 0, first, 0).astype(np.int64),
        average_precision=precision / divisor,
        inverse_negative_penalty=num_matches / last,
        num_matches=num_matches,
        nearest=np.empty((len(ranks), 0), np.int64),
        registered=np.empty((len(ranks), 0)),
    )


def _sum_in_order(terms: np.ndarray) -> np.ndarray:
    """Sums (M, Q) over M from the first to the last, so that padding and chunks change no bit."""
    return np.cumsum(np.vstack([np.zeros((1, terms.shape[1])), terms]), 0)[-1]


def _check(dist: Tensor, queries: Labels, gallery: Labels) -> None:
    for side, labels in (("queries", queries), ("gallery", gallery)):
        for name, values in (("pids", labels.pids), ("camids", labels.camids)):
            if values.dtype != torch.int64 or values.shape != (len(labels.pids),):
                raise ValueError(
                    f"{name} of the {side}: {values.dtype} {tuple(values.shape)}, "
                    f"expected int64 ({len(labels.pids)},)"
                )
    expected = (len(queries.pids), len(gallery.pids))
    if dist.shape != expected:
        raise ValueError(
            f"dist has shape {tuple(dist.shape)}, expected {expected}: one row per query, "
            "one column per gallery image"
        )
    if 0 in expected:
        raise ValueError(f"{expected[0]} queries and {expected[1]} gallery images: a side is empty")
    if dist.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dist has dtype {dist.dtype}, expected float32 or float64")
    if not torch.stack(dist.aminmax()).isfinite().all():
        row, column = (~dist.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"dist[{row}, {column}] is {dist[row, column].item()}; every distance must be finite: "
            "look for NaN in the embeddings"
        )
