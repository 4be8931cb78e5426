"""The whole batch of an iteration, gathered from the processes that share it."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@torch.compiler.disable
def gather_whole_batch(values: Tensor, num_visible: int) -> Tensor:
    """Gathers what each process computed of its images, in the order of one process's batch.

    With W processes, process r holding the rows x_r and L(x_1, ..., x_W) computed by each of them::

        d L_r / d x_r := W * dL / d x_r

    which is the sum over the processes of what each would send back to x_r, as all compute the same
    L. The mean over the processes, which DistributedDataParallel takes of the parameters'
    gradients, then is the gradient that one process with the whole batch has.

    Args:
        values: (B, ...) of this process, as many visible as infrared images, the visible ones
            first; B is the same on all processes.
        num_visible: B / 2.

    Returns:
        (W * B, ...): the visible images of all processes by rank, then the infrared ones.

    Raises:
        ValueError: this process's images are not half visible.
    """
    if 2 * num_visible != len(values):
        raise ValueError(
            f"{num_visible} of a process's {len(values)} images are visible; with several "
            "processes expected half of them (CrossModalitySampler gives that)"
        )
    of_ranks = _Gather.apply(values)  # (W, B, ...)
    visible, infrared = of_ranks[:, :num_visible], of_ranks[:, num_visible:]
    return torch.cat((visible.flatten(0, 1), infrared.flatten(0, 1)))


class _Gather(torch.autograd.Function):
    """(B, ...) on each process -> (W, B, ...) on all."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        of_ranks = values.new_empty((dist.get_world_size(), *values.shape))
        dist.all_gather(list(of_ranks.unbind(0)), values.contiguous())
        return of_ranks

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient[dist.get_rank()] * dist.get_world_size()


def load_whole_batch(load: Callable[[int], dict[str, Any]], iteration: int) -> dict[str, Any]:
    """Loads the batch of all processes, in the order of one process's; all must call it.

    Args:
        load: makes this process's batch of an iteration.
        iteration: counts from 0.
    """
    own = load(iteration)
    if not dist.is_initialized():
        return own
    shares: list[dict[str, Any]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(
        shares,
        {name: value.cpu() if torch.is_tensor(value) else value for name, value in own.items()},
    )
    return {name: _joined([share[name] for share in shares]) for name in own}


def _joined(values: list[Any]) -> Any:
    """The visible halves by rank, then the infrared ones; a number counts of this process."""
    if not hasattr(values[0], "__len__"):
        return values[0]
    middle = len(values[0]) // 2
    halves = [value[:middle] for value in values] + [value[middle:] for value in values]
    return torch.cat(halves) if torch.is_tensor(values[0]) else [*chain(*halves)]
