"""Ranking and re-ranking timed beside literal forms, on the same matrices in one run.

One thread, and CPU seconds of this process: on a machine that is busy with other things the clock
on the wall would measure them too. The forms take turns, so that a slow minute meets all of them.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from wrimnet.data.protocols import find_protocol
from wrimnet.data.randomness import generator
from wrimnet.lab.benchmarks.timing import one_thread
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.metrics.ranking import Labels, rank_queries, summarise_scores
from wrimnet.metrics.reranking import rerank

Literal = Callable[..., Any]
OURS = "ours"


class Size(NamedTuple):
    """Size of a test set: its protocol, Q, G, identities and cameras of either side."""

    protocol: str
    num_queries: int
    num_gallery: int
    num_ids: int
    query_cameras: tuple[int, ...]
    gallery_cameras: tuple[int, ...]


SIZES = (
    Size("sysu_all_single", 3803, 301, 96, (3, 6), (1, 2, 4, 5)),
    Size("regdb_v2t", 2060, 2060, 206, (1,), (2,)),
    Size("llcm_ir2vis", 7166, 2000, 351, (1, 2, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 5, 6, 7, 8, 9)),
)
RERANKED = ("sysu_all_single", "regdb_v2t")  # dense matrices of LLCM would take 5 GB
RERANKING = {"k1": 20, "k2": 6, "original_weight": 0.3}


@dataclass(frozen=True, kw_only=True)
class Timing:
    """CPU seconds of each form on one matrix.

    Attributes:
        what: "ranking" or "re-ranking".
        size: protocol and matrix.
        seconds: one value per repetition for each form, ours among them.
        difference: largest difference between our result and a literal one.
    """

    what: str
    size: str
    seconds: dict[str, list[float]]
    difference: float

    def ratio(self, form: str) -> float:
        """How many times longer a form takes than ours, by the medians."""
        return statistics.median(self.seconds[form]) / statistics.median(self.seconds[OURS])

    def numbers(self) -> dict[str, Any]:
        """Everything measured, for files."""
        ratios = {form: self.ratio(form) for form in self.seconds if form != OURS}
        return {**asdict(self), "ratios": ratios}


def benchmark_evaluation(
    ranking_forms: Mapping[str, Literal],
    reranking_forms: Mapping[str, Literal],
    *,
    sizes: tuple[Size, ...] = SIZES,
    repeats: int = 5,
) -> list[Timing]:
    """Times our ranking and re-ranking beside literal forms.

    Args:
        ranking_forms: functions (dist, query_pids, gallery_pids, query_camids, gallery_camids,
            rule, unique_ids) -> (cmc, mAP, mINP, skipped), by name.
        reranking_forms: functions (dist (N, N), num_queries, k1, k2, original_weight) -> (Q, G).
        sizes: what to measure on.
        repeats: measurements of each form.

    Returns:
        The ranking of each size, then the re-ranking of those that are re-ranked.
    """
    with one_thread():
        ranked = [_time_ranking(size, ranking_forms, repeats) for size in sizes]
        reranked = [
            _time_reranking(size, reranking_forms, repeats)
            for size in sizes
            if size.protocol in RERANKED
        ]
    return ranked + reranked


def evaluation_table(timings: list[Timing]) -> str:
    """A row per timing and form: median, spread, ratio."""
    lines = [
        "| what | size | form | median s | min - max s | x ours |",
        "|---|---|---|---:|---:|---:|",
    ]
    for timing in timings:
        for form, seconds in timing.seconds.items():
            lines.append(
                f"| {timing.what} | {timing.size} | {form} | {statistics.median(seconds):.3f} | "
                f"{min(seconds):.3f} - {max(seconds):.3f} | {timing.ratio(form):.1f} |"
            )
    worst = max(timing.difference for timing in timings)
    return "\n".join(lines) + f"\n\nLargest difference between any two results: {worst:.1e}."


def _time_ranking(size: Size, forms: Mapping[str, Literal], repeats: int) -> Timing:
    protocol = find_protocol(size.protocol)
    pids, camids, dist = _test_set(size)
    sides = slice(0, size.num_queries), slice(size.num_queries, None)
    block = np.ascontiguousarray(dist[sides[0], sides[1]])
    queries, gallery = (
        Labels(torch.from_numpy(pids[side]), torch.from_numpy(camids[side])) for side in sides
    )
    arrays = (block, *(labels[side] for labels in (pids, camids) for side in sides))

    def ours() -> tuple[np.ndarray, float, float, int]:
        rule = camera_rule(protocol.camera_rule)
        scores = rank_queries(
            torch.from_numpy(block), queries, gallery, rule=rule, unique_ids=protocol.unique_ids
        )
        found = summarise_scores(scores)
        means = found.mean_average_precision, found.mean_inverse_negative_penalty
        return found.cmc, *means, found.num_skipped

    def literal(form: Literal) -> Callable[[], Any]:
        return lambda: form(*arrays, protocol.camera_rule, protocol.unique_ids)

    timed = {OURS: ours, **{name: literal(form) for name, form in forms.items()}}
    return _timing("ranking", size, timed, repeats)


def _time_reranking(size: Size, forms: Mapping[str, Literal], repeats: int) -> Timing:
    dist = _test_set(size)[2]

    def literal(form: Literal) -> Callable[[], Any]:
        return lambda: (form(dist, size.num_queries, *RERANKING.values()),)

    def ours() -> tuple[np.ndarray]:
        return (rerank(torch.from_numpy(dist), size.num_queries, **RERANKING).numpy(),)

    timed = {OURS: ours, **{name: literal(form) for name, form in forms.items()}}
    return _timing("re-ranking", size, timed, repeats)


def _timing(
    what: str, size: Size, forms: Mapping[str, Callable[[], tuple]], repeats: int
) -> Timing:
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    difference = 0.0
    for _ in range(repeats):
        results = {}
        for form, run in forms.items():
            start = time.process_time()
            results[form] = run()
            seconds[form].append(time.process_time() - start)
        for result in results.values():
            pairs = zip(result, results[OURS], strict=True)
            difference = max(difference, *(float(np.max(np.abs(a - b))) for a, b in pairs))
    label = f"{size.protocol} {size.num_queries} x {size.num_gallery}"
    return Timing(what=what, size=label, seconds=seconds, difference=difference)


def _test_set(size: Size) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Identities and cameras (N,), squared distances (N, N) of noisy identity centres."""
    rng = generator(0, f"benchmark {size.protocol}", 0)
    num_all = size.num_queries + size.num_gallery
    pids = np.concatenate([np.arange(n) % size.num_ids for n in size[1:3]]).astype(np.int64)
    camids = np.concatenate([
        rng.choice(size.query_cameras, size.num_queries),
        rng.choice(size.gallery_cameras, size.num_gallery),
    ])  # fmt: skip
    embeddings = rng.standard_normal((size.num_ids, 64))[pids]
    embeddings += 1.5 * rng.standard_normal((num_all, 64))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return pids, camids, 2 - 2 * embeddings @ embeddings.T
