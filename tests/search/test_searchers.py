"""Exact search against sorting everything; FAISS behind the same interface."""

import builtins

import numpy as np
import pytest

from wrimnet.lab.search import approximate
from wrimnet.lab.search.approximate import FaissSearcher, open_searcher
from wrimnet.lab.search.exact import ExactSearcher
from wrimnet.lab.search.index import EmbeddingIndex, IndexFacts
from wrimnet.lab.search.throughput import measure_search


def unit_rows(count, dim=16, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    facts = IndexFacts(model="m", model_hash="0" * 64, modality="visible", dim=16)
    index = EmbeddingIndex.create(tmp_path_factory.mktemp("index"), facts)
    index.append(unit_rows(900), [f"a{row}" for row in range(900)])
    index.append(unit_rows(600, seed=1), [f"b{row}" for row in range(600)])
    return index


@pytest.mark.parametrize("block_rows", [1, 7, 100, 5000])
@pytest.mark.parametrize("top_k", [1, 10, 2000])
def test_blocks_give_what_sorting_everything_gives(block_rows, top_k):
    shards, queries = [unit_rows(70), unit_rows(45, seed=1)], unit_rows(6, seed=2)
    found = ExactSearcher(shards, block_rows=block_rows).search(queries, top_k)
    similarity = queries.astype(np.float64) @ np.concatenate(shards).T.astype(np.float64)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :top_k]
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(
        found.similarity, np.take_along_axis(similarity, order, 1), atol=1e-6
    )


@pytest.mark.parametrize("block_rows", [1, 3, 50])
def test_equal_rows_come_in_their_order(block_rows):
    shard = np.tile(np.eye(4, dtype=np.float32)[:2], (8, 1))  # rows 0, 2, 4, ... are alike
    found = ExactSearcher([shard], block_rows=block_rows).search(shard[:2], 11)
    assert found.rows[0].tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5]
    assert found.rows[1].tolist() == [1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4]


def test_unusable_queries_are_refused():
    searcher = ExactSearcher([unit_rows(5)])
    with pytest.raises(ValueError, match=r"queries are float64 \(2, 16\), expected float32"):
        searcher.search(unit_rows(2).astype(np.float64), 1)
    with pytest.raises(ValueError, match=r"expected float32 \(Q, 16\)"):
        searcher.search(unit_rows(2, dim=3), 1)
    with pytest.raises(ValueError, match="NaN or infinity"):
        searcher.search(np.full((1, 16), np.nan, np.float32), 1)
    with pytest.raises(ValueError, match="top_k is 0"):
        searcher.search(unit_rows(1), 0)


def test_backend_follows_the_size_of_the_index(index, monkeypatch):
    assert isinstance(open_searcher(index, "auto"), ExactSearcher)
    with pytest.raises(ValueError, match="unknown search backend 'annoy'"):
        open_searcher(index, "annoy")
    monkeypatch.setattr(approximate, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(approximate, "FaissSearcher", lambda index: "faiss")
    assert open_searcher(index, "auto") == "faiss"
    assert isinstance(open_searcher(index, "exact"), ExactSearcher)


def test_empty_index_is_refused(tmp_path):
    facts = IndexFacts(model="m", model_hash="0" * 64, modality="visible", dim=16)
    with pytest.raises(ValueError, match="is empty; index some images first"):
        open_searcher(EmbeddingIndex.create(tmp_path, facts), "exact")


def test_missing_faiss_is_said_in_a_sentence(index, monkeypatch):
    real = builtins.__import__

    def without_faiss(name, *rest, **options):
        if name == "faiss":
            raise ModuleNotFoundError("No module named 'faiss'", name="faiss")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_faiss)
    with pytest.raises(ValueError, match=r"pip install 'wrimnet\[search\]'.*--backend exact"):
        open_searcher(index, "faiss")


def test_faiss_finds_nearly_the_same_and_is_kept_until_the_index_grows(index):
    pytest.importorskip("faiss", reason="FAISS is an optional extra")
    queries = unit_rows(20, seed=3)
    exact = ExactSearcher(index.arrays()).search(queries, 5)
    found = FaissSearcher(index).search(queries, 5)
    recall = np.mean(
        [len(set(a) & set(b)) / 5 for a, b in zip(exact.rows, found.rows, strict=True)]
    )
    assert recall > 0.9
    same = found.rows == exact.rows
    np.testing.assert_allclose(found.similarity[same], exact.similarity[same], atol=1e-5)
    kept = (index.folder / "faiss.index").read_bytes()
    np.testing.assert_array_equal(FaissSearcher(index).search(queries, 5).rows, found.rows)
    assert (index.folder / "faiss.index").read_bytes() == kept
    index.append(queries[:1], ["c0"])
    assert FaissSearcher(index).search(queries[:1], 1).rows[0, 0] == 1500


def test_measuring_fills_every_figure(tmp_path):
    result = measure_search(
        tmp_path, entries=300, dim=8, dtype="float16", backend="exact", num_queries=4, top_k=3
    )
    assert result.entries == 300
    assert all(value > 0 for value in result)
