import numpy as np
import pytest
import torch
from reference.reranking_dense import rerank_dense

from wrimnet.metrics.reranking import jaccard_blocks, nearest_neighbors, rerank, rerank_blocks


def squared_distances(num_images, num_ids=12, spread=1.2, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((num_ids, 16))
    images = centers[np.arange(num_images) % num_ids] + spread * rng.standard_normal(
        (num_images, 16)
    )
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    return 2 - 2 * images @ images.T


@pytest.mark.parametrize(
    ("num_queries", "num_gallery", "k1", "k2", "original_weight"),
    [(60, 40, 20, 6, 0.3), (40, 60, 8, 2, 0.0), (30, 30, 7, 3, 0.5), (50, 9, 5, 6, 1.0),
     (20, 30, 3, 1, 0.3), (5, 4, 8, 4, 0.3), (1, 3, 1, 2, 0.3)],
)  # fmt: skip
def test_equals_the_dense_definition(num_queries, num_gallery, k1, k2, original_weight):
    dist = squared_distances(num_queries + num_gallery)
    found = rerank(
        torch.from_numpy(dist), num_queries, k1=k1, k2=k2, original_weight=original_weight
    )
    expected = rerank_dense(dist, num_queries, k1, k2, original_weight)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("num_queries", "num_gallery", "k1", "k2", "original_weight"),
    [(60, 40, 20, 6, 0.3), (40, 60, 8, 1, 0.0), (9, 50, 8, 3, 0.5)],
)
def test_gallery_is_no_neighbor_when_barred(num_queries, num_gallery, k1, k2, original_weight):
    dist = squared_distances(num_queries + num_gallery)
    dist[3], dist[:, 3] = dist[5], dist[:, 5]
    options = {"k1": k1, "k2": k2, "original_weight": original_weight}
    found = rerank(torch.from_numpy(dist), num_queries, **options, gallery_neighbors=False)
    expected = rerank_dense(dist, num_queries, **options, gallery_neighbors=False)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    both = rerank(torch.from_numpy(dist), num_queries, **options)
    assert not torch.allclose(found, both, atol=1e-3)


def test_barred_gallery_bounds_k1_by_the_queries():
    dist = torch.from_numpy(squared_distances(10))
    options = {"k1": 6, "k2": 2, "original_weight": 0.3}
    rerank(dist, 6, **options)
    with pytest.raises(ValueError, match="K1 of re-ranking is 6, expected 1 to 5"):
        rerank(dist, 6, **options, gallery_neighbors=False)


def test_equals_the_dense_definition_with_ties_and_copies():
    dist = np.round(squared_distances(80), 1)
    dist[3], dist[:, 3] = dist[50], dist[:, 50]
    found = rerank(torch.from_numpy(dist), 50, k1=10, k2=4, original_weight=0.3)
    np.testing.assert_allclose(found.numpy(), rerank_dense(dist, 50, 10, 4, 0.3), atol=1e-6)


@pytest.mark.parametrize("noise", [0.0, -4e-16, 4e-16])
def test_equal_images_have_equal_distances(noise):
    """Their distances are 0, or what rounding leaves of it."""
    dist = np.full((40, 40), noise)
    found = rerank(torch.from_numpy(dist), 25, k1=6, k2=3, original_weight=0.3).numpy()
    np.testing.assert_allclose(found, rerank_dense(dist, 25, 6, 3, 0.3), atol=1e-12)
    assert (found == found[:, :1]).all()


def test_float32_stays_close_to_the_dense_definition():
    dist = squared_distances(100)
    found = rerank(torch.from_numpy(dist).float(), 60, k1=20, k2=6, original_weight=0.3)
    np.testing.assert_allclose(found.numpy(), rerank_dense(dist, 60, 20, 6, 0.3), atol=1e-6)


def test_blocks_change_nothing():
    dist = torch.from_numpy(squared_distances(90))
    options = {"k1": 12, "k2": 4, "original_weight": 0.3}
    blocks = list(
        rerank_blocks(
            lambda rows: dist[rows], num_queries=50, num_gallery=40, block_rows=7, **options
        )
    )
    assert [rows.start for rows, _ in blocks] == list(range(0, 50, 7))
    joined = torch.cat([block for _, block in blocks])
    torch.testing.assert_close(joined, rerank(dist, 50, **options), rtol=0, atol=1e-14)


@pytest.mark.parametrize("block_rows", [7, 100])
def test_jaccard_distances_within_a_set_are_those_of_queries_to_a_gallery(block_rows):
    dist = torch.from_numpy(squared_distances(50))
    blocks = list(
        jaccard_blocks(lambda rows: dist[rows], num_images=50, k1=9, k2=4, block_rows=block_rows)
    )
    assert [rows.start for rows, _ in blocks] == list(range(0, 50, block_rows))
    found = torch.cat([block for _, block in blocks])
    expected = rerank_dense(dist.numpy(), 20, 9, 4, 0.0)
    np.testing.assert_allclose(found[:20, 20:].numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(found.numpy(), found.T.numpy(), atol=1e-12)
    np.testing.assert_allclose(found.diagonal().numpy(), 0, atol=1e-12)


def test_jaccard_refuses_neighborhoods_beyond_the_set():
    dist = torch.zeros(5, 5)
    with pytest.raises(ValueError, match=r"K1 of re-ranking is 5, expected 1 to 4"):
        list(jaccard_blocks(lambda rows: dist[rows], num_images=5, k1=5, k2=1, block_rows=5))


def test_full_original_weight_keeps_the_order():
    dist = torch.from_numpy(squared_distances(60))
    found = rerank(dist, 30, k1=6, k2=3, original_weight=1.0)
    assert (found.argsort(1) == dist[:30, 30:].argsort(1)).all()


@pytest.mark.parametrize("levels", [2, 4, 10**6])
def test_nearest_neighbors_are_those_of_a_stable_sort(levels):
    rng = np.random.default_rng(0)
    dist = torch.from_numpy(rng.integers(0, levels, (40, 30)) / levels)
    indices = nearest_neighbors(dist, 8)
    assert (indices == dist.argsort(dim=1, stable=True)[:, :8]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k1": 10}, "K1 of re-ranking is 10, expected 1 to 9"),
        ({"k1": 0}, "K1 of re-ranking is 0, expected 1 to 9"),
        ({"k2": 0}, "K2 of re-ranking is 0, expected 1 to K1"),
        ({"k2": 6}, "K2 of re-ranking is 6, expected 1 to K1 [+] 1 = 5"),
        ({"original_weight": 1.5}, "LAMBDA of re-ranking is 1.5, expected 0 to 1"),
    ],
)
def test_options_out_of_range_are_named(change, message):
    options = {"k1": 4, "k2": 2, "original_weight": 0.3, **change}
    with pytest.raises(ValueError, match=message):
        rerank(torch.from_numpy(squared_distances(10)), 6, **options)
