"""Custom metrics: literal ranked lists as the oracle, and what is refused."""

import numpy as np
import pytest
import torch

from wrimnet.metrics.exclusion import CAMERA_RULES
from wrimnet.metrics.names import compared_metrics, named_values, rank_of
from wrimnet.metrics.ranking import Labels, rank_queries, summarize_scores
from wrimnet.registries import METRIC_REGISTRY, find_metrics


def first_tier(matches, num_relevant):
    return matches[:num_relevant].mean()


def first_hit(matches, num_relevant):
    return matches[0]


def average_precision(matches, num_relevant):
    ranks = np.flatnonzero(matches) + 1
    return np.mean(np.arange(1, num_relevant + 1) / ranks)


def problem(seed, rule):
    rng = np.random.default_rng(seed)
    dist = rng.integers(0, 6, (30, 40)) / 6  # many ties
    labels = [rng.integers(low, high, n) for low, high, n in
              ((0, 9, 30), (1, 4, 30), (0, 7, 40), (1, 4, 40))]  # fmt: skip
    pids, camids, gallery_pids, gallery_camids = map(torch.from_numpy, labels)
    return dist, Labels(pids, camids), Labels(gallery_pids, gallery_camids), CAMERA_RULES[rule]


def literal_lists(dist, queries, gallery, rule):
    """Gallery columns of each query, nearest first, without those that the rule removes."""
    removed = rule(queries.pids, queries.camids, gallery.pids, gallery.camids).numpy()
    for row, gone in zip(dist, removed, strict=True):
        order = np.argsort(row, kind="stable")
        yield order[~gone[order]]


@pytest.mark.parametrize("rule", sorted(CAMERA_RULES))
def test_metrics_and_nearest_images_are_those_of_the_sorted_gallery(rule):
    inputs = problem(1, rule)
    dist, queries, gallery, applied = inputs
    metrics = {"FirstTier": first_tier, "FirstHit": first_hit, "AP": average_precision}
    scores = rank_queries(
        torch.from_numpy(dist), queries, gallery, rule=applied, unique_ids=False,
        metrics=metrics, num_nearest=10,
    )  # fmt: skip
    for query, order in enumerate(literal_lists(*inputs)):
        matches = (gallery.pids[order] == queries.pids[query]).numpy()
        relevant = int(matches.sum())
        expected = [m(matches, relevant) if relevant else 0 for m in metrics.values()]
        np.testing.assert_allclose(scores.registered[query], expected, rtol=1e-12)
        assert scores.num_matches[query] == relevant
        assert scores.nearest[query].tolist() == order[:10].tolist()
    assert (scores.num_matches == 0).any()
    assert (scores.num_matches > 1).any()
    valid = scores.first_match > 0
    found = summarize_scores(scores, metrics)
    assert found.registered["FirstTier"] == scores.registered[valid, 0].mean()
    assert found.registered["AP"] == pytest.approx(found.mean_average_precision, rel=1e-12)
    assert found.registered["FirstHit"] == pytest.approx(found.cmc[0], rel=1e-6)


def test_fewer_images_than_asked_for_are_filled_with_none():
    queries = Labels(torch.tensor([1]), torch.tensor([3]))
    gallery = Labels(torch.tensor([1, 2, 3]), torch.tensor([2, 1, 2]))
    rule = CAMERA_RULES["sysu_cam3_never_sees_cam2"]
    dist = torch.tensor([[0.1, 0.2, 0.3]])
    scores = rank_queries(dist, queries, gallery, rule=rule, unique_ids=True, num_nearest=10)
    assert scores.nearest.tolist() == [[1, -1, -1]]


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), None, np.ones(2)])
def test_a_metric_that_is_no_share_is_refused(value):
    dist, *rest, rule = problem(0, "none")
    metrics = {"Odd": lambda matches, num_relevant: value}
    with pytest.raises(ValueError, match=r"metric Odd gives .*expected a number in \[0, 1\]"):
        rank_queries(torch.from_numpy(dist), *rest, rule=rule, unique_ids=False, metrics=metrics)


def test_a_metric_cannot_change_what_the_next_one_sees():
    def sorting(matches, num_relevant):
        matches.sort()
        return 0.0

    dist, *rest, rule = problem(0, "none")
    with pytest.raises(ValueError, match="read-only"):
        rank_queries(
            torch.from_numpy(dist), *rest, rule=rule, unique_ids=False, metrics={"S": sorting}
        )


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(METRIC_REGISTRY, "_obj_map", {"FirstTier": first_tier})
    return METRIC_REGISTRY._obj_map


def test_registered_metrics_are_found_by_name(registered):
    assert find_metrics(("Rank-1", "mAP", "Rank-3", "FirstTier")) == {"FirstTier": first_tier}
    assert find_metrics(("Rank-1", "mAP")) == {}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("Rank-1", "mAP", "Rank-21"), "names 'Rank-21': expected Rank-1 to Rank-20, mAP, mINP, "
         "FirstTier; a module of your own that registers another is named in PLUGINS"),
        (("Rank-1", "mAP", 5), "names '5'"),
        (("Rank-1", "mINP"), r"TEST.METRICS = \['Rank-1', 'mINP'\]: expected .* Rank-1 and mAP"),
        (("Rank-1", "mAP", "mAP"), "expected each name once"),
    ],
)  # fmt: skip
def test_other_names_are_refused(registered, names, message):
    with pytest.raises(ValueError, match=message):
        find_metrics(names)


@pytest.mark.parametrize("name", ["mAP", "Rank-7", "cmc"])
def test_a_registered_metric_has_a_name_of_its_own(registered, name):
    registered[name] = first_tier
    with pytest.raises(ValueError, match=f"registered as {name}, which exists; rename yours"):
        find_metrics(("Rank-1", "mAP"))


def test_names_read_the_numbers_of_a_result():
    numbers = {"cmc": [0.1, 0.2, 0.3], "mAP": 0.4, "mINP": 0.5, "FirstTier": 0.6}
    names = ("Rank-1", "Rank-3", "mAP", "mINP", "FirstTier")
    assert [*named_values(numbers, names).values()] == [0.1, 0.3, 0.4, 0.5, 0.6]
    assert compared_metrics(numbers) == ("Rank-1", "mAP", "FirstTier")
    words = ("Rank-20", "Rank-21", "Rank-0", "Rank-01", "mAP")
    assert [rank_of(name) for name in words] == [20, None, None, None, None]
