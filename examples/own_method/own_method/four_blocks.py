"""A backbone of four convolutions, with WRIM-Net's MIIMs after them."""

import wrimnet.compat  # noqa: F401

from fastreid.modeling.backbones import BACKBONE_REGISTRY
from torch import nn

from wrimnet.config import Key
from wrimnet.modeling.backbones import StagedBackbone
from wrimnet.modeling.miims import build_miims


def add_config():
    """Returns the keys of this backbone."""
    return [Key("MODEL.BACKBONE.MY_WIDTH", 16, "channels of the first Block", "[8, 1024]")]


class FourBlocks(nn.Module):
    """Blocks of strides 4, 2, 2 and 1, each with twice the channels of the one before."""

    def __init__(self, width):
        super().__init__()
        channels = (3, width, 2 * width, 4 * width, 8 * width)
        for number, stride in enumerate((4, 2, 2, 1)):
            convolution = nn.Conv2d(*channels[number : number + 2], 3, stride, 1, bias=False)
            block = nn.Sequential(convolution, nn.BatchNorm2d(channels[number + 1]), nn.ReLU())
            self.add_module(f"block{number + 1}", block)

    def forward(self, images):
        """Runs the four Blocks."""
        return self.block4(self.block3(self.block2(self.block1(images))))


@BACKBONE_REGISTRY.register()
def build_four_blocks(cfg):
    """Builds the backbone of MODEL.BACKBONE.MY_WIDTH."""
    stages = ("block1", "block2", "block3", "block4")
    backbone = StagedBackbone(FourBlocks(cfg.MODEL.BACKBONE.MY_WIDTH), stages)
    backbone.miims = build_miims(cfg, backbone.channels)
    return backbone
