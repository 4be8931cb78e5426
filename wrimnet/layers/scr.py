"""SCR, Spatial-Channel Restoration: the last step of MIIM."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FUSIONS = ("sigmoid", "multiply", "add")


class SpatialChannelRestoration(nn.Module):
    """Brings tokens back to the size of the feature map and fuses them with it.

    ::

        F5 = nearest-upsample(Linear(C/r -> C)(F4))       (B, C, H, W)
        sigmoid:  out = F0 * sigmoid(F5)                  (supplement, section E and Table S3)
        multiply: out = F0 * F5
        add:      out = F0 + F5

    The sigmoid is taken before the upsampling: the same numbers, on s*s fewer elements.

    Args:
        channels: C.
        reduction: r of the paper.
        stride: s of the paper, in pixels of the feature map.
        fusion: one of FUSIONS.
        normalized: whether an affine-free batch normalisation of F5 comes first.
        gate_scale: factor of the sigmoid.

    Raises:
        ValueError: the fusion is unknown.
    """

    def __init__(
        self,
        *,
        channels: int,
        reduction: int,
        stride: int,
        fusion: str,
        normalized: bool = False,
        gate_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion is {fusion!r}; expected one of {', '.join(FUSIONS)}")
        self.stride = stride
        self.fusion = fusion
        self.gate_scale = gate_scale
        self.expand = nn.Linear(channels // reduction, channels)
        self.norm = nn.BatchNorm2d(channels, affine=False) if normalized else nn.Identity()

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Restores the map that the features are fused with.

        Args:
            tokens: F4, (B, h*w, C/r), row by row, h = H // s and w = W // s.
            size: (H, W).

        Returns:
            (B, C, H, W), channels-last: sigmoid(F5) in the sigmoid mode, F5 in the others.
        """
        height, width = (side // self.stride for side in size)
        expanded = self.expand(tokens)  # (B, h*w, C)
        grid = self.norm(expanded.unflatten(1, (height, width)).permute(0, 3, 1, 2))  # (B, C, h, w)
        if self.fusion == "sigmoid":
            gate = grid.sigmoid()
            grid = gate if self.gate_scale == 1 else self.gate_scale * gate
        # At stride 1 the grid has its size, and the upsampling would be a copy.
        return grid if self.stride == 1 else _enlarge(grid, size)

    def fuse(self, features: Tensor, restored: Tensor) -> Tensor:
        """Joins the features with the restored map.

        Args:
            features: F0, (B, C, H, W).
            restored: what ``forward`` returned, (B, C, H, W).

        Returns:
            (B, C, H, W).
        """
        return features + restored if self.fusion == "add" else features * restored


def _enlarge(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """Repeats values to a size, in their number format: autocast would make them float32."""
    with nullcontext() if grid.is_meta else torch.autocast(grid.device.type, enabled=False):
        return F.interpolate(grid, size=size, mode="nearest")
