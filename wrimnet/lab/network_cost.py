"""What a network costs per image: parameters and operations counted, latency measured."""

import platform
import statistics
import time
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from wrimnet.modality import VISIBLE
from wrimnet.modeling.network import CrossModalityNetwork
from wrimnet.modeling.weights import without_training_only

_WARM_UP_CALLS, _TIMED_CALLS = 5, 30


@torch.no_grad()  # torch 2.4 counts nothing in inference mode
def measure_cost(
    model: CrossModalityNetwork, *, height: int, width: int, precision: str
) -> dict[str, Any]:
    """Measures one image of one modality on its way to the embedding, in evaluation mode.

    Args:
        model: has ``embed_parts(images, modality)``; without classifiers, as it is tested.
        height: pixels.
        width: pixels.
        precision: "fp32" or "bf16" of the forward pass.

    Returns:
        "parameters"; "gflop": 10^9 floating-point operations, a multiplication and an addition
        counted as two; "latency_ms": median over calls of one image; and what they were measured
        with.
    """
    device = next(model.parameters()).device
    half = torch.autocast(device.type, dtype=torch.bfloat16)
    image = torch.zeros(1, height, width, 3, dtype=torch.uint8, device=device)
    with half if precision == "bf16" else nullcontext():
        with FlopCounterMode(display=False) as counter:
            model.embed_parts(image, VISIBLE)
        seconds = [_time_call(model, image) for _ in range(_WARM_UP_CALLS + _TIMED_CALLS)]
    return {
        "parameters": count_parameters(model),
        "gflop": counter.get_total_flops() / 1e9,
        "latency_ms": 1e3 * statistics.median(seconds[_WARM_UP_CALLS:]),
        "device": _device_name(device),
        "input": f"{height}x{width}",
        "precision": precision,
    }


def count_parameters(model: nn.Module) -> int:
    """Counts the parameters that an evaluation keeps, those of ``training_only`` left out."""
    kept = without_training_only(model, dict(model.named_parameters()))
    return sum(parameter.numel() for parameter in kept.values())


def _time_call(model: CrossModalityNetwork, image: Tensor) -> float:
    begin = time.perf_counter()
    model.embed_parts(image, VISIBLE)
    if image.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}"
