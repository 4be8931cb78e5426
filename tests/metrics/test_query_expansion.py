import numpy as np
import pytest
import torch

from wrimnet.metrics.query_expansion import expand_embeddings


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def expand_literally(embeddings, neighbors, alpha, rounds):
    for _ in range(rounds):
        embeddings = unit(embeddings)
        new = []
        for one in embeddings:
            similarity = embeddings @ one
            nearest = np.argsort(-similarity, kind="stable")[:neighbors]
            weights = np.maximum(similarity[nearest], 0) ** alpha
            new.append((weights[:, None] * embeddings[nearest]).sum(0))
        embeddings = unit(np.array(new))
    return embeddings


@pytest.mark.parametrize(
    ("neighbors", "alpha", "rounds"),
    [(5, 3.0, 1), (3, 0.0, 2), (1, 1.0, 1), (30, 3.0, 1), (25, 1.0, 2)],
)
def test_equals_the_literal_definition(neighbors, alpha, rounds):
    """With 25 and 30 neighbors some similarities are negative: their weight is 0."""
    rows = np.random.default_rng(0).standard_normal((30, 8))
    similarity = np.sort(unit(rows) @ unit(rows).T, axis=1)
    assert (similarity[:, -neighbors] < 0).any() == (neighbors > 20)
    options = {"neighbors": neighbors, "alpha": alpha, "rounds": rounds}
    found = expand_embeddings(torch.from_numpy(rows), **options, block_rows=7)
    np.testing.assert_allclose(found, expand_literally(rows, **options), atol=1e-12)
    for bounds in ({"block_rows": 1}, {"memory_gb": 1e-9}):
        assert torch.equal(expand_embeddings(torch.from_numpy(rows), **options, **bounds), found)


@pytest.mark.parametrize("scale", [1e-200, 1e-20, 1e200])
def test_norms_of_the_embeddings_do_not_matter(scale):
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 4)))
    options = {"neighbors": 4, "alpha": 1.0, "rounds": 1}
    found = expand_embeddings(scale * rows, **options)
    torch.testing.assert_close(found, expand_embeddings(rows, **options))


def test_equal_embeddings_stay_equal():
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((150, 40)))
    rows = torch.cat((rows, rows.flip(0)))
    found = expand_embeddings(rows, neighbors=7, alpha=3.0, rounds=2)
    assert torch.equal(found, torch.cat((found[:150], found[:150].flip(0))))


def test_one_neighbor_is_the_embedding_itself():
    rows = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = torch.nn.functional.normalize(rows, dim=1)
    found = expand_embeddings(rows, neighbors=1, alpha=3.0, rounds=2)
    torch.testing.assert_close(found, rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neighbors": 0}, "neighbors is 0, expected 1 to 5"),
        ({"neighbors": 6}, "neighbors is 6, expected 1 to 5"),
        ({"alpha": -1.0}, "expected alpha >= 0"),
        ({"rounds": 0}, "rounds >= 1"),
    ],
)
def test_options_out_of_range_are_named(change, message):
    options = {"neighbors": 2, "alpha": 1.0, "rounds": 1, **change}
    with pytest.raises(ValueError, match=message):
        expand_embeddings(torch.eye(5), **options)
