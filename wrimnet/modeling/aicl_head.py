"""AICL head: both levels, contrastive embedding, test embedding (METHOD section 4).

A custom head is a module that MODEL.HEADS.NAME names, often a subclass of :class:`AICLHead`:

- It is built by ``Head(cfg, channels={"main": C, "auxiliary": C'})``.
- ``forward(levels, num_visible)`` returns a :class:`HeadOutput`, in training and in evaluation. The
  first ``num_visible`` rows of each feature map are visible images, the others infrared. Loss terms
  read the output by the names of its fields; what a head adds for terms of its own is in
  ``branches``.
- ``parts(output)`` returns groups of features (B, D_group) for the test embedding. The network
  concatenates those of MODEL.WRIM.EMBEDDING_PARTS and scales the whole to unit L2 norm, so the norm
  of a group is its weight.
- ``part_names`` are the groups that there may be, in the order of the embedding; ``part_dims`` are
  the lengths of those that there are.
- Modules that only training uses have ``classifiers.`` or ``projection.`` in their names; they are
  left out of evaluation and export.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode, configurable
from fastreid.modeling.heads import REID_HEADS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from wrimnet.layers.partition import global_average_pool, partition_pool


class LevelOutput(NamedTuple):
    """What the head computes of one level."""

    pooled: Tensor  # (B, C), the global feature before the BN-neck
    necks: list[Tensor]  # S + 1 of (B, C) after the BN-neck: the global feature, then the stripes
    logits: list[Tensor]  # S + 1 of (B, num_classes); empty without classifiers or in evaluation
    contrastive: Tensor | None  # (B, E), projection of ``pooled``, or None without one


class LevelHead(nn.Module):
    """Pools a level's feature map and classifies the global feature and each of its N or M stripes.

    METHOD section 4. ``num_classes`` 0 leaves the classifiers out; ``contrastive_dim`` 0 the
    projection Linear-BN-ReLU-Linear.
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
        self.projection = None
        if contrastive_dim:
            self.projection = nn.Sequential(
                nn.Linear(channels, channels),
                nn.BatchNorm1d(channels),
                nn.ReLU(inplace=True),
                nn.Linear(channels, contrastive_dim),
            )

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
        projection = self.projection if self.training else None
        return LevelOutput(pooled, necks, logits, projection(pooled) if projection else None)


def unit_features(features: list[Tensor]) -> Tensor:
    """Concatenates features (B, C), each L2-normalized, to (B, sum of C)."""
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


RESNET50_LEVELS = {"main": 2048, "auxiliary": 1024}


class HeadOutput(NamedTuple):
    """What a head computes; a loss term needs those fields that it reads.

    The paper's terms read ``logits`` and ``pooled`` of both levels, and ``contrastive``.
    """

    main: LevelOutput
    auxiliary: LevelOutput | None
    contrastive: Tensor | None  # z (B, E) or (B, 2E), L2-normalized
    branches: Mapping[str, LevelOutput] = {}  # of a custom head


@REID_HEADS_REGISTRY.register()
class AICLHead(nn.Module):
    """Auxiliary-information contrastive head over a dict of named levels.

    ``main`` gives f_g, f_1..f_N, ``auxiliary`` Q_g, Q_1..Q_M, or is None (Table S4).
    """

    part_names = ("global", "stripes", "auxiliary")

    @configurable
    def __init__(
        self, *, main: LevelHead, auxiliary: LevelHead | None, part_dims: dict[str, int]
    ) -> None:
        super().__init__()
        self.main = main
        self.auxiliary = auxiliary
        self.part_dims = part_dims

    @classmethod
    def from_config(
        cls, cfg: CfgNode, channels: Mapping[str, int] = RESNET50_LEVELS
    ) -> dict[str, Any]:
        """Reads ``cfg.MODEL.WRIM``; ``channels`` are those of the backbone's levels."""
        wrim, num_classes = cfg.MODEL.WRIM, cfg.MODEL.HEADS.NUM_CLASSES
        contrastive_dim = wrim.CMKIC.EMBEDDING_DIM if wrim.CMKIC.WEIGHT > 0 else 0
        classified = num_classes if wrim.CLASSIFICATION.WEIGHT > 0 else 0
        main = LevelHead(
            channels=channels["main"],
            num_stripes=wrim.MAIN.STRIPES,
            num_classes=classified,
            contrastive_dim=contrastive_dim,
        )
        auxiliary = None
        if wrim.AUXILIARY.ENABLED:
            auxiliary = LevelHead(
                channels=channels["auxiliary"],
                num_stripes=wrim.AUXILIARY.STRIPES,
                num_classes=classified if wrim.AUXILIARY.WEIGHT > 0 else 0,
                contrastive_dim=contrastive_dim,
            )
        part_dims = {"global": channels["main"]}
        if wrim.MAIN.STRIPES:
            part_dims["stripes"] = channels["main"] * wrim.MAIN.STRIPES
        if wrim.AUXILIARY.ENABLED:
            part_dims["auxiliary"] = channels["auxiliary"] * (wrim.AUXILIARY.STRIPES + 1)
        return {"main": main, "auxiliary": auxiliary, "part_dims": part_dims}

    def forward(self, levels: dict[str, Tensor], num_visible: int) -> HeadOutput:
        """Computes both levels from the "main" and "auxiliary" feature maps (B, C, H, W)."""
        main = self.main(levels["main"])
        auxiliary = self.auxiliary(levels["auxiliary"]) if self.auxiliary is not None else None
        levels_of_z = [main.contrastive] if main.contrastive is not None else []
        if levels_of_z and auxiliary is not None:
            levels_of_z.append(auxiliary.contrastive)
        # z = L2norm(concat(L2norm(proj_main(f_g)), L2norm(proj_aux(Q_g))))  (METHOD section 4)
        z = F.normalize(unit_features(levels_of_z), dim=1) if levels_of_z else None
        return HeadOutput(main, auxiliary, z)

    def parts(self, output: HeadOutput) -> dict[str, Tensor]:
        """Groups the BN-neck features for testing.

        Returns:
            "global" f_g, "stripes" f_1..f_N and "auxiliary" Q_g, Q_1..Q_M as far as they exist,
            each (B, part_dims[group]): its features, L2-normalized and concatenated.
        """
        groups = {"global": output.main.necks[:1], "stripes": output.main.necks[1:]}
        if output.auxiliary is not None:
            groups["auxiliary"] = output.auxiliary.necks
        return {name: unit_features(features) for name, features in groups.items() if features}
