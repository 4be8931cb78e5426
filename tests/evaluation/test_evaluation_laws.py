"""Equal embeddings tie: no result depends on order of files, memory or threads, on any protocol."""

import numpy as np
import pytest
import torch
from reference.ranking_loop import rank_by_numpy

import wrimnet.plugin  # noqa: F401  registers the datasets
from wrimnet.data.protocols import all_protocols, find_protocol
from wrimnet.evaluation.features import parse_items
from wrimnet.evaluation.galleries import OfficialPermutations, build_trials
from wrimnet.evaluation.scoring import QueryExpansion, Reranking, Scoring, score_trials

PROTOCOLS = sorted(
    protocol.name for protocol in all_protocols().values()
    if protocol.dataset in ("SYSU_MM01", "RegDB", "LLCM")
)  # fmt: skip
IDS = range(1, 14)
LAYOUTS = {
    "SYSU_MM01": [f"cam{c}/{i:04d}/{n:04d}.jpg" for c in range(1, 7) for i in IDS for n in (1, 2)],
    "RegDB": [f"{top}/{i}/{n}.bmp" for top in ("Visible", "Thermal") for i in IDS for n in (1, 2)],
    "LLCM": [
        f"test_{top}/cam{c}/{i:04d}/{n}.jpg"
        for top in ("vis", "nir") for c in (1, 2, 4) for i in IDS for n in (1, 2)
    ],
}  # fmt: skip


def permutations(seed):
    """Official draws of every identity and camera of the layout above."""
    rng, cameras = np.random.default_rng(seed), []
    for _ in range(6):
        identities = np.empty((len(IDS), 1), object)
        for number in range(len(IDS)):
            identities[number, 0] = np.array([rng.permutation(2) + 1 for _ in range(2)])
        cameras.append(identities)
    return OfficialPermutations(cameras)


def results(paths, features, protocol, seed, memory_gb=4.0, **options):
    items = parse_items(list(paths), protocol.dataset)
    draw = "official" if protocol.shots > 1 else "agw"
    trials = build_trials(protocol, items, draw=draw, num_trials=2, permutations=permutations(seed))
    found = score_trials(features, items, trials, protocol, Scoring(memory_gb=memory_gb, **options))
    return items, trials, found


def bits(found):
    return [(m.cmc.tobytes(), m.mean_average_precision, m.mean_inverse_negative_penalty,
             m.num_skipped) for m in found]  # fmt: skip


def feature_set(seed, paths, *, integers):
    """Features of few kinds; dot products of small integers are exact however they are summed."""
    rng = np.random.default_rng(seed)
    num_kinds, length = rng.choice([1, 4, 40, 400]), rng.choice([3, 64, 515])
    kinds = rng.integers(-3, 4, (num_kinds, length)) if integers else rng.standard_normal(
        (num_kinds, length))  # fmt: skip
    return kinds[rng.integers(0, num_kinds, len(paths))].astype(np.float32)


def assert_lawful(seed, name, *, integers=True, smallest=1e-8, **options):
    protocol = find_protocol(name)
    paths = np.array(LAYOUTS[protocol.dataset])
    features = feature_set(seed, paths, integers=integers)
    items, trials, found = results(paths, features, protocol, seed, **options)
    expected, threads = bits(found), torch.get_num_threads()
    rng = np.random.default_rng(seed)
    for order in (np.arange(len(paths)), np.arange(len(paths))[::-1], rng.permutation(len(paths))):
        for num_threads, memory_gb in ((1, 4.0), (2, 1e-3), (2, smallest)):
            torch.set_num_threads(num_threads)
            again = results(paths[order], features[order], protocol, seed, memory_gb, **options)
            torch.set_num_threads(threads)
            assert bits(again[2]) == expected, (seed, name, num_threads, memory_gb)
    return items, trials, found, features, protocol


def assert_literal(items, trials, found, features, protocol):
    pids, camids = (np.array([getattr(item, of) for item in items]) for of in ("pid", "camid"))
    for trial, metrics in zip(trials, found, strict=True):
        sides = trial.query_rows, trial.gallery_rows
        dist = -(features[sides[0]].astype(float) @ features[sides[1]].astype(float).T)
        labels = (of[side] for of in (pids, camids) for side in sides)
        cmc, mean_ap, mean_inp, skipped = rank_by_numpy(
            dist, *labels, protocol.camera_rule, protocol.unique_ids
        )
        np.testing.assert_array_equal(metrics.cmc, cmc)
        assert metrics.mean_average_precision == pytest.approx(mean_ap, abs=1e-12)
        assert metrics.mean_inverse_negative_penalty == pytest.approx(mean_inp, abs=1e-12)
        assert metrics.num_skipped == skipped


def test_all_nine_protocols_are_here():
    assert len(PROTOCOLS) == 9


@pytest.mark.parametrize("name", PROTOCOLS)
def test_duplicates_tie_whatever_the_order_memory_and_threads(name):
    for seed in range(2):
        assert_literal(*assert_lawful(seed, name))
    assert_lawful(3, name, integers=False)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", PROTOCOLS)
def test_two_hundred_sets_of_duplicates(name):
    for seed in range(200 // len(PROTOCOLS) + 1):
        assert_literal(*assert_lawful(100 + seed, name))
        assert_lawful(500 + seed, name, integers=False)


@pytest.mark.parametrize(
    "name",
    [
        "regdb_t2v",
        *(pytest.param(n, marks=pytest.mark.slow) for n in PROTOCOLS if n != "regdb_t2v"),
    ],
)
def test_reranking_and_expansion_obey_the_same_laws(name):
    rerank = Reranking(k1=6, k2=3, original_weight=0.3)
    expand = QueryExpansion(neighbors=4, alpha=3.0, rounds=2)
    options = {"expansion": expand, "reranking": rerank}
    assert_lawful(2, name, integers=False, smallest=1e-6, **options)


def test_reranking_without_the_gallery_obeys_the_same_laws():
    rerank = Reranking(k1=6, k2=3, original_weight=0.3, gallery_neighbors=False)
    assert_lawful(2, "regdb_v2t", integers=False, smallest=1e-6, reranking=rerank)


def test_one_unit_vector_for_every_image():
    """13 identities, one image each of either modality: the order of the gallery decides."""
    paths = [f"test_{top}/cam{1 + (top == 'nir')}/{pid:04d}/1.jpg"
             for top in ("vis", "nir") for pid in IDS]  # fmt: skip
    vector = np.random.default_rng(0).standard_normal(2048)
    features = np.tile((vector / np.linalg.norm(vector)).astype(np.float32), (len(paths), 1))
    (metrics,) = results(paths, features, find_protocol("llcm_ir2vis"), 0)[2][:1]
    assert f"{100 * metrics.cmc[0]:.3f}" == "7.692"
    assert f"{100 * metrics.mean_average_precision:.3f}" == "24.463"
