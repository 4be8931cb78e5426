"""The two-stream ResNet: a stem per modality, Blocks 1 to 4 shared, and what AGW and DEEN add."""

from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from torch import Tensor, nn

from wrimnet.layers.per_modality import PerModality
from wrimnet.modeling.backbones import check_unread
from wrimnet.modeling.miims import build_miims, run_miim
from wrimnet.modeling.wrim_resnet import (
    WRIMResNet,
    build_resnet,
    check_feature_rows,
    map_sizes,
)
from wrimnet.peers.embedding_expansion import EmbeddingExpansion, StageAggregation
from wrimnet.peers.non_local import NonLocalBlock
from wrimnet.peers.two_stream_net import check_expansion

_STEM = ("conv1", "bn1", "relu", "maxpool")
_STEM_CHANNELS = 64


class TwoStreamResNet(nn.Module):
    """A ResNet whose stem exists once per modality.

    Args:
        resnet: with torchvision's names; both stems start as its own.
        num_blocks: Blocks that are used.
        non_local: for each Block, how many of its last residual blocks a non-local block follows.
        expand_after: MFA after Blocks 1 to so many, DEE after the last of them; 0 for neither.

    Attributes:
        channels: of the feature maps after Blocks 1 to 4.
        level_channels: "main" is the last Block that is used, "auxiliary" the one before.
        miims: WRIM-Net's, by Block.

    Raises:
        ValueError: more non-local blocks than residual ones.
    """

    def __init__(
        self,
        resnet: WRIMResNet,
        *,
        num_blocks: int = 4,
        non_local: Sequence[int] = (0, 0, 0, 0),
        expand_after: int = 0,
    ) -> None:
        super().__init__()
        stem = OrderedDict((name, getattr(resnet, name)) for name in _STEM)
        self.stem = PerModality(lambda: deepcopy(nn.Sequential(stem)))
        self.stages = nn.ModuleDict({str(n): getattr(resnet, f"layer{n}") for n in _to(num_blocks)})
        self.channels = resnet.channels
        self.level_channels = {
            "main": self.channels[num_blocks - 1],
            "auxiliary": self.channels[num_blocks - 2],
        }
        self.non_local = nn.ModuleDict(
            {n: self._non_local_blocks(n, non_local[int(n) - 1]) for n in self.stages}
        )
        widths = (_STEM_CHANNELS, *self.channels)
        self.aggregations = nn.ModuleDict(
            {
                str(n): StageAggregation(widths[n], widths[n - 1], stride=1 if n == 1 else 2)
                for n in _to(expand_after)
            }
        )
        self.expansion = EmbeddingExpansion(widths[expand_after]) if expand_after else None
        self.expand_after = expand_after
        self.miims = nn.ModuleDict()

    def _non_local_blocks(self, stage: str, count: int) -> nn.ModuleList:
        residual: Any = self.stages[stage]
        if count > len(residual):
            raise ValueError(
                f"MODEL.TWO_STREAM.NON_LOCAL asks for {count} non-local blocks in Block {stage}, "
                f"which has {len(residual)} residual ones; expected at most as many"
            )
        return nn.ModuleList(NonLocalBlock(self.channels[int(stage) - 1]) for _ in range(count))

    def forward(self, images: Tensor, num_visible: int) -> dict[str, Tensor]:
        """Computes the feature maps of the two levels.

        Args:
            images: (B, 3, H, W), normalized, the visible images first.
            num_visible: how many of them are visible.

        Returns:
            "main" and "auxiliary", each (B, C, h, w); (3B, C, h, w) from DEE on: the batch, then
            the batch of each branch.
        """
        levels = [self.stem(images, num_visible)]
        for stage in _to(len(self.stages)):
            features = self._residual_blocks(str(stage), levels[-1])
            if stage <= self.expand_after:
                features = self.aggregations[str(stage)](features, levels[-1])
            features = run_miim(self.miims, stage, features, num_visible)
            if self.expansion is not None and stage == self.expand_after:
                features = self.expansion(features)
            levels.append(features)
        return {"main": levels[-1], "auxiliary": levels[-2]}

    def _residual_blocks(self, stage: str, features: Tensor) -> Tensor:
        blocks: Any = self.stages[stage]
        after: Any = self.non_local[stage]
        without = len(blocks) - len(after)
        for index, block in enumerate(blocks):
            features = block(features)
            if index >= without:
                features = after[index - without](features)
        return features


def _to(last: int) -> range:
    return range(1, last + 1)


@BACKBONE_REGISTRY.register()
def build_two_stream_backbone(cfg: CfgNode) -> TwoStreamResNet:
    """Builds the ResNet of MODEL.BACKBONE with the parts of MODEL.TWO_STREAM, and MIIMs."""
    parts = cfg.MODEL.TWO_STREAM
    network = TwoStreamResNet(
        build_resnet(cfg),
        num_blocks=parts.NUM_BLOCKS,
        non_local=parts.NON_LOCAL,
        expand_after=parts.EXPAND_AFTER,
    )
    network.miims = build_miims(cfg, network.channels)
    return network


def check_two_stream(cfg: CfgNode) -> None:
    """Raises ValueError for a key that is not read, or parts that do not fit each other."""
    check_unread(cfg, "ARCHITECTURE", "STAGES", "WITH_IBN", "WITH_SE")
    check_expansion(cfg)
    parts, miim = cfg.MODEL.TWO_STREAM, cfg.MODEL.WRIM.MIIM
    stages = (*miim.SEPARATE_STAGES, *miim.SHARED_STAGES)
    if any(stage > parts.NUM_BLOCKS for stage in stages):
        raise ValueError(
            f"MODEL.WRIM.MIIM asks for MIIMs after Blocks {stages}, the network ends after Block "
            f"MODEL.TWO_STREAM.NUM_BLOCKS = {parts.NUM_BLOCKS}"
        )
    if parts.EXPAND_AFTER and any(stage > parts.EXPAND_AFTER for stage in miim.SEPARATE_STAGES):
        raise ValueError(
            f"MODEL.WRIM.MIIM.SEPARATE_STAGES = {miim.SEPARATE_STAGES}: after DEE, which follows "
            f"Block {parts.EXPAND_AFTER}, the batch is three batches; share the MIIMs there"
        )
    check_feature_rows(cfg, parts.NUM_BLOCKS)
    _check_paired_positions(cfg)


def _check_paired_positions(cfg: CfgNode) -> None:
    backbone = cfg.MODEL.BACKBONE
    for size_name in ("SIZE_TRAIN", "SIZE_TEST"):
        size = cfg.INPUT[size_name]
        maps = map_sizes(size, backbone.LAST_STRIDE, backbone.MAX_POOL)
        for stage in _to(cfg.MODEL.TWO_STREAM.EXPAND_AFTER):  # the stem's is as large as Block 1's
            rows, columns = maps[stage - 1]
            if rows * columns % 2:
                raise ValueError(
                    f"INPUT.{size_name} = {size}: the {rows} x {columns} feature map after Block "
                    f"{stage} has an odd number of positions, which MFA (MODEL.TWO_STREAM."
                    "EXPAND_AFTER) cannot pair; choose another size"
                )


build_two_stream_backbone.check_config = check_two_stream
