"""SCR, Spatial-Channel Restoration: the last step of MIIM, without the fusion."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpatialChannelRestoration(nn.Module):
    """Brings tokens back to the channels of the feature map.

    ::

        F5 = nearest-upsample(Linear(C/r -> C)(F4))       (B, C, H, W)

    The upsampling is :func:`enlarge`, a step of its own: a gate is computed before it, on s*s
    fewer elements, with the same result.

    Args:
        channels: C.
        reduction: r of the paper.
        stride: s of the paper, in pixels of the feature map.
        normalized: whether an affine-free batch normalization of F5 comes last.
    """

    def __init__(
        self, *, channels: int, reduction: int, stride: int, normalized: bool = False
    ) -> None:
        super().__init__()
        self.stride = stride
        self.expand = nn.Linear(channels // reduction, channels)
        self.norm = nn.BatchNorm2d(channels, affine=False) if normalized else nn.Identity()

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Restores the channels.

        Args:
            tokens: F4, (B, h*w, C/r), row by row, h = H // s and w = W // s.
            size: (H, W).

        Returns:
            F5 before its upsampling, (B, C, h, w), channels-last.
        """
        height, width = (side // self.stride for side in size)
        expanded = self.expand(tokens)  # (B, h*w, C)
        return self.norm(expanded.unflatten(1, (height, width)).permute(0, 3, 1, 2))


def enlarge(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """Repeats the values of (B, C, h, w) to a size (H, W), in their number format."""
    if (grid.shape[2], grid.shape[3]) == size:  # the upsampling would be a copy
        return grid
    # autocast would make the values float32
    with nullcontext() if grid.is_meta else torch.autocast(grid.device.type, enabled=False):
        return F.interpolate(grid, size=size, mode="nearest")
