"""A training batch is a dict; some of its entries hold one row per image, visible images first.

Such an entry is a tensor (B, ...), a list of B values, or a mapping of such entries, like
"attached". All other entries belong to the batch as a whole, like "iteration".
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Any]


def take_rows(batch: Batch, *parts: slice) -> Batch:
    """Returns the batch whose entries hold these parts of their rows, one after another."""
    return _joined([batch], parts, len(batch["modality"]))


def join_shares(shares: Sequence[Batch]) -> Batch:
    """Joins the shares of a batch: the visible halves in order, then the infrared ones.

    What belongs to the batch as a whole is taken from the first share.
    """
    size = len(shares[0]["modality"])
    return _joined(shares, (slice(0, size // 2), slice(size // 2, size)), size)


def _joined(values: Sequence[Any], parts: Sequence[slice], size: int) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return {name: _joined([value[name] for value in values], parts, size) for name in first}
    if not _has_rows(first, size):
        return first
    taken = [value[part] for part in parts for value in values]
    return torch.cat(taken) if torch.is_tensor(first) else [*chain(*taken)]


def _has_rows(value: Any, size: int) -> bool:
    if torch.is_tensor(value):
        return value.ndim > 0 and len(value) == size
    return isinstance(value, list) and len(value) == size


def map_tensors(value: Any, function: Callable[[Tensor], Any]) -> Any:
    """Replaces a tensor, or each tensor of a mapping, and leaves other values as they are."""
    if isinstance(value, Mapping):
        return {name: map_tensors(entry, function) for name, entry in value.items()}
    return function(value) if torch.is_tensor(value) else value
