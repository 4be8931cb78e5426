"""One level of the AICL head: global and stripe features, each with BN-neck and classifier."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wrimnet.layers.partition import global_average_pool, partition_pool


class LevelOutput(NamedTuple):
    """What the head computes of one level.

    Args:
        pooled: (B, C), the global feature before the BN-neck.
        necks: S + 1 tensors (B, C) after the BN-neck: the global feature, then the stripes.
        logits: S + 1 tensors (B, num_classes); empty without classifiers or in evaluation.
        contrastive: (B, E), projection of ``pooled``, or None without one.
    """

    pooled: Tensor
    necks: list[Tensor]
    logits: list[Tensor]
    contrastive: Tensor | None


class LevelHead(nn.Module):
    """Pools a level's map and classifies the global feature and each stripe (METHOD section 4).

    Args:
        channels: C of the level's map.
        num_stripes: horizontal stripes beside the global feature (N or M).
        num_classes: training identities; 0 leaves the classifiers out.
        contrastive_dim: outputs of the projection Linear-BN-ReLU-Linear; 0 leaves it out.
    """

    def __init__(
        self, *, channels: int, num_stripes: int, num_classes: int, contrastive_dim: int
    ) -> None:
        super().__init__()
        self.num_stripes = num_stripes
        parts = range(num_stripes + 1)
        self.necks = nn.ModuleList(_bn_neck(channels, trained=num_classes > 0) for _ in parts)
        self.classifiers = nn.ModuleList(
            _classifier(channels, num_classes) for _ in parts if num_classes
        )
        self.projection = _projection(channels, contrastive_dim) if contrastive_dim else None

    def forward(self, features: Tensor) -> LevelOutput:
        """Returns the :class:`LevelOutput` of ``features`` (B, C, H, W), in float32 or wider."""
        pooled = global_average_pool(features)
        parts = [pooled]
        if self.num_stripes:
            parts += partition_pool(features, self.num_stripes).unbind(1)
        necks = [neck(part) for neck, part in zip(self.necks, parts, strict=True)]
        logits = []
        if self.training:
            logits = [layer(neck) for layer, neck in zip(self.classifiers, necks, strict=False)]
        project = self.training and self.projection is not None
        return LevelOutput(pooled, necks, logits, self.projection(pooled) if project else None)


def unit_features(features: list[Tensor]) -> Tensor:
    """Concatenates features (B, C), each scaled to unit length, to (B, sum of C)."""
    return torch.cat([F.normalize(feature, dim=1) for feature in features], dim=1)


def _bn_neck(channels: int, *, trained: bool) -> nn.BatchNorm1d:
    neck = nn.BatchNorm1d(channels)
    neck.bias.requires_grad_(False)
    neck.weight.requires_grad_(trained)  # without a classifier no loss reaches it
    return neck


def _classifier(channels: int, num_classes: int) -> nn.Linear:
    classifier = nn.Linear(channels, num_classes, bias=False)
    nn.init.normal_(classifier.weight, std=0.01)
    return classifier


def _projection(channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, channels),
        nn.BatchNorm1d(channels),
        nn.ReLU(inplace=True),
        nn.Linear(channels, outputs),
    )
