"""What the device at hand can do: a matrix product and a copy, measured."""

from statistics import median
from typing import NamedTuple

import torch

from wrimnet.lab.benchmarks.timing import device_clock, seconds_of


class DeviceSpeed(NamedTuple):
    """The measured limits of a device.

    Args:
        flops: FLOP per second of a large matrix product, two per multiply and add.
        num_bytes: bytes per second that a large copy reads and writes.
        number_format: of the matrix product.
    """

    flops: float
    num_bytes: float
    number_format: str


def probe_device(device: torch.device, *, repeats: int) -> DeviceSpeed:
    """Measures the device's limits: medians of ``repeats``, in bf16 on CUDA and fp32 elsewhere."""
    large = device.type == "cuda"
    dtype = torch.bfloat16 if large else torch.float32
    side, length = (8192, 2**30) if large else (1024, 2**25)
    left = torch.ones(side, side, dtype=dtype, device=device)
    source = torch.ones(length, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    clock = device_clock(device)
    product, copy = (
        median(seconds_of(run, clock, repeats=repeats, steps=1))
        for run in (lambda: left @ left, lambda: target.copy_(source))
    )
    return DeviceSpeed(2 * side**3 / product, 2 * length / copy, "bf16" if large else "fp32")
