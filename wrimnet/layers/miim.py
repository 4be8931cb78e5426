"""MIIM, Multi-dimension Interactive Information Mining: the block placed after backbone Blocks."""

from torch import Tensor, nn

from wrimnet.layers.fusion import SigmoidGate
from wrimnet.layers.gri import GlobalRegionInteraction
from wrimnet.layers.scc import SpatialChannelCompression
from wrimnet.layers.scr import SpatialChannelRestoration, enlarge

NORMS = ("none", "entrance", "gate", "both")


class MIIM(nn.Module):
    """Compression (SCC), interaction of positions with regions (GRI), restoration (SCR), fusion.

    ::

        F2, F3 = compress(F0)             tokens, regions
        F4     = interact(F2, F3)         GRI(Q=F2, K=F3, V=F3)
        F5     = restore(F4)
        out    = fuse(F0, F5)             F0 * sigmoid(F5) with the default fusion

    Each of the four steps is a method that a subclass may replace.

    The supplement leaves normalization open: here, F0 is batch-normalized without weights on its
    way into SCC ("entrance", see docs/deviations.md); F5 ("gate"), both or none can be tried.

    PyTorch's default initialization everywhere. A channels-last input gives a channels-last output
    without a change of layout on the way.

    Args:
        channels: C, of the Block's output.
        reduction: r, the channels are divided by it inside.
        stride: s, the height and width are divided by it inside; a rest is rounded down.
        num_heads: attention heads.
        region_size: g, side of a region in tokens.
        fusion: module (F0, F5) -> output; see :mod:`wrimnet.layers.fusion`.
        residual: whether GRI adds its tokens to its output.
        norm: "none", "entrance", "gate" or "both".

    Raises:
        ValueError: channels and reduction or num_heads do not fit, or norm is unknown.
    """

    def __init__(
        self,
        *,
        channels: int,
        reduction: int,
        stride: int,
        num_heads: int,
        region_size: int,
        fusion: nn.Module,
        residual: bool = False,
        norm: str = "entrance",
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
            normalized=norm in ("gate", "both"),
        )
        self.fusion = fusion

    def forward(self, features: Tensor) -> Tensor:
        """Enriches a feature map with information of the whole image.

        Args:
            features: F0, (B, C, H, W).

        Returns:
            (B, C, H, W).

        Raises:
            ValueError: the feature map is smaller than one stride.
        """
        if self.has_gate:
            return features * self.gate(features)
        return self.fuse(features, enlarge(self._restored(features), _size(features)))

    def compress(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Makes tokens F2, (B, h*w, C/r), and regions F3, (B, regions, C/r), of F0."""
        return self.compression(self.entrance(features))

    def interact(self, tokens: Tensor, regions: Tensor) -> Tensor:
        """Lets the tokens attend to the regions: F4, (B, h*w, C/r)."""
        return self.interaction(tokens, regions)

    def restore(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Makes F5 of F4, on the grid of tokens, (B, C, h, w), for features of size (H, W)."""
        return self.restoration(tokens, size)

    def fuse(self, features: Tensor, restored: Tensor) -> Tensor:
        """Joins F0 with F5, which was enlarged to its size: each (B, C, H, W), as the output."""
        return self.fusion(features, restored)

    @property
    def has_gate(self) -> bool:
        """Whether the output is the features times a gate, which :meth:`gate` returns."""
        is_gate = getattr(type(self.fusion), "forward", None) is SigmoidGate.forward
        return is_gate and type(self).fuse is MIIM.fuse

    def gate(self, features: Tensor) -> Tensor:
        """Computes the gate, (B, C, H, W), of a block that has one."""
        assert isinstance(self.fusion, SigmoidGate)
        return enlarge(self.fusion.gate(self._restored(features)), _size(features))

    def _restored(self, features: Tensor) -> Tensor:
        tokens, regions = self.compress(features)
        return self.restore(self.interact(tokens, regions), _size(features))


def _size(features: Tensor) -> tuple[int, int]:
    return features.shape[2], features.shape[3]
