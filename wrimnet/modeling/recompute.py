"""Activation checkpointing that counts no batch twice in the running statistics."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def run_recomputed(function: Callable[..., Any], module: nn.Module, *arguments: Any) -> Any:
    """Runs a function whose intermediate feature maps are computed again in the backward pass.

    The second computation runs batch normalization again. Without care it would update the running
    statistics again, with the same batch, and the trained model would be another one than without
    checkpointing. Random numbers, as for a custom block's dropout, are the same in both. ``module``
    holds the buffers.
    """
    return checkpoint(
        function,
        *arguments,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), buffers_of_their_own(module)),
    )


@contextmanager
def buffers_of_their_own(module: nn.Module) -> Iterator[None]:
    """Lets the modules write to copies of their buffers; the buffers come back unchanged."""
    kept = [
        (owner, name, buffer)
        for owner in module.modules()
        for name, buffer in owner.named_buffers(recurse=False)
    ]
    for owner, name, buffer in kept:
        setattr(owner, name, buffer.clone())
    try:
        yield
    finally:
        for owner, name, buffer in kept:
            setattr(owner, name, buffer)
