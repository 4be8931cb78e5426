"""Memory of tensors that have no values: what is alive, and what was alive at the peak."""

import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

REST = "activations and the rest"


class LiveMemory:
    """Follows the storages of a device's tensors that are reported to it, each once, to their end.

    Args:
        device: type of the device.
    """

    def __init__(self, device: str = "cuda") -> None:
        self._device = device
        self._alive: dict[int, int] = {}  # address of the storage -> its number
        self._events: list[tuple[int, int]] = []  # number, bytes that came or went

    def note(self, values: Any) -> None:
        """Adds the tensors among the values."""
        for tensor in tree_leaves(values):
            if isinstance(tensor, Tensor) and tensor.device.type == self._device:
                self._note(tensor)

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._alive:
            number, size = len(self._events), storage.nbytes()
            self._alive[storage._cdata] = number
            self._events.append((number, size))
            weakref.finalize(storage, self._end, storage._cdata, number, size)

    def _end(self, address: int, number: int, size: int) -> None:
        del self._alive[address]
        self._events.append((number, -size))

    def peak(self, kinds: Mapping[str, Iterable[Tensor]]) -> dict[str, int]:
        """Returns the bytes at the peak by kind; all other bytes are the rest.

        Args:
            kinds: tensors of each kind, alive now.
        """
        kind_of = {
            self._alive.get(tensor.untyped_storage()._cdata): kind
            for kind, tensors in kinds.items()
            for tensor in tensors
        }
        end = self._end_of_peak()
        sizes: Counter[str] = Counter(dict.fromkeys((*kinds, REST), 0))
        for number, size in self._events[:end]:
            sizes[kind_of.get(number, REST)] += size
        return dict(sizes)

    def _end_of_peak(self) -> int:
        total = highest = end = 0
        for position, (_, size) in enumerate(self._events, 1):
            total += size
            if total > highest:
                highest, end = total, position
        return end
