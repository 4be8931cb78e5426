"""The layout of features between a network's Blocks, to feature maps (B, C, h, w) and back.

MIIMs and heads read feature maps. Convolutional networks have them (:class:`FeatureLayout`), Swin
has the channels last, a vision transformer has tokens.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class FeatureLayout:
    """Maps (B, C, h, w): nothing changes."""

    def to_map(self, features: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Makes a feature map of features; ``image_size`` is the (H, W) of the network's input."""
        return features

    def from_map(self, feature_map: Tensor, features: Tensor) -> Tensor:
        """Puts a feature map back in place of the one that :meth:`to_map` made of ``features``."""
        return feature_map


MAPS = FeatureLayout()


class ChannelsLast(FeatureLayout):
    """Maps (B, h, w, C), as Swin has them."""

    def to_map(self, features: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Moves the channels to the front."""
        return features.permute(0, 3, 1, 2)

    def from_map(self, feature_map: Tensor, features: Tensor) -> Tensor:
        """Moves the channels to the end."""
        return feature_map.permute(0, 2, 3, 1)


class Tokens(FeatureLayout):
    """Tokens (B, N, C): ``num_prefix`` without a place, such as a class token, then the grid's.

    ``grid`` returns rows and columns of tokens, (h, w), of an image of size (H, W). The prefix is
    kept as it is.
    """

    def __init__(self, num_prefix: int, grid: Callable[[tuple[int, int]], tuple[int, int]]) -> None:
        self.num_prefix = num_prefix
        self.grid = grid

    def to_map(self, features: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Lays the tokens of the grid out as a feature map."""
        return features[:, self.num_prefix :].transpose(1, 2).unflatten(2, self.grid(image_size))

    def from_map(self, feature_map: Tensor, features: Tensor) -> Tensor:
        """Puts the feature map's positions back behind the prefix."""
        prefix = features[:, : self.num_prefix]
        return torch.cat((prefix, feature_map.flatten(2).transpose(1, 2)), dim=1)
