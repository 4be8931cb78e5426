"""FAISS in place of the exact search, for indices beyond a million entries; an optional extra."""

import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from wrimnet.evaluation.provenance import file_sha256
from wrimnet.lab.search import BACKENDS
from wrimnet.lab.search.exact import ExactSearcher, Neighbors, Searcher, check_queries
from wrimnet.lab.search.hashed_files import write_hashed_file, write_hashed_json
from wrimnet.lab.search.index import INDEX_FILE, EmbeddingIndex

EXACT_UP_TO = 1_000_000
_PROBES, _SEED, _SAMPLES_PER_LIST, _BLOCK = 64, 0, 40, 65536
_FILE, _RECORD = "faiss.index", "faiss.json"


def open_searcher(index: EmbeddingIndex, backend: str, *, device: str = "cpu") -> Searcher:
    """Chooses how an index is searched.

    Args:
        index: what is searched.
        backend: "exact", "faiss", or "auto": exact up to a million entries, FAISS beyond.
        device: of the exact search.

    Raises:
        ValueError: an unknown backend, an empty index, or FAISS is asked for and not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown search backend {backend!r}; choose one of {BACKENDS}")
    if len(index) == 0:
        raise ValueError(f"the index {index.folder} is empty; index some images first")
    if backend == "faiss" or (backend == "auto" and len(index) > EXACT_UP_TO):
        return FaissSearcher(index)
    return ExactSearcher(index.arrays(), device=device)


class FaissSearcher:
    """Inverted lists over k-means cells; built once, kept beside the index while it is unchanged.

    Of N entries in 4 sqrt(N) cells the 64 cells nearest to the query are searched, so a neighbour
    may be missed. Similarities are those of the exact search.

    Args:
        index: what is searched; its embeddings are held in memory as float32.

    Raises:
        ValueError: FAISS is not installed.
    """

    def __init__(self, index: EmbeddingIndex) -> None:
        self._dim = index.facts.dim
        self._faiss = _import_faiss()
        self._lists = self._open(index) or self._build(index)
        self._lists.nprobe = _PROBES

    def search(self, queries: np.ndarray, top_k: int) -> Neighbors:
        """Finds near rows; see :meth:`ExactSearcher.search`. A row of -1 means: no more found."""
        check_queries(queries, self._dim, top_k)
        similarity, rows = self._lists.search(queries, min(top_k, self._lists.ntotal))
        return Neighbors(similarity, rows)

    def _open(self, index: EmbeddingIndex) -> Any:
        """Reads the lists if they were built of the index as it is now."""
        file, record = index.folder / _FILE, index.folder / _RECORD
        if not (file.is_file() and record.is_file()):
            return None
        expected = {"index": file_sha256(index.folder / INDEX_FILE), "lists": file_sha256(file)}
        if json.loads(record.read_text("utf-8")) != expected:
            return None
        return self._faiss.read_index(str(file))

    def _build(self, index: EmbeddingIndex) -> Any:
        arrays, cells = index.arrays(), _num_cells(len(index))
        coarse = self._faiss.IndexFlatIP(self._dim)
        lists = self._faiss.IndexIVFFlat(coarse, self._dim, cells, self._faiss.METRIC_INNER_PRODUCT)
        lists.train(_sample(arrays, min(len(index), _SAMPLES_PER_LIST * cells)))
        for array in arrays:
            for start in range(0, len(array), _BLOCK):
                lists.add(np.array(array[start : start + _BLOCK], dtype=np.float32))
        self._keep(index.folder, lists)
        return lists

    def _keep(self, folder: Path, lists: object) -> None:
        content = self._faiss.serialize_index(lists)
        digest = write_hashed_file(folder / _FILE, lambda file: file.write(content.tobytes()))
        write_hashed_json(
            folder / _RECORD, {"index": file_sha256(folder / INDEX_FILE), "lists": digest}
        )


def _num_cells(entries: int) -> int:
    return max(1, min(int(4 * math.sqrt(entries)), entries // _SAMPLES_PER_LIST))


def _sample(arrays: list[np.ndarray], count: int) -> np.ndarray:
    rows = np.random.Generator(np.random.Philox(_SEED)).permutation(sum(map(len, arrays)))[:count]
    rows.sort()
    starts = np.cumsum([0, *map(len, arrays)])
    pieces = [
        array[rows[(rows >= start) & (rows < start + len(array))] - start]
        for start, array in zip(starts, arrays, strict=False)
    ]
    return np.concatenate(pieces).astype(np.float32)


def _import_faiss() -> ModuleType:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ValueError(
            "this search needs FAISS: pip install 'wrimnet[search]', or choose the exact search "
            "(--backend exact), which is slower beyond a million entries"
        ) from error
    return faiss
