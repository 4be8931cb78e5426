"""How fast an index of random embeddings is written, opened and searched, and what it takes."""

import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wrimnet.lab.search.approximate import open_searcher
from wrimnet.lab.search.exact import Searcher
from wrimnet.lab.search.index import EmbeddingIndex, IndexFacts

_SHARD_ROWS = 100_000


class Throughput(NamedTuple):
    """Figures of one index.

    Attributes:
        entries: N.
        written: entries per second, with checksums and fsync.
        opened: seconds to open it, every file checked.
        single: queries per second, one at a time.
        together: queries per second, ``num_queries`` at a time.
        disk_mb: 10^6 bytes of files.
        peak_mb: largest resident memory of the process so far, mapped files included, 10^6 bytes.
    """

    entries: int
    written: float
    opened: float
    single: float
    together: float
    disk_mb: float
    peak_mb: float


def measure_search(
    folder: Path, *, entries: int, dim: int, dtype: str, backend: str, num_queries: int, top_k: int
) -> Throughput:
    """Makes an index of random unit vectors in ``folder``, which is empty, and searches it."""
    facts = IndexFacts(
        model="random", model_hash="0" * 64, modality="visible", dim=dim, dtype=dtype
    )
    index = EmbeddingIndex.create(folder, facts)
    writing = 0.0
    for start, rows in _random_shards(entries, dim):
        begin = time.perf_counter()
        index.append(rows, [f"{start + row}.jpg" for row in range(len(rows))])
        writing += time.perf_counter() - begin
    begin = time.perf_counter()
    searcher = open_searcher(EmbeddingIndex.open(folder), backend)
    opened = time.perf_counter() - begin
    queries = _random_rows(num_queries, dim, entries + 1)
    searcher.search(queries[:1], top_k)  # warm-up
    return Throughput(
        entries=entries,
        written=entries / writing,
        opened=opened,
        single=3 / _seconds(searcher, [queries[i : i + 1] for i in range(3)], top_k),
        together=num_queries / _seconds(searcher, [queries], top_k),
        disk_mb=sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024)
        / 1e6,
    )


def _seconds(searcher: Searcher, batches: list[np.ndarray], top_k: int) -> float:
    begin = time.perf_counter()
    for batch in batches:
        searcher.search(batch, top_k)
    return time.perf_counter() - begin


def _random_shards(entries: int, dim: int) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, entries, _SHARD_ROWS):
        yield start, _random_rows(min(_SHARD_ROWS, entries - start), dim, start)


def _random_rows(count: int, dim: int, seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(seed))
    rows = rng.standard_normal((count, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
