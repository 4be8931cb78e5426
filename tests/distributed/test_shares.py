"""Who gets what: sampler, augmentation and evaluation over all ranks, computed by one process."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist

from wrimnet.config import check_batch, setup_cfg
from wrimnet.data.augmentation import rows_of_rank
from wrimnet.data.sampler import CrossModalitySampler
from wrimnet.engine import distributed
from wrimnet.engine import run as run_module
from wrimnet.engine.data_parallel import gather_whole_batch
from wrimnet.engine.distributed import (
    Place,
    read_place,
    setup_device_of_process,
    store_of_attempt,
)
from wrimnet.engine.launch import to_be_launched
from wrimnet.engine.run import check_same_start
from wrimnet.evaluation.extraction import rows_of_process

PIDS = np.repeat(np.arange(9), 6)
MODALITIES = np.tile([0, 0, 0, 1, 1, 1], 9)


def batches(iteration, world_size):
    return [
        CrossModalitySampler(
            pids=PIDS,
            modalities=MODALITIES,
            num_pids=8,
            num_instances=2,
            seed=3,
            rank=rank,
            world_size=world_size,
        ).batch(iteration)
        for rank in range(world_size)
    ]


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_identities_of_the_whole_batch_are_spread_over_the_ranks(world_size):
    for iteration in range(5):
        shares = [batch.reshape(2, -1) for batch in batches(iteration, world_size)]
        (whole,) = batches(iteration, 1)
        assert np.array_equal(np.concatenate(shares, axis=1).reshape(-1), whole)
        identities = [set(PIDS[share].reshape(-1)) for share in shares]
        assert all(len(of_rank) == 8 // world_size for of_rank in identities)
        assert len(set().union(*identities)) == 8
        for share in shares:
            assert np.array_equal(PIDS[share[0]], PIDS[share[1]])
            assert (MODALITIES[share[0]] == 0).all() and (MODALITIES[share[1]] == 1).all()


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_augmentation_draws_belong_to_the_rows_of_the_whole_batch(world_size):
    rows = [rows_of_rank(32, rank, world_size).reshape(2, -1) for rank in range(world_size)]
    assert np.concatenate(rows, axis=1).reshape(-1).tolist() == list(range(32))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 7, 20])
def test_test_batches_are_dealt_out_whole_and_once(world_size):
    modalities = [i % 3 % 2 for i in range(31)]
    shares = [rows_of_process(modalities, 4, rank, world_size) for rank in range(world_size)]
    assert sorted(row for share in shares for row in share) == list(range(31))
    whole = set(batches_of(modalities, range(31)))
    again = [batch for share in shares for batch in batches_of(modalities, share)]
    assert sorted(again) == sorted(whole)


def batches_of(modalities, rows):
    """The batches that the rows fall into when they are embedded by themselves."""
    own = [modalities[row] for row in rows]
    places = rows_of_process(own, 4, 0, 1)
    by_modality = [[p for p in places if own[p] == kind] for kind in (0, 1)]
    return [
        tuple(rows[p] for p in of_kind[start : start + 4])
        for of_kind in by_modality
        for start in range(0, len(of_kind), 4)
    ]


@pytest.mark.parametrize(("num_processes", "parts"), [(3, 1), (16, 1), (4, 4)])
def test_uneven_shares_are_refused(num_processes, parts):
    cfg = setup_cfg("", (), ["MODEL.DEVICE", "cpu", "SOLVER.ACCUMULATION_STEPS", str(parts)])
    with pytest.raises(ValueError, match=r"P = 8 identities of a batch .* cannot be shared evenly"):
        check_batch(cfg, num_processes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"checkpoint": SimpleNamespace(start_iter=9)}, "first iteration: 1, 10 by rank"),
        ({"origin": {"config_hash": "b", "images": {"test": "c"}}}, "configuration: a, b by rank"),
        ({"origin": {"config_hash": "a", "images": {"test": "d"}}}, "test images: c, d by rank"),
    ],
)
def test_processes_that_would_start_differently_are_refused(monkeypatch, change, said):
    own = {"checkpoint": None, "origin": {"config_hash": "a", "images": {"test": "c"}}}
    asked = []
    monkeypatch.setattr(run_module, "gather_from_all", lambda value: asked.append(value) or [value])
    check_same_start(SimpleNamespace(**own))
    check_same_start(SimpleNamespace(**{**own, **change}))
    monkeypatch.setattr(run_module, "gather_from_all", lambda _: asked)
    with pytest.raises(ValueError, match=f"the processes differ in the {said}"):
        check_same_start(SimpleNamespace(**own))


def test_even_shares_are_accepted():
    check_batch(setup_cfg("", (), ["MODEL.DEVICE", "cpu"]), 8)


def test_batch_that_is_not_half_visible_is_refused():
    with pytest.raises(ValueError, match="3 of a process's 8 images are visible"):
        gather_whole_batch(np.zeros(8), 3)


def test_place_is_alone_without_torchrun():
    assert read_place({}) == (0, 1, 0, 0, 0)
    environ = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "GROUP_RANK": "1"}
    assert read_place(environ | {"TORCHELASTIC_RESTART_COUNT": "2"}) == (5, 8, 1, 1, 2)


def test_more_processes_than_gpus_are_refused():
    cfg = setup_cfg("", (), ["MODEL.DEVICE", "cpu"])
    assert setup_device_of_process(cfg, 3) is cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cuda"
    with pytest.raises(ValueError, match=r"process 99 of this machine, which has [0-9]+ GPUs"):
        setup_device_of_process(cfg, 99)


def test_num_gpus_starts_processes_only_outside_torchrun():
    assert not to_be_launched(1, {})
    assert to_be_launched(4, {})
    inside = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4"}
    assert not to_be_launched(4, inside)
    assert not to_be_launched(1, inside)
    with pytest.raises(ValueError, match="--num-gpus 2 under torchrun with 4 processes"):
        to_be_launched(2, inside)
    with pytest.raises(ValueError, match="--num-gpus 0: expected at least 1"):
        to_be_launched(0, {})


def test_each_attempt_has_a_store_without_the_keys_of_the_one_before():
    store, wait = dist.HashStore(), timedelta(seconds=20)
    for _ in range(2):
        with ThreadPoolExecutor(3) as pool:
            futures = [pool.submit(store_of_attempt, store, rank, 3, wait) for rank in range(3)]
        stores = [future.result() for future in futures]
        assert not stores[1].check(["address"])
        stores[0].set("address", "1")
        assert all(of_rank.get("address") == b"1" for of_rank in stores)


def test_processes_that_do_not_come_are_named():
    with pytest.raises(TimeoutError, match=r"the processes \[1, 2\] of 3 did not connect"):
        store_of_attempt(dist.HashStore(), 0, 3, timedelta(seconds=0.2))


@pytest.mark.parametrize(("backend", "own"), [("nccl", torch.device("cuda:1")), ("gloo", None)])
def test_process_group_knows_the_gpu_of_the_process(monkeypatch, backend, own):
    given = {}
    monkeypatch.setattr(dist, "rendezvous", lambda *_, **__: iter([(dist.HashStore(), 1, 2)]))
    monkeypatch.setattr(distributed, "store_of_attempt", lambda store, *_: store)
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **options: given.update(options))
    monkeypatch.setattr(dist, "all_gather_object", lambda *_: None)
    monkeypatch.setattr(dist, "new_group", lambda *_, **__: None)
    distributed.join(Place(rank=1, world_size=2, local_rank=1), backend, timedelta(seconds=1))
    assert given["device_id"] == own
