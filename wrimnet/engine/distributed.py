"""From torchrun's environment to a process group, and its end when a process fails."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import wrimnet.compat  # noqa: F401

import torch
import torch.distributed as dist
from fastreid.config import CfgNode
from fastreid.utils import comm
from fastreid.utils.comm import is_main_process

from wrimnet.engine.attempt_store import store_of_attempt
from wrimnet.engine.failures import told_to_all

__all__ = [
    "Place",
    "is_main_process",
    "main_process_first",
    "mean_over_ranks",
    "read_place",
    "setup_process_group",
    "was_restarted",
]


class Place(NamedTuple):
    """Where a process stands among those of its job; alone without torchrun.

    Args:
        rank: 0..world_size-1 over all machines.
        world_size: processes of the job.
        local_rank: 0.. on this machine.
        machine: number of this machine.
        restarts: how often torchrun started the job again after a failure.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    machine: int = 0
    restarts: int = 0


def read_place(environ: Mapping[str, str] = os.environ) -> Place:
    """Reads what torchrun tells a process of its place."""
    return Place(
        rank=int(environ.get("RANK", 0)),
        world_size=int(environ.get("WORLD_SIZE", 1)),
        local_rank=int(environ.get("LOCAL_RANK", 0)),
        machine=int(environ.get("GROUP_RANK", 0)),
        restarts=int(environ.get("TORCHELASTIC_RESTART_COUNT", 0)),
    )


@contextmanager
def setup_process_group(cfg: CfgNode) -> Iterator[CfgNode]:
    """Joins this process to the others of its job; changes nothing where it is the only one.

    An error inside is told to the log with the rank it happened on, and to the other processes.

    Args:
        cfg: the configuration; MODEL.DEVICE and SOLVER.DISTRIBUTED.TIMEOUT_SECONDS are read.

    Yields:
        The configuration with the device of this process: one GPU each, or the CPU.

    Raises:
        ValueError: the machine has fewer GPUs than processes, or the device has a number.
    """
    place = read_place()
    if place.world_size == 1:
        yield cfg
        return
    cfg = setup_device_of_process(cfg, place.local_rank)
    backend = "nccl" if cfg.MODEL.DEVICE != "cpu" else "gloo"
    store = join(place, backend, timedelta(seconds=cfg.SOLVER.DISTRIBUTED.TIMEOUT_SECONDS))
    with told_to_all(store, place.rank, place.world_size):
        yield cfg
        comm.synchronize()  # nobody leaves while another still needs it
    leave()


def setup_device_of_process(cfg: CfgNode, local_rank: int) -> CfgNode:
    """Returns the configuration with this process's own GPU as MODEL.DEVICE, or the CPU.

    Raises:
        ValueError: there is no such GPU, or MODEL.DEVICE names one for all processes.
    """
    if cfg.MODEL.DEVICE == "cpu":
        return cfg
    count = torch.cuda.device_count()
    if cfg.MODEL.DEVICE != "cuda" or local_rank >= count:
        raise ValueError(
            f"MODEL.DEVICE = {cfg.MODEL.DEVICE!r} for process {local_rank} of this machine, which "
            f"has {count} GPUs; use cuda or auto and at most one process per GPU"
        )
    torch.cuda.set_device(local_rank)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = f"cuda:{local_rank}"
    cfg.freeze()
    return cfg


def join(place: Place, backend: str, timeout: timedelta) -> dist.Store:
    """Opens the process group of the job, and that of each machine for FastReID's ``comm``.

    Returns:
        The store that all processes reach.
    """
    shared, rank, world_size = next(dist.rendezvous("env://", timeout=timeout))
    store = store_of_attempt(shared, rank, world_size, timeout)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
    machines: list[int] = [0] * world_size
    dist.all_gather_object(machines, place.machine)
    for machine in sorted(set(machines)):
        ranks = [rank for rank, number in enumerate(machines) if number == machine]
        group = dist.new_group(ranks, timeout=timeout)
        if machine == place.machine:
            comm._LOCAL_PROCESS_GROUP = group
    return dist.PrefixStore("wrimnet", store)


def leave() -> None:
    """Closes the process groups."""
    comm._LOCAL_PROCESS_GROUP = None
    dist.destroy_process_group()


def was_restarted() -> bool:
    """Whether torchrun started this job again; on any machine, as each counts its own failures."""
    own = read_place().restarts
    if comm.get_world_size() == 1:
        return own > 0
    restarts: list[int] = [0] * comm.get_world_size()
    dist.all_gather_object(restarts, own)
    return max(restarts) > 0


@contextmanager
def main_process_first() -> Iterator[None]:
    """Lets the main process do what is in the block before the others do it."""
    if not comm.is_main_process():
        comm.synchronize()
    yield
    if comm.is_main_process():
        comm.synchronize()


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Returns the mean of equally shaped tensors over the processes, to each of them."""
    world_size = comm.get_world_size()
    if world_size == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / world_size
