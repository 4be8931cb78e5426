"""MIIM, Multi-dimension Interactive Information Mining: the block placed after backbone Blocks."""

from torch import Tensor, nn

from wrimnet.layers.gri import GlobalRegionInteraction
from wrimnet.layers.scc import SpatialChannelCompression
from wrimnet.layers.scr import SpatialChannelRestoration

NORMS = ("none", "entrance", "gate", "both")


class MIIM(nn.Module):
    """Compression (SCC), interaction of positions with regions (GRI), restoration and fusion (SCR).

    ::

        F2, F3 = SCC(F0)                  tokens, regions
        F4     = GRI(Q=F2, K=F3, V=F3)
        out    = F0 * sigmoid(F5),  F5 = restore(F4)      in the sigmoid mode

    What the supplement leaves open can be tried: a batch normalisation without weights of F0 on its
    way into SCC ("entrance"), of F5 ("gate"), or both.

    PyTorch's default initialisation everywhere. A channels-last input gives a channels-last output
    without a change of layout on the way.

    Args:
        channels: C, of the Block's output.
        reduction: r, the channels are divided by it inside.
        stride: s, the height and width are divided by it inside; a rest is rounded down.
        num_heads: attention heads.
        region_size: g, side of a region in tokens.
        fusion: "sigmoid", "multiply" or "add" (supplement, Table S3).
        residual: whether GRI adds its tokens to its output.
        norm: "none", "entrance", "gate" or "both".
        gate_scale: factor of the gate in the sigmoid mode; with 2 it starts near one.

    Raises:
        ValueError: channels and reduction or num_heads do not fit, or fusion or norm is unknown.
    """

    def __init__(
        self,
        *,
        channels: int,
        reduction: int,
        stride: int,
        num_heads: int,
        region_size: int,
        fusion: str,
        residual: bool = False,
        norm: str = "none",
        gate_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm is {norm!r}; expected one of {', '.join(NORMS)}")
        has_entrance = norm in ("entrance", "both")
        self.entrance = nn.BatchNorm2d(channels, affine=False) if has_entrance else nn.Identity()
        self.compression = SpatialChannelCompression(
            channels=channels, reduction=reduction, stride=stride, region_size=region_size
        )
        self.interaction = GlobalRegionInteraction(
            channels=channels // reduction, num_heads=num_heads, residual=residual
        )
        self.restoration = SpatialChannelRestoration(
            channels=channels,
            reduction=reduction,
            stride=stride,
            fusion=fusion,
            normalized=norm in ("gate", "both"),
            gate_scale=gate_scale,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Enriches a feature map with information of the whole image.

        Args:
            features: F0, (B, C, H, W).

        Returns:
            (B, C, H, W).

        Raises:
            ValueError: the map is smaller than one stride.
        """
        return self.restoration.fuse(features, self.interaction_map(features))

    def interaction_map(self, features: Tensor) -> Tensor:
        """Computes what the features are fused with; in the sigmoid mode the gate, 0 to 1.

        Args:
            features: F0, (B, C, H, W).

        Returns:
            (B, C, H, W): sigmoid(F5) in the sigmoid mode, F5 in the others.
        """
        tokens, regions = self.compression(self.entrance(features))
        interacted = self.interaction(tokens, regions)  # F4: (B, h*w, C/r)
        return self.restoration(interacted, (features.shape[2], features.shape[3]))
