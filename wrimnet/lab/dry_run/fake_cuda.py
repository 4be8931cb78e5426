"""A simulated CUDA device: tensors on it have a shape, a type and a device, but no values.

Tensors on the CPU are real; whatever is sent to ``cuda`` becomes one of PyTorch's fake tensors. An
operation on tensors of two devices fails as it would on a GPU, and so does reading a value of the
device (``item``, ``bool``, ``nonzero``, indexing by a mask). Copies from the device to the host are
listed. Nothing is computed on the device, so a step at full size takes seconds.

It changes the process for good (PyTorch then takes CUDA for available): use it in one of its own.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

SOURCE = Path(__file__).with_suffix(".cpp")
COMPILER = "g++"
_STARTS = [name for name in ("init_gpu_context", "init_cuda_context") if hasattr(fake_tensor, name)]
_WITHOUT_A_FAKE = {torch.ops.aten._fused_sgd_.default}  # updates in place, returns nothing
_PRETENDED = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": lambda device: None,
    "is_bf16_supported": lambda *_, **__: True,
    "get_device_name": lambda *_: "fake",
    "get_device_capability": lambda *_: (8, 6),
    "is_current_stream_capturing": lambda: False,
    "_lazy_init": lambda: None,
}


def torch_version() -> tuple[int, ...]:
    """Major and minor version of PyTorch."""
    return tuple(int(part) for part in torch.__version__.split(".")[:2])


def asks_for_driver() -> bool:
    """Whether operators of this build need a GPU's driver to choose an algorithm."""
    old = torch_version() < (2, 11)
    return torch.version.cuda is not None and old and not torch.cuda.is_available()


def build_shim() -> Path:
    """Compiles the device guard, once per version of PyTorch and user.

    Raises:
        ValueError: there is no compiler, it fails, or this PyTorch asks for the driver.
    """
    if asks_for_driver():
        raise ValueError(
            f"PyTorch {torch.__version__} is built for CUDA and needs its driver, which this "
            "machine lacks; a simulated CUDA device needs a CPU build, or PyTorch 2.11 and newer"
        )
    if not shutil.which(COMPILER):
        raise ValueError(f"a simulated CUDA device needs a C++ compiler: install {COMPILER}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "wrimnet")
    content = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:8]
    shim = cache / f"fake_cuda_{torch.__version__}_{content}.so"
    if not shim.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _compile(shim)
    return shim


def _compile(shim: Path) -> None:
    home, unfinished = Path(torch.__file__).parent, shim.with_suffix(f".{os.getpid()}.tmp")
    words = [COMPILER, "-std=c++20", "-O0", "-w", "-fPIC", "-shared", str(SOURCE)]
    words += [f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
    words += ["-o", str(unfinished), f"-I{home}/include", f"-L{home}/lib", "-lc10", "-ltorch_cpu"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{SOURCE.name} does not compile with this PyTorch: {done.stderr[:500]}")
    unfinished.replace(shim)


class FakeCuda(TorchDispatchMode):
    """Runs operations on the CPU's tensors as they are, and the others without values.

    Args:
        record: called after each operation of the device: (operator, args, kwargs, result).
        mode: makes tensors without values.

    Attributes:
        mode: makes tensors without values.
        reads: "operator at file:line" of each copy from the device to the host.
    """

    def __init__(self, record: Callable[..., None], mode: FakeTensorMode) -> None:
        super().__init__()
        self.reads: list[str] = []
        self._record, self.mode = record, mode

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs the operator; on the device without values, and noted."""
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        fake = any(isinstance(one, FakeTensor) for one in leaves)
        devices = {one.type for one in leaves if isinstance(one, torch.device)}
        if not fake and "cuda" not in devices:
            with unset_fake_temporarily():
                return function(*args, **kwargs)
        if fake and "cpu" in devices:
            self.reads.append(f"{function} at {_project_line()}")
        if not fake:  # PyTorch 2.4 and 2.6 would take the real tensor to the device
            args, kwargs = tree_map(self._without_values, (args, kwargs))
        result = None if function in _WITHOUT_A_FAKE else function(*args, **kwargs)
        self._record(function, args, kwargs, result)
        return result

    def _without_values(self, value: Any) -> Any:
        return self.mode.from_tensor(value) if isinstance(value, torch.Tensor) else value


def _project_line() -> str:
    for frame in reversed(traceback.extract_stack()):
        if "/wrimnet/" in frame.filename:
            return f"{frame.filename.rpartition('/wrimnet/')[2]}:{frame.lineno}"
    return "?"


def _apply(module: nn.Module, convert: Callable[[Any], Any], recurse: bool = True) -> nn.Module:
    """nn.Module._apply with new parameters in the old ones' place: fake ones have no memory."""
    for child in module.children() if recurse else ():
        _apply(child, convert)
    with torch.no_grad():
        for name, value in module._parameters.items():
            if value is not None:
                module._parameters[name] = nn.Parameter(convert(value), value.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = convert(buffer)
    return module


@contextmanager
def fake_cuda(record: Callable[..., None]) -> Iterator[FakeCuda]:
    """Pretends that the machine has one GPU; yields the :class:`FakeCuda` that watches it."""
    with ExitStack() as stack:
        enter = stack.enter_context
        if not torch.cuda.is_available():
            ctypes.CDLL(str(build_shim()))
            for name, value in _PRETENDED.items():
                enter(patch.object(torch.cuda, name, value))
        enter(patch.object(nn.Module, "_apply", _apply))
        enter(patch.object(torch.Tensor, "pin_memory", lambda self: self))
        enter(patch.object(torch.Tensor, "record_stream", lambda self, stream: None))
        enter(patch.object(FakeTensorMode, "avoid_device_init", True))  # or constants are computed
        for name in _STARTS:
            enter(patch.object(fake_tensor, name, lambda *_: None))
        mode = enter(FakeTensorMode(allow_non_fake_inputs=True))
        yield enter(FakeCuda(record, mode))
