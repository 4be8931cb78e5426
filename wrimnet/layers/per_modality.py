"""Separate weights for the two modalities."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class PerModality(nn.Module):
    """Two copies of a block, one per modality: the separate MIIM of the paper.

    The batch holds its visible images first, so that each copy gets a slice and not a masked copy.
    The bare block is the shared one. It takes no num_visible, so a caller that holds either writes
    ``block(x, num_visible) if isinstance(block, PerModality) else block(x)``.

    Args:
        build_block: makes a new block at each call; called twice, so that the two copies are
            initialized independently. The block maps (B, ...) to (B, ...) image by image.
    """

    def __init__(self, build_block: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.visible = build_block()
        self.infrared = build_block()

    def forward(self, features: Tensor, num_visible: int) -> Tensor:
        """Sends the visible images through one copy and the infrared ones through the other.

        Args:
            features: (B, ...), visible images first.
            num_visible: number of visible images, 0..B; 0 and B are the batches of evaluation.

        Returns:
            What the block makes of it, (B, ...), in the same order.

        Raises:
            ValueError: num_visible is not in 0..B.
        """
        num_infrared = features.shape[0] - num_visible
        if num_visible < 0 or num_infrared < 0:
            raise ValueError(
                f"num_visible is {num_visible}; expected 0..{len(features)}, the batch's size"
            )
        if num_infrared == 0:
            return self.visible(features)
        if num_visible == 0:
            return self.infrared(features)
        visible, infrared = features.split((num_visible, num_infrared))
        return torch.cat((self.visible(visible), self.infrared(infrared)))
