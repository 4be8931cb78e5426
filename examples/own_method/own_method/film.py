"""A block in MIIM's place, and a fusion inside MIIM: scale and shift instead of the gate."""

from torch import nn

from wrimnet.layers.miim import MIIM
from wrimnet.registries import FUSION_REGISTRY, MIIM_REGISTRY


@MIIM_REGISTRY.register()
class FiLMMIIM(MIIM):
    """Scale and shift in place of the gate."""

    def __init__(self, *, channels, **options):
        super().__init__(channels=channels, **options)
        self.scale = nn.Conv2d(channels, channels, 1)

    def fuse(self, features, restored):
        """Returns F0 * (1 + scale(F5)) + F5."""
        return features * (1 + self.scale(restored)) + restored


@FUSION_REGISTRY.register()
class FiLM(nn.Module):
    """The same as a fusion alone."""

    def __init__(self, cfg, stage, channels):
        super().__init__()
        self.scale = nn.Conv2d(channels, channels, 1)

    def forward(self, features, restored):
        """Returns F0 * (1 + scale(F5)) + F5."""
        return features * (1 + self.scale(restored)) + restored
