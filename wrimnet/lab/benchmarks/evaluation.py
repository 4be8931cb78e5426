"""Speed of ranking and re-ranking on distances of the sizes of the test sets, by one CPU thread."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import wrimnet.plugin  # noqa: F401  registers the protocols
from wrimnet.data.protocols import find_protocol
from wrimnet.data.randomness import generator
from wrimnet.lab.benchmarks.benchmark_setup import Section, with_spread
from wrimnet.lab.benchmarks.timing import seconds_of
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.metrics.ranking import Labels, rank_queries, summarize_scores
from wrimnet.metrics.reranking import rerank
from wrimnet.tables import markdown_rows


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
RERANKING: dict[str, Any] = {"k1": 20, "k2": 6, "original_weight": 0.3}


def measure_evaluation(arguments: Any) -> Section:
    """Runs the benchmark."""
    torch.set_num_threads(1)
    rows = measure_sizes(SIZES, repeats=arguments.repeats)
    cells = [(row["what"], row["size"], with_spread(row["seconds"], 3)) for row in rows]
    header = ("what", "size", "CPU s, median (min - max)")
    return Section("Evaluation", markdown_rows(header, cells, num_words=2), rows)


def measure_sizes(sizes: tuple[Size, ...], *, repeats: int) -> list[dict[str, Any]]:
    """Returns "what", "size" and CPU "seconds", one value per repetition, of each size."""
    rows = []
    for size in sizes:
        dist, labels = distances(size)
        runs: dict[str, Callable[[], Any]] = {
            "ranking": ranking(size, dist, labels),
            "re-ranking": partial(rerank, dist, size.num_queries, **RERANKING),
        }
        for what, run in runs.items():
            seconds = seconds_of(run, time.process_time, repeats=repeats, steps=1)
            name = f"{size.protocol} {size.num_queries} x {size.num_gallery}"
            rows.append({"what": what, "size": name, "seconds": seconds})
    return rows


def ranking(size: Size, dist: Tensor, labels: Labels) -> Callable[[], Any]:
    """Returns a function that scores all queries."""
    protocol = find_protocol(size.protocol)
    queries, gallery = slice(0, size.num_queries), slice(size.num_queries, None)
    block = dist[queries, gallery].contiguous()
    rule = camera_rule(protocol.camera_rule)
    options: dict[str, Any] = {"rule": rule, "unique_ids": protocol.unique_ids}
    return lambda: summarize_scores(
        rank_queries(block, labels[queries], labels[gallery], **options)
    )


def distances(size: Size) -> tuple[Tensor, Labels]:
    """Squared distances (N, N) of noisy identity centers, queries first, and their labels."""
    rng = generator(0, f"benchmark {size.protocol}", 0)
    pids = np.concatenate([np.arange(n) % size.num_ids for n in size[1:3]])
    camids = np.concatenate(
        [rng.choice(cameras, n) for n, cameras in zip(size[1:3], size[4:], strict=True)]
    )
    embeddings = rng.standard_normal((size.num_ids, 64))[pids]
    embeddings += 1.5 * rng.standard_normal(embeddings.shape)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = Labels(torch.from_numpy(pids), torch.from_numpy(camids))
    return torch.from_numpy(2 - 2 * embeddings @ embeddings.T), labels
