"""DEEN's modules: diverse embedding expansion (DEE) and multi-stage feature aggregation (MFA).

Zhang and Wang, Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for
Visible-Infrared Person Re-Identification, CVPR 2023.
"""

import torch
from torch import Tensor, nn

from wrimnet.peers.non_local import project_from_zero

DILATIONS = (1, 2, 3)
COPIES = 3  # the map itself and one per branch


class ExpansionBranch(nn.Module):
    """Mean of three dilated 3x3 convolutions to C / 4, ReLU, 1x1 convolution back to C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            nn.Conv2d(channels, channels // 4, 3, padding=d, dilation=d, bias=False)
            for d in DILATIONS
        )
        self.mix = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        seen = sum(convolution(features) for convolution in self.dilated) / len(DILATIONS)
        return self.mix(seen.relu())


class EmbeddingExpansion(nn.Module):
    """DEE: the batch, then the batch as each of two branches makes it.

    Args:
        channels: C of the feature map, a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(ExpansionBranch(channels) for _ in range(COPIES - 1))

    def forward(self, features: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (3B, C, H, W)."""
        return torch.cat([features, *(branch(features) for branch in self.branches)])


class ChannelAggregation(nn.Module):
    """CNL: attention between the channels of two stages; the energy is divided by its size.

    Args:
        high: channels of the later feature map.
        low: channels of the earlier feature map.
        stride: 2 where the later feature map is half as large, 1 where it is as large.
    """

    def __init__(self, high: int, low: int, stride: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(high, low, 1)
        self.phi = nn.Conv2d(low, low, 1, stride)
        self.g = nn.Conv2d(low, low, 1)
        self.project = project_from_zero(low, high, stride)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """Returns a feature map like the later one of the later and the earlier one."""
        theta, phi, g = self.theta(high).flatten(2), self.phi(low).flatten(2), self.g(low)
        energy = theta @ phi.mT / phi.shape[1]  # (B, C_low, C_low)
        return high + self.project((energy @ g.flatten(2)).unflatten(2, g.shape[2:]))


class PositionAggregation(nn.Module):
    """PNL: attention of the later stage's positions over the earlier one's.

    The official code lays C / 2 channels of N positions out as C channels of N / 2: position i and
    position i + N / 2, half a feature map below, are one with the channels of both. That is
    kept. As in :class:`wrimnet.peers.non_local.NonLocalBlock` no matrix over positions is made.

    Args:
        high: channels of the later feature map.
        low: channels of the earlier feature map, even.
    """

    def __init__(self, high: int, low: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(high, low // 2, 1)
        self.phi = nn.Conv2d(low, low // 2, 1)
        self.g = nn.Conv2d(low, low // 2, 1)
        self.project = project_from_zero(low // 2, high)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """Returns a feature map like the later one of the later and the earlier one.

        Raises:
            ValueError: a feature map has an odd number of positions.
        """
        theta, phi, g = map(_halves_joined, (self.theta(high), self.phi(low), self.g(low)))
        drawn = g @ phi.mT / phi.shape[2] @ theta  # (B, C_low, N_high / 2)
        # len() would fix the number of images on export
        return high + self.project(drawn.reshape(high.shape[0], -1, *high.shape[2:]))


def _halves_joined(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 2C, H W / 2)."""
    height, width = features.shape[2:]
    if height * width % 2:
        raise ValueError(
            f"a {height} x {width} feature map has an odd number of positions, which MFA cannot "
            "pair; choose another INPUT.SIZE_TRAIN and SIZE_TEST"
        )
    return features.reshape(features.shape[0], 2 * features.shape[1], -1)


class StageAggregation(nn.Module):
    """MFA: CNL, then PNL, both with the feature map of the stage before; arguments as theirs."""

    def __init__(self, high: int, low: int, stride: int) -> None:
        super().__init__()
        self.channel = ChannelAggregation(high, low, stride)
        self.position = PositionAggregation(high, low)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """Returns a feature map like the later one of the later and the earlier one."""
        return self.position(self.channel(high, low), low)
