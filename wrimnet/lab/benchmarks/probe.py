"""What the device at hand can do: a matrix product and a copy, measured."""

from statistics import median
from typing import NamedTuple

import torch

from wrimnet.lab.benchmarks.timing import seconds_of


class DeviceSpeed(NamedTuple):
    """The roofs of a device.

    Args:
        flops: FLOP per second of a large matrix product, two per multiply and add.
        num_bytes: bytes per second that a large copy reads and writes.
        number_format: of the matrix product.
    """

    flops: float
    num_bytes: float
    number_format: str


def probe_device(device: torch.device, *, repeats: int) -> DeviceSpeed:
    """Measures the device's roofs: medians of ``repeats``, in bf16 on CUDA and fp32 elsewhere."""
    large = device.type == "cuda"
    dtype = torch.bfloat16 if large else torch.float32
    side, length = (8192, 2**30) if large else (1024, 2**25)
    left = torch.ones(side, side, dtype=dtype, device=device)
    source = torch.ones(length, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = _median_seconds(lambda: left @ left, device, repeats)
    copy = _median_seconds(lambda: target.copy_(source), device, repeats)
    return DeviceSpeed(2 * side**3 / product, 2 * length / copy, "bf16" if large else "fp32")


def _median_seconds(run: object, device: torch.device, repeats: int) -> float:
    run()
    return median(seconds_of(run, device) for _ in range(repeats))
