"""The search against sorting everything."""

import numpy as np
import pytest

from wrimnet.lab.search.exact import find_nearest


def unit_rows(count, dim=16, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("block_rows", [1, 7, 100, 5000])
@pytest.mark.parametrize("top_k", [1, 10, 2000])
def test_blocks_give_what_sorting_everything_gives(block_rows, top_k):
    shards, queries = [unit_rows(70), unit_rows(45, seed=1)], unit_rows(6, seed=2)
    found = find_nearest(shards, queries, top_k, block_rows=block_rows)
    similarity = queries.astype(np.float64) @ np.concatenate(shards).T.astype(np.float64)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :top_k]
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(
        found.similarity, np.take_along_axis(similarity, order, 1), atol=1e-6
    )


@pytest.mark.parametrize("block_rows", [1, 3, 50])
def test_equal_rows_come_in_their_order(block_rows):
    shard = np.tile(np.eye(4, dtype=np.float32)[:2], (8, 1))  # rows 0, 2, 4, ... are alike
    found = find_nearest([shard], shard[:2], 11, block_rows=block_rows)
    assert found.rows[0].tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5]
    assert found.rows[1].tolist() == [1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4]


def test_many_queries_are_compared_in_smaller_blocks(monkeypatch):
    monkeypatch.setattr("wrimnet.lab.search.exact._BLOCK_SIMILARITIES", 100)
    rows, queries = unit_rows(200), unit_rows(30, seed=2)
    found = find_nearest([rows], queries, 3)
    expected = np.argsort(-(queries @ rows.T), axis=1)[:, :3]
    np.testing.assert_array_equal(found.rows, expected)
