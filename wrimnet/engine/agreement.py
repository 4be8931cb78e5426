"""What all processes do together because one of them asks for it."""

from datetime import timedelta

import wrimnet.compat  # noqa: F401

import torch
import torch.distributed as dist
from fastreid.utils import comm


class Agreement:
    """Answers alike on all processes whether any of them asked, without waiting for the device.

    A process alone gets its own answer at once. With several, each call sends the answer off beside
    the training and returns what was asked in the call before, which has arrived by then. All calls
    must be made by all processes.

    Args:
        num_questions: asked in each call.
        timeout_seconds: how long a process waits for the others.
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
        own = torch.tensor(asked, dtype=torch.int32)
        if self._group is None:
            return own.bool().tolist()
        agreed = self.finish()
        self._flags = own
        self._work = dist.all_reduce(own, dist.ReduceOp.MAX, group=self._group, async_op=True)
        return agreed

    def finish(self) -> list[bool]:
        """Waits for the answers that are under way and returns them."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        return self._flags.bool().tolist()
