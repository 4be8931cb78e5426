import numpy as np
import pytest

from wrimnet.data.randomness import generator
from wrimnet.data.sampler import CrossModalitySampler, count_repeats
from wrimnet.modality import INFRARED, VISIBLE

PIDS_OF_SET = (3, 5, 8, 13, 21, 34, 55)


def labels(num_visible=6, num_infrared=5):
    pids, modalities = [], []
    for pid in PIDS_OF_SET:
        pids += [pid] * (num_visible + num_infrared)
        modalities += [VISIBLE] * num_visible + [INFRARED] * num_infrared
    order = np.random.default_rng(1).permutation(len(pids))
    return np.array(pids)[order], np.array(modalities)[order]


def make(num_pids=3, num_instances=4, seed=7, **options):
    pids, modalities = labels()
    sampler = CrossModalitySampler(
        pids=pids,
        modalities=modalities,
        num_pids=num_pids,
        num_instances=num_instances,
        seed=seed,
        **options,
    )
    return sampler, pids, modalities


def test_batch_is_visible_then_infrared_with_the_same_identities_in_the_same_order():
    sampler, pids, modalities = make()
    for iteration in range(20):
        batch = sampler.batch(iteration)
        assert batch.shape == (24,)
        assert (modalities[batch] == [VISIBLE] * 12 + [INFRARED] * 12).all()
        visible, infrared = pids[batch].reshape(2, 3, 4)
        assert (visible == infrared).all()
        assert (visible == visible[:, :1]).all()
        assert len(set(visible[:, 0])) == 3


def test_no_image_twice_where_there_are_enough():
    sampler, _, _ = make(num_instances=5)
    assert all(count_repeats(sampler.batch(iteration)) == 0 for iteration in range(20))


def test_repeats_are_drawn_and_counted_where_images_are_few():
    sampler, _pids, _ = make(num_instances=6)
    repeats = [count_repeats(sampler.batch(iteration)) for iteration in range(20)]
    assert min(repeats) >= 3  # 6 from 5 infrared images, for each of three identities
    assert count_repeats(np.array([4, 4, 4, 1])) == 2
    visible = sampler.batch(0)[:18]
    assert len(set(visible)) == 18


def test_a_round_uses_no_identity_twice_and_rounds_differ():
    sampler, _, _ = make()

    def identities(iteration):  # positions in ascending order of pid
        pids = labels()[0][sampler.batch(iteration)[::4]][:3]
        return tuple(PIDS_OF_SET.index(pid) for pid in pids)

    rounds = [[identities(2 * number + batch) for batch in range(2)] for number in range(40)]
    for one_round in rounds:
        assert len({identity for batch in one_round for identity in batch}) == 6
    assert len({tuple(one_round) for one_round in rounds}) > 30
    assert {i for one_round in rounds for batch in one_round for i in batch} == set(range(7))


def test_every_image_of_an_identity_is_drawn_equally_often():
    sampler, _, _ = make(num_instances=2)
    counts = np.zeros(77)
    for iteration in range(2000):
        counts[sampler.batch(iteration)] += 1
    _pids, modalities = labels()
    for modality, pool in ((VISIBLE, 6), (INFRARED, 5)):
        expected = 2000 * 3 / 7 * 2 / pool
        assert np.abs(counts[modalities == modality] / expected - 1).max() < 0.2


def test_random_access_and_seed():
    sampler, _, _ = make()
    forward = [sampler.batch(iteration) for iteration in range(10)]
    again, _, _ = make()
    backward = [again.batch(iteration) for iteration in reversed(range(10))]
    assert all((a == b).all() for a, b in zip(forward, reversed(backward), strict=True))
    other, _, _ = make(seed=8)
    assert any((other.batch(i) != forward[i]).any() for i in range(10))


def test_global_random_state_is_neither_used_nor_changed():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    make()[0].batch(3)
    assert (np.random.get_state()[1] == before).all()


def test_processes_share_the_identities_of_the_global_batch():
    whole, pids, modalities = make(num_pids=6)
    parts = [make(num_pids=6, rank=rank, world_size=3)[0].batch(4) for rank in range(3)]
    joined = np.concatenate([part.reshape(2, -1) for part in parts], axis=1).reshape(-1)
    assert (joined == whole.batch(4)).all()
    for part in parts:
        assert (modalities[part] == [VISIBLE] * 8 + [INFRARED] * 8).all()
        assert (pids[part[:8]] == pids[part[8:]]).all()


def test_too_few_identities():
    with pytest.raises(ValueError, match="7 identities, fewer than the P = 8"):
        make(num_pids=8)


def test_missing_modality_is_named():
    with pytest.raises(ValueError, match="identity 21 has no infrared image"):
        CrossModalitySampler(
            pids=[3, 3, 21], modalities=[0, 1, 0], num_pids=1, num_instances=1, seed=0
        )


def first_of_each(labels, modality, rng, batch):
    """The lowest P labels, K images of each, in the order of the set."""
    chosen = [label for label in np.unique(labels) if label >= 0][: batch.num_pids]
    return np.concatenate(
        [
            np.flatnonzero((labels == label) & (modality == kind))[: batch.num_instances]
            for kind in (VISIBLE, INFRARED)
            for label in chosen
        ]
    )


def test_sampler_of_ones_own_is_shared_by_the_processes():
    whole, pids, _ = make(num_pids=2, draw=first_of_each)
    rows = whole.batch(5)
    assert pids[rows].reshape(2, 2, 4)[:, :, 0].tolist() == [[3, 5], [3, 5]]
    parts = [make(num_pids=2, draw=first_of_each, rank=r, world_size=2)[0].batch(5) for r in (0, 1)]
    assert [set(pids[part]) for part in parts] == [{3}, {5}]
    joined = np.concatenate([part.reshape(2, -1) for part in parts], axis=1).reshape(-1)
    assert (joined == rows).all()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda *_: np.zeros(5, int),
            r"test_sampler.py, line \d+\) returned int64 \(5,\); expected 24 rows of the training",
        ),
        (lambda *_: np.zeros(24), "returned float64"),
        (lambda *_: np.full(24, 77), "expected 24 rows of the training set, 0 to 76"),
        (lambda *_: np.zeros(24, int), "expected 12 visible images, then as many infrared"),
    ],
)
def test_what_is_no_batch_is_refused_before_training(draw, message):
    with pytest.raises(ValueError, match=message):
        make(draw=draw)


def test_new_labels_are_drawn_by_and_negative_ones_left_out():
    sampler, pids, _ = make(num_pids=2)
    relabelled = np.where(pids > 8, pids % 2, -1)  # of 13, 21, 34, 55
    sampler.relabel(relabelled)
    for iteration in range(5):
        drawn = relabelled[sampler.batch(iteration)].reshape(2, 2, 4)
        assert (drawn == drawn[:1, :, :1]).all() and (drawn >= 0).all()
    with pytest.raises(ValueError, match=r"int64 \(3,\); expected one integer for each of the 77"):
        sampler.relabel(np.zeros(3, int))
    with pytest.raises(ValueError, match="new labels are float64"):
        sampler.relabel(pids / 2)


def test_generator_depends_on_all_three():
    first = generator(1, "a", 2).random(4)
    assert (generator(1, "a", 2).random(4) == first).all()
    for other in ((2, "a", 2), (1, "b", 2), (1, "a", 3)):
        assert (generator(*other).random(4) != first).all()
