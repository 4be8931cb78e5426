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
    assert sampler.batches_per_round == 2
    rounds = [
        [tuple(sampler.identities(2 * number + batch)) for batch in range(2)]
        for number in range(40)
    ]
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


def test_uneven_share():
    with pytest.raises(ValueError, match="P = 3 identities cannot be shared evenly by 2"):
        make(world_size=2)


def test_empty_batch():
    with pytest.raises(ValueError, match="must both be at least 1"):
        make(num_pids=0)


def test_generator_depends_on_all_three():
    first = generator(1, "a", 2).random(4)
    assert (generator(1, "a", 2).random(4) == first).all()
    for other in ((2, "a", 2), (1, "b", 2), (1, "a", 3)):
        assert (generator(*other).random(4) != first).all()
