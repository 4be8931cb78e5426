"""An error of one process, told with its rank in the log, to the others and to torchrun."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

_KEY = "first failure"
_PATIENCE = timedelta(seconds=2)

_logger = logging.getLogger("fastreid.wrimnet.distributed")


@contextmanager
def told_to_all(store: dist.Store, rank: int, world_size: int) -> Iterator[None]:
    """Logs an error that leaves the block, with the rank and with the error that came first.

    Where another process fails, this one sees a broken connection only; the store that all reach
    says why. torchrun ends the other processes as soon as one has ended with an error.

    Args:
        store: reached by all processes.
        rank: of this one.
        world_size: number of processes.
    """
    try:
        yield
    except Exception as error:
        told = f"rank {rank} of {world_size} failed: {type(error).__name__}: {error}"
        reason = first_failure(store, rank, told) if _by_connection(error) else ""
        if not reason:
            tell(store, told)
        _logger.error("%s%s", told, f"; {reason}" if reason else "")
        get_error_handler().record_exception(error)
        raise


def tell(store: dist.Store, told: str) -> None:
    """Leaves the sentence for the other processes."""
    try:
        store.set(_KEY, told)
    except RuntimeError as error:  # the store's own process may be the one that ended
        _logger.warning("the other processes could not be told: %s", error)


def first_failure(store: dist.Store, rank: int, told: str) -> str:
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
