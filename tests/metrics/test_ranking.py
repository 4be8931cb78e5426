from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.ranking_loop import rank_by_numpy, rank_by_walking

from wrimnet.metrics import ranking
from wrimnet.metrics.exclusion import CAMERA_RULES, camera_rule
from wrimnet.metrics.ranking import Labels, rank_queries, summarize_scores

FIXTURES = Path(__file__).parents[1] / "fixtures"
RULES = {
    "sysu": "sysu_cam3_never_sees_cam2",
    "llcm": "llcm_same_identity_same_camera",
    "regdb": "none",
}


def score(dist, q_pids, g_pids, q_cams=None, g_cams=None, rule="none", unique_ids=False):
    q_cams = np.ones_like(q_pids) if q_cams is None else q_cams
    g_cams = np.full_like(g_pids, 2) if g_cams is None else g_cams
    queries = Labels(torch.as_tensor(q_pids), torch.as_tensor(q_cams))
    gallery = Labels(torch.as_tensor(g_pids), torch.as_tensor(g_cams))
    rule = camera_rule(rule)
    return rank_queries(torch.as_tensor(dist), queries, gallery, rule=rule, unique_ids=unique_ids)


def fixture_cases():
    for dataset in RULES:
        with np.load(FIXTURES / f"eval_{dataset}.npz") as arrays:
            for case in dict.fromkeys(name.split("/")[0] for name in arrays):
                yield dataset, case


def load_case(dataset, case):
    with np.load(FIXTURES / f"eval_{dataset}.npz") as arrays:
        prefix = f"{case}/"
        return {name[len(prefix) :]: arrays[name] for name in arrays if name.startswith(prefix)}


def score_case(dataset, arrays):
    names = ("dist", "q_pids", "g_pids", "q_cams", "g_cams")
    inputs = {name: arrays[name] for name in names if name in arrays}
    return score(**inputs, rule=RULES[dataset], unique_ids=dataset != "regdb")


@pytest.mark.parametrize(("dataset", "case"), list(fixture_cases()))
def test_reference_evaluators_agree(dataset, case):
    arrays = load_case(dataset, case)
    if "cmc" not in arrays:  # the reference raises: tested by name below
        assert case in ("ragged_unique_ids", "all_unmatched", "rule_is_id_and_camera")
        return
    metrics = summarize_scores(score_case(dataset, arrays))
    length = len(arrays["cmc"])
    assert metrics.cmc.dtype == np.float32
    np.testing.assert_array_equal(metrics.cmc[:length], arrays["cmc"])
    np.testing.assert_array_equal(metrics.cmc[length:], np.full(20 - length, arrays["cmc"][-1]))
    assert metrics.mean_average_precision == pytest.approx(float(arrays["mAP"]), abs=1e-9)
    assert metrics.mean_inverse_negative_penalty == pytest.approx(float(arrays["mINP"]), abs=1e-9)


@pytest.mark.parametrize(
    ("dataset", "case"), [("regdb", "all_unmatched"), ("llcm", "rule_is_id_and_camera")]
)
def test_no_query_with_a_match_is_an_error(dataset, case):
    scores = score_case(dataset, load_case(dataset, case))
    with pytest.raises(ValueError, match=r"none of the \d+ queries has a match in the gallery"):
        summarize_scores(scores)


def test_rows_of_unequal_length_where_the_reference_raises():
    arrays = load_case("sysu", "ragged_unique_ids")
    metrics = summarize_scores(score_case("sysu", arrays))
    names = ("dist", "q_pids", "g_pids", "q_cams", "g_cams")
    cmc, *_ = rank_by_numpy(*(arrays[name] for name in names), RULES["sysu"], True)
    np.testing.assert_array_equal(metrics.cmc, cmc)


def by_hand():
    """One query of identity 1; ranks of its matches 2 and 4; identities in the order 2, 1, 3."""
    dist = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]])
    return dist, np.array([1]), np.array([2, 1, 2, 1, 3])


def test_average_precision_and_penalty_by_hand():
    scores = score(*by_hand())
    assert scores.average_precision.tolist() == [(1 / 2 + 2 / 4) / 2]
    assert scores.inverse_negative_penalty.tolist() == [2 / 4]


def test_first_match_counts_images_or_identities():
    dist, q_pids, g_pids = np.array([[3.0, 0.0, 1.0, 2.0]]), np.array([1]), np.array([1, 2, 2, 3])
    assert score(dist, q_pids, g_pids).first_match.tolist() == [4]
    assert score(dist, q_pids, g_pids, unique_ids=True).first_match.tolist() == [3]


@st.composite
def problems(draw):
    """Small galleries with every nuisance: ties, unmatched identities, removed pairs."""
    num_queries, num_gallery = draw(st.integers(1, 12)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    levels = draw(st.sampled_from([2, 5, 10**6]))
    dist = rng.integers(0, levels, (num_queries, num_gallery)) / levels
    num_ids = draw(st.integers(1, 25))
    return (
        dist.astype(draw(st.sampled_from([np.float32, np.float64]))),
        rng.integers(0, num_ids, num_queries),
        rng.integers(0, num_ids, num_gallery),
        rng.integers(1, 5, num_queries),
        rng.integers(1, 5, num_gallery),
        draw(st.sampled_from(sorted(CAMERA_RULES))),
        draw(st.booleans()),
    )


@settings(max_examples=150, deadline=None)
@given(problems())
def test_equals_both_literal_loops(problem):
    for literal in (rank_by_walking, rank_by_numpy):
        try:
            cmc, precision, penalty, skipped = literal(*problem)
        except AssertionError:
            assert (score(*problem).first_match == 0).all()
            continue
        metrics = summarize_scores(score(*problem))
        np.testing.assert_array_equal(metrics.cmc, cmc)
        assert metrics.mean_average_precision == pytest.approx(precision, abs=1e-12)
        assert metrics.mean_inverse_negative_penalty == pytest.approx(penalty, abs=1e-12)
        assert metrics.num_skipped == skipped


@settings(max_examples=30, deadline=None)
@given(problems())
def test_chunks_do_not_change_a_bit(problem):
    whole = score(*problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ranking._CHUNK_ELEMENTS, "cpu", 1)  # one query at a time
        single = score(*problem)
    for name in ("first_match", "average_precision", "inverse_negative_penalty"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(single, name))


def random_problem(seed=0, num_queries=40, num_gallery=60, num_ids=15):
    rng = np.random.default_rng(seed)
    dist = rng.standard_normal((num_queries, num_gallery))
    return dist, rng.integers(0, num_ids, num_queries), rng.integers(0, num_ids, num_gallery)


@pytest.mark.parametrize("unique_ids", [False, True])
def test_gallery_order_changes_nothing_without_ties(unique_ids):
    dist, q_pids, g_pids = random_problem()
    order = np.random.default_rng(1).permutation(len(g_pids))
    one = score(dist, q_pids, g_pids, unique_ids=unique_ids)
    other = score(dist[:, order], q_pids, g_pids[order], unique_ids=unique_ids)
    np.testing.assert_array_equal(one.first_match, other.first_match)
    np.testing.assert_array_equal(one.average_precision, other.average_precision)
    np.testing.assert_array_equal(one.inverse_negative_penalty, other.inverse_negative_penalty)


def test_ties_are_resolved_by_gallery_order():
    q_pids = np.array([1])
    first = score(np.zeros((1, 3)), q_pids, np.array([1, 2, 3]), unique_ids=True)
    last = score(np.zeros((1, 3)), q_pids, np.array([2, 3, 1]), unique_ids=True)
    assert (first.first_match.tolist(), last.first_match.tolist()) == ([1], [3])


@pytest.mark.parametrize("unique_ids", [False, True])
def test_a_perfect_embedding_gives_one(unique_ids):
    _, q_pids, g_pids = random_problem()
    g_pids[: len(np.unique(q_pids))] = np.unique(q_pids)
    dist = (q_pids[:, None] != g_pids).astype(np.float32)
    metrics = summarize_scores(score(dist, q_pids, g_pids, unique_ids=unique_ids))
    assert (metrics.cmc == 1).all()
    assert metrics.mean_average_precision == metrics.mean_inverse_negative_penalty == 1
    assert metrics.num_skipped == 0


def test_queries_without_a_match_are_skipped_and_counted():
    dist, q_pids, g_pids = random_problem()
    q_pids[:7] = 99
    q_pids[7:] = g_pids[:33]
    with_them = summarize_scores(score(dist, q_pids, g_pids, unique_ids=True))
    without = summarize_scores(score(dist[7:], q_pids[7:], g_pids, unique_ids=True))
    assert (with_them.num_queries, with_them.num_skipped, without.num_skipped) == (40, 7, 0)
    np.testing.assert_array_equal(with_them.cmc, without.cmc)
    assert with_them.mean_average_precision == without.mean_average_precision
    assert with_them.mean_inverse_negative_penalty == without.mean_inverse_negative_penalty


def test_arguments_stay_as_they_are():
    dist, q_pids, g_pids = random_problem()
    dist[:, :5] = 0.0  # with ties
    before = dist.copy()
    score(dist, q_pids, g_pids, rule="llcm_same_identity_same_camera", unique_ids=True)
    np.testing.assert_array_equal(dist, before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("unique_ids", [False, True])
def test_one_matrix_gives_the_same_bits_on_both_devices(unique_ids):
    dist, q_pids, g_pids = random_problem(num_queries=300, num_gallery=500, num_ids=40)
    dist[:50] = np.round(dist[:50], 1)  # ties
    rule = camera_rule("llcm_same_identity_same_camera")
    results = []
    for device in ("cpu", "cuda"):
        queries, gallery = (
            Labels(torch.as_tensor(pids, device=device), torch.as_tensor(pids % 3, device=device))
            for pids in (q_pids, g_pids)
        )
        matrix = torch.as_tensor(dist, device=device)
        results.append(rank_queries(matrix, queries, gallery, rule=rule, unique_ids=unique_ids))
    for name in ("first_match", "average_precision", "inverse_negative_penalty"):
        np.testing.assert_array_equal(*(getattr(result, name) for result in results))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dist": np.full((2, 3), np.nan)}, r"dist\[0, 0\] is nan; every distance must be finite"),
        ({"dist": np.full((2, 3), np.inf)}, r"dist\[0, 0\] is inf"),
        ({"dist": np.zeros((3, 2))}, r"dist has shape \(3, 2\), expected \(2, 3\)"),
        ({"dist": np.zeros((2, 3), dtype=int)}, r"dist has dtype torch.int64, expected float32"),
        ({"dist": np.zeros((2, 3), dtype=np.float16)}, r"dist has dtype torch.float16"),
        ({"q_pids": np.array([0.0, 1.0])}, r"pids of the queries: torch.float64 \(2,\), expected"),
        ({"g_pids": np.zeros((3, 1), dtype=int)}, r"pids of the gallery: torch.int64 \(3, 1\)"),
        ({"g_cams": np.array([1])}, r"camids of the gallery: torch.int64 \(1,\), expected int64"),
        ({"dist": np.zeros((0, 3)), "q_pids": np.array([], dtype=int)}, "0 queries and 3 gallery"),
        ({"dist": np.zeros((2, 0)), "g_pids": np.array([], dtype=int)}, "2 queries and 0 gallery"),
    ],
)
def test_unusable_input_is_named(change, message):
    inputs = {"dist": np.zeros((2, 3)), "q_pids": np.array([0, 1]), "g_pids": np.array([0, 1, 2])}
    with pytest.raises(ValueError, match=message):
        score(**{**inputs, **change})
