import numpy as np
import pytest
import torch
from drawn_items import embed, llcm_items
from reference.ranking_loop import rank_by_numpy
from reference.reranking_dense import rerank_dense

import wrimnet.plugin  # noqa: F401  registers the datasets
from wrimnet.data.protocols import find_protocol
from wrimnet.evaluation import scoring as scoring_module
from wrimnet.evaluation.galleries import build_trials
from wrimnet.evaluation.scoring import QueryExpansion, Reranking, Scoring, score_trials
from wrimnet.metrics.query_expansion import expand_embeddings

PROTOCOL = find_protocol("llcm_ir2vis")


def score(embeddings, items, protocol=PROTOCOL, **options):
    trials = build_trials(protocol, items, num_trials=3)
    return trials, score_trials(embeddings, items, trials, protocol, Scoring(**options))


def literal(dist, items, trial, protocol=PROTOCOL):
    def labels(rows):
        pairs = np.array([(items[row].pid, items[row].camid) for row in rows])
        return pairs[:, 0], pairs[:, 1]

    (q_pids, q_cams), (g_pids, g_cams) = labels(trial.query_rows), labels(trial.gallery_rows)
    rule, unique_ids = protocol.camera_rule, protocol.unique_ids
    return rank_by_numpy(dist, q_pids, g_pids, q_cams, g_cams, rule, unique_ids)


def assert_same(metrics, expected):
    cmc, mean_ap, mean_inp, skipped = expected
    np.testing.assert_array_equal(metrics.cmc, cmc)
    assert metrics.mean_average_precision == pytest.approx(mean_ap, abs=1e-12)
    assert metrics.mean_inverse_negative_penalty == pytest.approx(mean_inp, abs=1e-12)
    assert metrics.num_skipped == skipped


@pytest.mark.parametrize("name", ["llcm_ir2vis", "llcm_vis2ir", "llcm_vis2ir_swapped"])
def test_every_trial_equals_the_literal_loop_on_its_own_matrix(name):
    items, protocol = llcm_items(), find_protocol(name)
    embeddings = embed(items)
    trials, found = score(embeddings, items, protocol)
    wide = embeddings.astype(np.float64)
    for trial, metrics in zip(trials, found, strict=True):
        dist = -(wide[trial.query_rows] @ wide[trial.gallery_rows].T)
        assert_same(metrics, literal(dist, items, trial, protocol))


@pytest.mark.parametrize("name", ["llcm_ir2vis", "llcm_vis2ir_swapped"])
def test_memory_bound_changes_nothing(name):
    items = llcm_items()
    embeddings = embed(items)
    protocol = find_protocol(name)
    _, roomy = score(embeddings, items, protocol)
    _, tight = score(embeddings, items, protocol, memory_gb=1e-8)  # one row, one column at a time
    for one, other in zip(roomy, tight, strict=True):
        np.testing.assert_array_equal(one.cmc, other.cmc)
        assert one.mean_average_precision == other.mean_average_precision


def test_blocks_stay_within_the_memory_bound(monkeypatch):
    shapes = []
    original = scoring_module.negative_products

    def recorded(left, right):
        shapes.append((len(left), len(right)))
        return original(left, right)

    monkeypatch.setattr(scoring_module, "negative_products", recorded)
    items = llcm_items(num_ids=60)
    for memory_gb, most_rows in ((1.0, 540), (0.008, 256), (1e-8, 256)):
        shapes.clear()
        score(embed(items), items, memory_gb=memory_gb)
        assert max(rows for rows, _ in shapes) == most_rows
        bound = max(memory_gb * 1e9 / 2, 256 * 540 * 32)  # one tile of rows at least
        assert all(rows * columns * 32 <= bound for rows, columns in shapes)


@pytest.mark.parametrize("norms", ["one", "any"])
def test_reranking_is_that_of_each_trial(norms):
    """Of squared Euclidean distances, whatever the L2 norms of the features are."""
    items = llcm_items(num_ids=5)
    embeddings = embed(items)
    if norms == "any":
        embeddings *= np.random.default_rng(1).uniform(0.2, 3, (len(items), 1)).astype(np.float32)
    options = {"k1": 8, "k2": 3, "original_weight": 0.3}
    trials, found = score(embeddings, items, reranking=Reranking(**options))
    _, tight = score(embeddings, items, reranking=Reranking(**options), memory_gb=1e-5)
    for trial, metrics, recomputed in zip(trials, found, tight, strict=True):
        every = embeddings[np.r_[trial.query_rows, trial.gallery_rows]].astype(np.float64)
        squares = (every**2).sum(1)
        dist = squares[:, None] + squares - 2 * every @ every.T
        expected = literal(rerank_dense(dist, len(trial.query_rows), **options), items, trial)
        assert_same(metrics, expected)
        assert_same(recomputed, expected)


def test_equal_features_rank_in_gallery_order():
    """All distances are 0: there is no largest one to divide by."""
    items = llcm_items(num_ids=5)
    equal = np.tile(embed(items)[:1], (len(items), 1))
    _, plain = score(equal, items)
    for factor in (1.0, 0.1, 3.0):
        reranking = Reranking(k1=8, k2=3, original_weight=0.3)
        _, found = score(factor * equal, items, reranking=reranking)
        assert [metrics.mean_average_precision for metrics in found] == [
            metrics.mean_average_precision for metrics in plain
        ]


def test_query_expansion_is_that_of_each_trial():
    items = llcm_items()
    embeddings = embed(items)
    options = {"neighbors": 4, "alpha": 2.0, "rounds": 1}
    trials, found = score(embeddings, items, expansion=QueryExpansion(**options))
    for trial, metrics in zip(trials, found, strict=True):
        rows = np.concatenate([trial.query_rows, trial.gallery_rows])
        expanded = expand_embeddings(torch.from_numpy(embeddings[rows]), **options)
        queries, gallery = expanded.split([len(trial.query_rows), len(trial.gallery_rows)])
        assert_same(metrics, literal(-(queries @ gallery.T).numpy(), items, trial))


def test_unusable_embeddings_are_named():
    items = llcm_items()
    embeddings = embed(items)
    broken = embeddings.copy()
    broken[5, 2] = np.inf
    for wrong, message in (
        (broken, r"embedding of test_0/cam2/0001/2.jpg \(row 5\) holds NaN or infinity"),
        (
            1e155 * embeddings.astype(np.float64),
            r"\(row 0\) holds values whose squares float64 cann",
        ),
        (1e-160 * embeddings.astype(np.float64), r"as do 216 of 216 in all"),
        (embeddings[1:], r"expected \(216, D\): one row per image"),
        (embeddings.astype(np.float16), "dtype float16, expected float32 or float64"),
    ):
        with pytest.raises(ValueError, match=message):
            score(wrong, items)


def test_memory_must_be_something():
    with pytest.raises(ValueError, match="memory_gb is 0, expected more than 0"):
        Scoring(memory_gb=0)
