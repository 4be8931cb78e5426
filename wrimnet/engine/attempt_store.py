"""A clean part of torchrun's store for each attempt of a job."""

import time
import uuid
from datetime import timedelta

import torch.distributed as dist

_POLL_SECONDS = 0.05


def store_of_attempt(
    store: dist.Store, rank: int, world_size: int, timeout: timedelta
) -> dist.PrefixStore:
    """Returns a part of the store that no earlier attempt has written to.

    After a failure torchrun starts the processes again with the store they had, where the addresses
    of the dead ones still stand; gloo would wait for them for ever. How often a process was started
    again cannot name the attempt: machines count their own failures only. So the main process
    draws a name, and hands it to whoever shows that it lives by a number of its own.

    Args:
        store: reached by all processes.
        rank: of this process.
        world_size: number of processes.
        timeout: how long a process waits for the others.

    Raises:
        TimeoutError: not all processes came.
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
                f"the processes {sorted(missing)} of {world_size} did not come within "
                "SOLVER.DISTRIBUTED.TIMEOUT_SECONDS"
            )
        time.sleep(_POLL_SECONDS)
    return name


def _ask(store: dist.Store, rank: int, timeout: timedelta) -> str:
    own = uuid.uuid4().hex
    store.set(f"asks {rank}", own)
    store.wait([f"answer {own}"], timeout)
    name = store.get(f"answer {own}").decode()
    store.set(f"{name} reached {rank}", "1")
    return name
