"""FLOP and bytes of a training step, counted operator by operator."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class StepCost(NamedTuple):
    """What the operators of a step do: (FLOP, bytes) of each."""

    operators: list[tuple[int, int]]

    @property
    def flops(self) -> int:
        """All FLOP, two per multiply and add."""
        return sum(flops for flops, _ in self.operators)

    @property
    def num_bytes(self) -> int:
        """All bytes that the operators read and write."""
        return sum(num_bytes for _, num_bytes in self.operators)

    @property
    def num_moving(self) -> int:
        """How many of them move memory; the others are views and questions."""
        return sum(num_bytes > 0 for _, num_bytes in self.operators)

    def roof_seconds(self, flops_per_second: float, bytes_per_second: float) -> float:
        """The least time of operators that run one after the other at the device's two speeds."""
        return sum(
            max(flops / flops_per_second, num_bytes / bytes_per_second)
            for flops, num_bytes in self.operators
        )


class CostCounter(TorchDispatchMode):
    """Counts the FLOP and bytes of every operator that runs inside of it.

    FLOP are those of ``torch.utils.flop_counter``: matrix products, convolutions and attention. An
    operator's bytes are those of its tensors in and out, each read or written once: what running
    operator by operator cannot go below. A view is free, and of an expanded tensor only what it
    holds is read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cost = StepCost([])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs the operator and notes its cost."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.cost.operators.append(cost_of(func, args, kwargs, result))
        return result


def cost_of(func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> tuple[int, int]:
    """Returns the FLOP and bytes of an operator that has run."""
    count_flops = flop_registry.get(func.overloadpacket)
    flops = count_flops(*args, **kwargs, out_val=result) if count_flops else 0
    return flops, _bytes_moved(func, args, kwargs, result)


def _bytes_moved(func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> int:
    inputs = _tensors((args, kwargs))
    storages = {tensor.untyped_storage()._cdata for tensor in inputs}
    new = [one for one in _tensors(result) if one.untyped_storage()._cdata not in storages]
    written = new + _changed(func._schema, args, kwargs)
    if not written or "empty" in func.name():
        return 0  # a view, a question, or memory that nothing was written to
    return sum(min(one.nbytes, one.untyped_storage().nbytes()) for one in inputs + written)


def _changed(schema: Any, args: tuple, kwargs: dict[str, Any]) -> list[Tensor]:
    """The arguments that the operator writes to."""
    names = [argument.name for argument in schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    writes = [one.name for one in schema.arguments if one.alias_info and one.alias_info.is_write]
    return [tensor for name in writes for tensor in _tensors(given.get(name))]


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def saved_bytes(forward: Callable[[], object], left_out: Iterable[Tensor]) -> int:
    """Counts the bytes that a forward pass keeps for the backward, each storage once.

    Args:
        forward: computes it.
        left_out: tensors that are there anyway, such as the parameters.
    """
    kept: dict[int, torch.UntypedStorage] = {}  # holding a storage keeps its address from reuse

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _graph = forward()
    known = {tensor.untyped_storage()._cdata for tensor in left_out}
    return sum(storage.nbytes() for address, storage in kept.items() if address not in known)
