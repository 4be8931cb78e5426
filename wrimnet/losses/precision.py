"""The number format of the losses: float32 at least, whatever the network runs in."""

import torch
from torch import Tensor


def without_autocast(tensor: Tensor) -> torch.autocast:
    """Switches autocast off on the tensor's device: bfloat16 keeps two to three digits only."""
    return torch.autocast(tensor.device.type, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns the tensor as float32, or as it is where it is float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
