"""ResNet with one MIIM after each chosen Block (METHOD: backbone and placement)."""

from collections.abc import Sequence

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from fastreid.modeling.backbones.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from wrimnet.layers.miim import MIIM
from wrimnet.layers.per_modality import PerModality
from wrimnet.modeling.backbones.imagenet_weights import load_imagenet_weights
from wrimnet.modeling.backbones.recompute import run_recomputed

_ARCHITECTURES = {
    "18x": (BasicBlock, (2, 2, 2, 2)),
    "34x": (BasicBlock, (3, 4, 6, 3)),
    "50x": (Bottleneck, (3, 4, 6, 3)),
    "101x": (Bottleneck, (3, 4, 23, 3)),
}
_MAIN_BLOCK, _AUXILIARY_BLOCK = 4, 3


class WRIMResNet(ResNet):
    """FastReID's ResNet, returning the two levels the head reads, each after its MIIM.

    Args:
        depth: "18x", "34x", "50x" or "101x".
        last_stride: stride of Block 4.
        max_pool: "fastreid" (3, 2, ceil mode, no padding) or "torchvision" (3, 2, padding 1).
    """

    def __init__(self, *, depth: str, last_stride: int = 1, max_pool: str = "fastreid") -> None:
        block, num_blocks = _ARCHITECTURES[depth]
        super().__init__(last_stride, "BN", False, False, False, block, num_blocks, (0, 0, 0, 0))
        if max_pool == "torchvision":
            self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.channels = tuple(width * block.expansion for width in (64, 128, 256, 512))
        self.miims = nn.ModuleDict()
        self.activation_checkpointing = False

    def add_miims(
        self,
        *,
        separate_stages: Sequence[int],
        shared_stages: Sequence[int],
        reduction: Sequence[int],
        stride: Sequence[int],
        num_heads: int,
        region_size: int,
        fusion: str,
        residual: bool = False,
    ) -> None:
        """Puts a MIIM after each listed Block (1..4), one per modality or one for both."""
        for stage in sorted((*separate_stages, *shared_stages)):

            def build_miim(index: int = stage - 1) -> MIIM:
                return MIIM(
                    channels=self.channels[index],
                    reduction=reduction[index],
                    stride=stride[index],
                    num_heads=num_heads,
                    region_size=region_size,
                    fusion=fusion,
                    residual=residual,
                )

            separate = stage in separate_stages
            self.miims[str(stage)] = PerModality(build_miim) if separate else build_miim()

    def forward(self, images: Tensor, num_visible: int) -> dict[str, Tensor]:
        """Computes the feature maps of the two levels.

        Args:
            images: (B, 3, H, W), normalised, the visible images first.
            num_visible: how many of them are visible.

        Returns:
            "main": Block 4 (P_5), "auxiliary": Block 3 (P_3 in S section F, P_4 in Eqs. 2-3),
            each (B, C, h, w) after its MIIM.
        """
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        levels = {}
        for stage, block in enumerate((self.layer1, self.layer2, self.layer3, self.layer4), 1):
            features = self._run_stage(stage, block, features, num_visible)
            levels[stage] = features
        return {"main": levels[_MAIN_BLOCK], "auxiliary": levels[_AUXILIARY_BLOCK]}

    def _run_stage(self, stage: int, block: nn.Module, features: Tensor, visible: int) -> Tensor:
        if self.activation_checkpointing and self.training:
            return run_recomputed(self._stage, block, stage, block, features, visible)
        return self._stage(stage, block, features, visible)

    def _stage(self, stage: int, block: nn.Module, features: Tensor, num_visible: int) -> Tensor:
        features = block(features)
        if str(stage) not in self.miims:
            return features
        miim = self.miims[str(stage)]
        return miim(features, num_visible) if isinstance(miim, PerModality) else miim(features)


@BACKBONE_REGISTRY.register()
def build_wrim_resnet_backbone(cfg: CfgNode) -> WRIMResNet:
    """Builds the backbone of ``cfg.MODEL.BACKBONE`` with the MIIMs of ``cfg.MODEL.WRIM.MIIM``."""
    backbone = WRIMResNet(
        depth=cfg.MODEL.BACKBONE.DEPTH,
        last_stride=cfg.MODEL.BACKBONE.LAST_STRIDE,
        max_pool=cfg.MODEL.BACKBONE.MAX_POOL,
    )
    if cfg.MODEL.BACKBONE.PRETRAIN:
        load_imagenet_weights(
            backbone, depth=cfg.MODEL.BACKBONE.DEPTH, path=cfg.MODEL.BACKBONE.PRETRAIN_PATH
        )
    miim = cfg.MODEL.WRIM.MIIM
    backbone.add_miims(
        separate_stages=miim.SEPARATE_STAGES,
        shared_stages=miim.SHARED_STAGES,
        reduction=miim.REDUCTION,
        stride=miim.STRIDE,
        num_heads=miim.NUM_HEADS,
        region_size=miim.REGION_SIZE,
        fusion=miim.FUSION,
        residual=miim.RESIDUAL,
    )
    backbone.activation_checkpointing = cfg.SOLVER.ACTIVATION_CHECKPOINTING
    return backbone
