"""ResNet with one MIIM after each chosen Block (METHOD: backbone and placement)."""

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from fastreid.modeling.backbones.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from wrimnet.modeling.backbones import check_map_sizes, check_unread
from wrimnet.modeling.miims import build_miims, run_miim
from wrimnet.modeling.recompute import run_recomputed
from wrimnet.modeling.weights import load_imagenet_weights

_ARCHITECTURES = {
    "18x": (BasicBlock, (2, 2, 2, 2)),
    "34x": (BasicBlock, (3, 4, 6, 3)),
    "50x": (Bottleneck, (3, 4, 6, 3)),
    "101x": (Bottleneck, (3, 4, 23, 3)),
}


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
        self.depth = depth
        self.channels = tuple(width * block.expansion for width in (64, 128, 256, 512))
        self.level_channels = {"main": self.channels[3], "auxiliary": self.channels[2]}
        self.miims = nn.ModuleDict()
        self.activation_checkpointing = False

    @property
    def main_block(self) -> nn.Module:
        """Where the features after Block 3 go in."""
        return self.layer4

    def forward(self, images: Tensor, num_visible: int) -> dict[str, Tensor]:
        """Computes the feature maps of the two levels.

        Args:
            images: (B, 3, H, W), normalized, the visible images first.
            num_visible: how many of them are visible.

        Returns:
            "main": Block 4 (P_5), "auxiliary": Block 3 (P_3 in S section F, P_4 in Eqs. 2-3),
            each (B, C, h, w) after its MIIM.
        """
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        levels = {}
        for stage, block in enumerate((self.layer1, self.layer2, self.layer3, self.layer4), 1):
            arguments = stage, block, features, num_visible
            if self.activation_checkpointing and self.training:
                after = [miim for name, miim in self.miims.items() if name == str(stage)]
                features = run_recomputed(self._stage, nn.ModuleList([block, *after]), *arguments)
            else:
                features = self._stage(*arguments)
            levels[stage] = features
        return {"main": levels[4], "auxiliary": levels[3]}

    def _stage(self, stage: int, block: nn.Module, features: Tensor, num_visible: int) -> Tensor:
        return run_miim(self.miims, stage, block(features), num_visible)


def build_resnet(cfg: CfgNode) -> WRIMResNet:
    """Builds the ResNet of ``cfg.MODEL.BACKBONE``, pretrained if it says so, without MIIMs."""
    backbone = cfg.MODEL.BACKBONE
    resnet = WRIMResNet(
        depth=backbone.DEPTH, last_stride=backbone.LAST_STRIDE, max_pool=backbone.MAX_POOL
    )
    if backbone.PRETRAIN:
        load_imagenet_weights(resnet, depth=backbone.DEPTH, path=backbone.PRETRAIN_PATH)
    return resnet


@BACKBONE_REGISTRY.register()
def build_wrim_resnet_backbone(cfg: CfgNode) -> WRIMResNet:
    """Builds the backbone of ``cfg.MODEL.BACKBONE`` with the MIIMs of ``cfg.MODEL.WRIM.MIIM``."""
    backbone = build_resnet(cfg)
    backbone.miims = build_miims(cfg, backbone.channels)
    backbone.activation_checkpointing = cfg.SOLVER.ACTIVATION_CHECKPOINTING
    return backbone


def check_wrim_resnet(cfg: CfgNode) -> None:
    """Raises ValueError for a key that this backbone does not read, or too small an input."""
    check_unread(cfg, "ARCHITECTURE", "STAGES", "WITH_IBN", "WITH_SE")
    check_feature_rows(cfg)


build_wrim_resnet_backbone.check_config = check_wrim_resnet


def check_feature_rows(cfg: CfgNode, num_blocks: int = 4) -> None:
    """Raises ValueError if feature maps of an input size are too small for MIIM or stripes."""
    backbone = cfg.MODEL.BACKBONE
    for size_name in ("SIZE_TRAIN", "SIZE_TEST"):
        maps = map_sizes(cfg.INPUT[size_name], backbone.LAST_STRIDE, backbone.MAX_POOL)
        if min(maps[0]) < 1:
            raise ValueError(
                f"INPUT.{size_name} = {cfg.INPUT[size_name]}: the stem's feature map is empty; "
                "expected at least 3 pixels a side"
            )
        check_map_sizes(cfg, size_name, maps[:num_blocks])


def map_sizes(size: list[int], last_stride: int, max_pool: str) -> list[tuple[int, int]]:
    """Rows and columns after Blocks 1..4: stem, then strides 1, 2, 2, last_stride, rounded up."""
    sides = [_stem_side(side, max_pool) for side in size]
    maps = []
    for stride in (1, 2, 2, last_stride):
        sides = [-(-side // stride) for side in sides]
        maps.append((sides[0], sides[1]))
    return maps


def _stem_side(side: int, max_pool: str) -> int:
    after_conv = (side + 1) // 2  # kernel 7, stride 2, padding 3
    if max_pool == "torchvision":
        return (after_conv + 1) // 2  # kernel 3, stride 2, padding 1
    return after_conv // 2  # kernel 3, stride 2, ceil mode; nothing is left of one pixel
