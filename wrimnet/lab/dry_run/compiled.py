"""What torch.compile would make of a step, counted kernel by kernel on a simulated GPU.

PyTorch's compiler plans which operators it joins into a kernel and what it recomputes; no kernel is
written or run. Its planning is internal to PyTorch, so this asks for a version it was tried with.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from functorch.compile import make_boxed_func
from torch import Tensor, fx, nn
from torch._functorch.aot_autograd import aot_function
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._inductor import scheduler
from torch._inductor.debug import DebugContext
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.fx_passes.post_grad import post_grad_passes, view_to_reshape
from torch._inductor.fx_utils import count_flops_fx
from torch._inductor.graph import GraphLowering
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import _disable_current_modes

Kernels = list[tuple[int, int]]  # FLOP and bytes of each
# What the compiler asks of a card: those of an RTX 3090. It splits sums by them.
_CARD = SimpleNamespace(
    name="fake",
    gcnArchName="",
    uuid="fake",
    major=8,
    minor=6,
    multi_processor_count=82,
    regs_per_multiprocessor=65_536,
    max_threads_per_multi_processor=1_536,
    max_threads_per_block=1_024,
    shared_memory_per_block=49_152,
    shared_memory_per_block_optin=101_376,
    shared_memory_per_multiprocessor=102_400,
    warp_size=32,
    total_memory=24 * 10**9,
    L2_cache_size=6 * 2**20,
)


@contextmanager
def planning(mode: FakeTensorMode) -> Iterator[None]:
    """Lets the compiler plan for a simulated card; records nothing."""
    with _disable_current_modes(), mode, ExitStack() as stack:
        if not torch.cuda.is_initialized():
            state = torch.zeros(1, dtype=torch.uint8)
            for name, value in (
                ("get_rng_state", lambda *_: state),
                ("set_rng_state", lambda *_: None),
                ("_get_device_properties", lambda *_: _CARD),
            ):
                stack.enter_context(patch.object(torch.cuda, name, value, create=True))
            stack.enter_context(patch.object(scheduler, "has_triton", lambda: True))
        yield


class PlannedFunction:
    """A method of a module as the compiler would run it, forward and backward.

    The first call plans. Every call notes the kernels' costs, and not its operators.

    Args:
        method: bound to a module, whose parameters it may use.
        mode: of the tensors without values.
        note: is given what runs without being recorded, and the kernels that stand for it.
    """

    def __init__(
        self,
        method: Any,
        *,
        mode: FakeTensorMode,
        note: Callable[[Callable[[], Any], Kernels], Any],
        dynamic: bool = False,
    ) -> None:
        if dynamic:
            raise ValueError("kernels are planned for one shape")
        self._owner, self._mode, self._note = _Method(method), mode, note
        self._planned = False
        self._traced = aot_function(
            self._with_parameters,
            partial(self._compile, is_backward=False),
            partial(self._compile, is_backward=True),
            partition_fn=min_cut_rematerialization_partition,
            decompositions=select_decomp_table(),
        )

    def __call__(self, *arguments: Any) -> Any:
        """Runs the method."""
        tensors = dict(self._owner.named_parameters()) | dict(self._owner.named_buffers())
        if not self._planned:
            self._planned = True
            with planning(self._mode):
                self._traced(tensors, arguments)
        return self._traced(tensors, arguments)

    def _with_parameters(self, tensors: dict[str, Tensor], arguments: Any) -> Any:
        return functional_call(self._owner, tensors, arguments)

    def _compile(self, graph: fx.GraphModule, inputs: list[Tensor], *, is_backward: bool) -> Any:
        kernels = plan_kernels(graph, inputs, self._mode, is_backward=is_backward)
        return make_boxed_func(lambda *given: self._note(lambda: graph(*given), kernels))


class _Method(nn.Module):
    """A module whose forward pass is another one's method."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.owner, self._method = method.__self__, method

    def forward(self, *arguments: Any) -> Any:
        return self._method(*arguments)


def plan_kernels(
    graph: fx.GraphModule, inputs: list[Tensor], mode: FakeTensorMode, *, is_backward: bool
) -> Kernels:
    """Returns the cost of each kernel that the compiler makes of a graph."""
    planned = fx.GraphModule(graph, graph.graph)  # the passes change it; the given one still runs
    with planning(mode), V.set_fake_mode(mode), V.set_debug_handler(DebugContext()):
        view_to_reshape(planned)
        post_grad_passes(planned, is_inference=False)
        lowering = GraphLowering(planned, example_inputs=inputs, is_backward=is_backward)
        with V.set_graph_handler(lowering):
            lowering.run(*inputs)
            lowering._update_scheduler()
            return [_cost(node) for node in lowering.scheduler.nodes]


def _cost(kernel: Any) -> tuple[int, int]:
    """FLOP of a product or convolution, which the compiler leaves to libraries, and bytes."""
    num_bytes = kernel.get_read_write_buffers_sizes()
    if not num_bytes or not kernel.is_extern():
        return 0, num_bytes
    return max(count_flops_fx(node) or 0 for node in kernel.node.get_origins()), num_bytes
