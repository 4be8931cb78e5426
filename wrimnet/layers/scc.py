"""SCC, Spatial-Channel Compression: the first step of MIIM."""

from torch import Tensor, nn


class SpatialChannelCompression(nn.Module):
    """Makes few, short tokens of a feature map, and fewer regions of the tokens.

    ::

        F1 = Conv2d(C -> C/r, kernel = stride = s)(F0)    (B, C/r, h, w), h = H // s, w = W // s
        F2 = LayerNorm(flatten(F1))                       (B, h*w, C/r) tokens
        F3 = LayerNorm(flatten(AvgPool_g(F1)))            (B, regions, C/r)

    Tokens and regions share the LayerNorm. A region at the lower or right edge averages the
    positions that exist. The pool's window is fixed, not adaptive, because adaptive pooling has no
    deterministic backward on CUDA.

    Args:
        channels: C, a multiple of reduction.
        reduction: r of the paper.
        stride: s of the paper, in pixels of the feature map.
        region_size: g of the paper, in tokens.

    Raises:
        ValueError: reduction does not divide channels.
    """

    def __init__(self, *, channels: int, reduction: int, stride: int, region_size: int) -> None:
        super().__init__()
        if channels % reduction:
            raise ValueError(
                f"channels ({channels}) is not a multiple of reduction ({reduction}); "
                "choose a reduction that divides the backbone's channels"
            )
        self.stride = stride
        self.compress = nn.Conv2d(
            channels, channels // reduction, kernel_size=stride, stride=stride
        )
        self.pool = nn.AvgPool2d(
            region_size, stride=region_size, ceil_mode=True, count_include_pad=False
        )
        self.norm = nn.LayerNorm(channels // reduction)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Compresses a feature map.

        Args:
            features: F0, (B, C, H, W).

        Returns:
            Tokens F2, (B, h*w, C/r), and regions F3, (B, regions, C/r), both row by row.

        Raises:
            ValueError: the feature map is smaller than one stride.
        """
        height, width = features.shape[-2:]
        if min(height, width) < self.stride:
            raise ValueError(
                f"the feature map is {height}x{width}, smaller than the stride {self.stride}; "
                "enlarge the input or lower the stride of this Block's MIIM"
            )
        compressed = self.compress(features)  # F1: (B, C/r, h, w)
        tokens = self.norm(_flatten(compressed))  # F2: (B, h*w, C/r)
        regions = self.norm(_flatten(self.pool(compressed)))  # F3: (B, regions, C/r)
        return tokens, regions


def _flatten(grid: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h*w, C): a view where the grid is channels-last."""
    return grid.permute(0, 2, 3, 1).flatten(1, 2)
