"""Finds the operations of a computation that would make the host wait for a GPU.

On a CPU nothing waits, but the operations are the same: reading a number (``item``, ``tolist``,
``bool``, ``float``) is ``_local_scalar_dense``, and the others have a result whose size depends on
values. Each is reported with the functions of this project that asked for it.
"""

import sys

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten._unique2.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.repeat_interleave.Tensor,
}


COPIES = (torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.numpy)


class HostReads:
    """Context that collects, for each waiting operation, who called it: (module, function) pairs.

    Only functions of this project are named, the innermost first.
    """

    def __init__(self):
        self.found = []
        self._modes = (_Operations(self.found), _Copies(self.found))

    def __enter__(self):
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error):
        for mode in reversed(self._modes):
            mode.__exit__(*error)


class _Operations(TorchDispatchMode):
    def __init__(self, found):
        super().__init__()
        self._found = found

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in WAITING or _indexes_by_mask(function, args):
            self._found.append(_callers())
        return function(*args, **(kwargs or {}))


class _Copies(TorchFunctionMode):
    """What a CPU's tensor does without an operation."""

    def __init__(self, found):
        super().__init__()
        self._found = found

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in COPIES:
            self._found.append(_callers())
        return function(*args, **(kwargs or {}))


def _indexes_by_mask(function, args):
    if function not in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default):
        return False
    return any(index is not None and index.dtype == torch.bool for index in args[1])


def _callers():
    frame, found = sys._getframe(), []
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("wrimnet."):
            found.append((name, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(found)
