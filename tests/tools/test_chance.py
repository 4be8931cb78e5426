import numpy as np
import pytest
from drawn_items import llcm_items

import wrimnet.plugin  # noqa: F401  registers the datasets
from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import find_protocol
from wrimnet.evaluation.chance_level import chance_level
from wrimnet.evaluation.galleries import build_trials
from wrimnet.evaluation.scoring import Scoring, score_trials


def regdb_items(num_ids, per_id):
    return [ImageItem("", pid, camid, modality, f"{modality}/{pid}/{number}.bmp")
            for modality, camid in ((0, 1), (1, 2))
            for pid in range(num_ids) for number in range(per_id)]  # fmt: skip


def test_chance_is_what_counting_says():
    """One image per identity: the match is equally likely at each of 25 ranks."""
    items, protocol = regdb_items(25, 1), find_protocol("regdb_v2t")
    level = chance_level(protocol, items, build_trials(protocol, items), num_embeddings=300)
    harmonic = np.mean(1 / np.arange(1, 26))
    expected = {"Rank-1": 1 / 25, "Rank-5": 5 / 25, "Rank-10": 10 / 25, "Rank-20": 20 / 25,
                "mAP": harmonic, "mINP": harmonic}  # fmt: skip
    for name, value in expected.items():
        error = level.std[name] / np.sqrt(level.num_embeddings)
        assert abs(level.mean[name] - value) < 4 * error, name


def test_random_features_lie_within_the_spread_of_chance():
    items, protocol = llcm_items(), find_protocol("llcm_ir2vis")
    trials = build_trials(protocol, items, num_trials=2)
    level = chance_level(protocol, items, trials, num_embeddings=40)
    features = np.random.default_rng(7).standard_normal((len(items), 24))
    (metrics, _) = score_trials(features, items, trials, protocol, Scoring())
    distance = abs(metrics.mean_average_precision - level.mean["mAP"])
    assert 0 < level.std["mAP"] < 0.05
    assert distance < 6 * level.std["mAP"]


def test_seed_decides_the_embeddings():
    items, protocol = regdb_items(6, 2), find_protocol("regdb_t2v")
    trials = build_trials(protocol, items)
    levels = [chance_level(protocol, items, trials, num_embeddings=3, seed=s) for s in (0, 0, 1)]
    assert levels[0] == levels[1] != levels[2]


def test_a_spread_needs_two_embeddings():
    items, protocol = regdb_items(6, 2), find_protocol("regdb_t2v")
    with pytest.raises(ValueError, match="num_embeddings is 1; a spread needs at least 2"):
        chance_level(protocol, items, build_trials(protocol, items), num_embeddings=1)
