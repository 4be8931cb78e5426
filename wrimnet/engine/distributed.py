"""Several processes: a process group, what they agree on, how one failure ends all."""

import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

import torch
import torch.distributed as dist
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from wrimnet.config.tree import changed_cfg


class Agreement:
    """Answers alike on all processes whether any of them asked, without waiting for the device.

    A process alone gets its own answer at once. With several, each call sends the answer off beside
    the training and returns what was asked in the call before, which has arrived by then. All calls
    must be made by all processes.
    """

    def __init__(self, num_questions: int, timeout_seconds: float) -> None:
        self._flags = torch.zeros(num_questions, dtype=torch.int32)
        self._work: dist.Work | None = None
        self._group: dist.ProcessGroup | None = None
        if comm.get_world_size() > 1:
            timeout = timedelta(seconds=timeout_seconds)
            self._group = dist.new_group(backend="gloo", timeout=timeout)

    def __call__(self, *asked: bool) -> list[bool]:
        """Takes this process's answers; returns what the processes agreed on."""
        flags = torch.tensor(asked, dtype=torch.int32)
        if self._group is None:
            return flags.bool().tolist()
        agreed = self.finish()
        self._flags = flags
        self._work = dist.all_reduce(flags, dist.ReduceOp.MAX, group=self._group, async_op=True)
        return agreed

    def finish(self) -> list[bool]:
        """Waits for the answers that are under way and returns them."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        return self._flags.bool().tolist()


_POLL_SECONDS = 0.05


def store_of_attempt(
    store: dist.Store, rank: int, world_size: int, timeout: timedelta
) -> dist.PrefixStore:
    """Returns a part of the store that no earlier attempt has written to.

    After a failure torchrun starts the processes again with the store they had, where the addresses
    of the dead ones still stand; gloo would wait for them for ever. How often a process was started
    again cannot name the attempt: machines count their own failures only. So the main process
    draws a name, and hands it to whoever shows that it lives by a number of its own. TimeoutError
    if not all of them come.
    """
    end = time.monotonic() + timeout.total_seconds()
    name = _hand_out(store, world_size, end) if rank == 0 else _ask(store, rank, timeout)
    return dist.PrefixStore(f"attempt {name}", store)


def _hand_out(store: dist.Store, world_size: int, end: float) -> str:
    name = uuid.uuid4().hex
    missing = set(range(1, world_size))
    while missing:
        for rank in sorted(missing):
            if store.check([f"asks {rank}"]):
                store.set(f"answer {store.get(f'asks {rank}').decode()}", name)
        missing = {rank for rank in missing if not store.check([f"{name} reached {rank}"])}
        if missing and time.monotonic() > end:
            raise TimeoutError(
                f"the processes {sorted(missing)} of {world_size} did not connect within "
                "SOLVER.DISTRIBUTED.TIMEOUT_SECONDS; check that all were started"
            )
        time.sleep(_POLL_SECONDS)
    return name


def _ask(store: dist.Store, rank: int, timeout: timedelta) -> str:
    token = uuid.uuid4().hex
    store.set(f"asks {rank}", token)
    store.wait([f"answer {token}"], timeout)
    name = store.get(f"answer {token}").decode()
    store.set(f"{name} reached {rank}", "1")
    return name


_KEY = "first failure"
_PATIENCE = timedelta(seconds=2)

_logger = logging.getLogger("fastreid.wrimnet.distributed")


@contextmanager
def reported_to_all(store: dist.Store, rank: int, world_size: int) -> Iterator[None]:
    """Logs an error that leaves the block, with the rank and with the error that came first.

    Where another process fails, this one sees a broken connection only; the store that all reach
    says why. torchrun ends the other processes as soon as one has ended with an error.
    """
    try:
        yield
    except Exception as error:
        failure = f"rank {rank} of {world_size} failed: {type(error).__name__}: {error}"
        reason = first_failure(store) if _by_connection(error) else ""
        if not reason:
            report_failure(store, failure)
        _logger.error("%s%s", failure, f"; {reason}" if reason else "")
        get_error_handler().record_exception(error)
        raise


def report_failure(store: dist.Store, failure: str) -> None:
    """Reports it to the other processes, through the store."""
    try:
        store.set(_KEY, failure)
    except RuntimeError as error:  # the store's own process may be the one that ended
        _logger.warning("the other processes could not be notified: %s", error)


def first_failure(store: dist.Store) -> str:
    """Returns what another process said before it ended."""
    try:
        store.wait([_KEY], _PATIENCE)
        return f"before that, {store.get(_KEY).decode()}"
    except RuntimeError:
        return "another process was killed or hangs; torchrun's summary names the first to end"


def _by_connection(error: Exception) -> bool:
    """Whether a collective operation failed, and not the work of this process."""
    text = str(error).lower()
    words = ("connection", "timed out", "timeout", "peer", "socket", "nccl", "gloo")
    return isinstance(error, RuntimeError) and any(word in text for word in words)


class Place(NamedTuple):
    """The rank of a process in its job; a job of one without torchrun."""

    rank: int = 0  # 0..world_size-1 over all machines
    world_size: int = 1  # processes of the job
    local_rank: int = 0  # 0.. on this machine.
    machine: int = 0  # number of this machine
    restarts: int = 0  # how often torchrun started the job again after a failure


def read_place(environ: Mapping[str, str] = os.environ) -> Place:
    """Reads rank and world size of this process as torchrun sets them."""
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

    An error inside is logged with its rank, and reported to the other processes.
    Yields the configuration with the device of this process: one GPU each, or the CPU.

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
    with reported_to_all(store, place.rank, place.world_size):
        yield cfg
        comm.synchronize()  # nobody leaves while another still needs it
    leave()


def setup_device_of_process(cfg: CfgNode, local_rank: int) -> CfgNode:
    """Returns the configuration with this process's own GPU as MODEL.DEVICE, or the CPU.

    Raises ValueError: there is no such GPU, or MODEL.DEVICE names one for all processes.
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
    return changed_cfg(cfg, {"MODEL.DEVICE": f"cuda:{local_rank}"})


def join(place: Place, backend: str, timeout: timedelta) -> dist.Store:
    """Opens the groups of the job and, for FastReID, of each machine; returns the store."""
    shared, rank, world_size = next(dist.rendezvous("env://", timeout=timeout))
    store = store_of_attempt(shared, rank, world_size, timeout)
    own_gpu = torch.device("cuda", place.local_rank) if backend == "nccl" else None
    dist.init_process_group(
        backend, store=store, rank=rank, world_size=world_size, timeout=timeout, device_id=own_gpu
    )
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
    return max(gather_from_all(read_place().restarts)) > 0


def gather_from_all(value: Any) -> list[Any]:
    """Returns a plain value of each process by rank, to all of them."""
    values = [value] * comm.get_world_size()
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Returns the mean of equally shaped tensors over the processes, to each of them."""
    world_size = comm.get_world_size()
    if world_size == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / world_size
