"""AGW's non-local block, with its attention of one channel.

Ye et al., Deep Learning for Person Re-Identification: A Survey and Outlook, PAMI 2021.
"""

import torch
from torch import Tensor, nn


def project_from_zero(channels: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Builds a 1x1 convolution with a normalization that starts at 0, for a residual branch."""
    norm = nn.BatchNorm2d(outputs)
    nn.init.zeros_(norm.weight)
    return nn.Sequential(nn.Conv2d(channels, outputs, 1, stride), norm)


class NonLocalBlock(nn.Module):
    """Adds to each position what it draws from all of them.

    Of x with N positions it makes x + W y::

        y_i = sum_j (theta_i . phi_j / N) g_j = theta_i . (sum_j phi_j g_j^T) / N

    There is no softmax, so that the right-hand form, without the N x N matrix, is the same.

    Args:
        channels: C of the feature map.
        inner: of theta, phi and g; the official code has 1.
    """

    def __init__(self, channels: int, inner: int = 1) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.project = project_from_zero(inner, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        theta, phi, g = (part(features).flatten(2) for part in (self.theta, self.phi, self.g))
        drawn = g @ phi.mT / phi.shape[2] @ theta  # (B, inner, N)
        grid = drawn.unflatten(2, features.shape[2:])
        # one channel has no layout of its own: the clone's strides say channels-last
        return features + self.project(grid.clone(memory_format=torch.channels_last))
