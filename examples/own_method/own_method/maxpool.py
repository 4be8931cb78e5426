"""A branch beside the paper's: max pooling with its own classifier and part of the embedding."""

import wrimnet.compat  # noqa: F401

import torch.nn.functional as F
from fastreid.modeling.heads import REID_HEADS_REGISTRY

from wrimnet.config import Key
from wrimnet.losses.total import LossTerm, register_term
from wrimnet.modeling.aicl_head import AICLHead, LevelHead


@REID_HEADS_REGISTRY.register()
class MaxPoolHead(AICLHead):
    """AICL head with a max-pooled feature of the main level."""

    part_names = (*AICLHead.part_names, "maxpool")

    def __init__(self, cfg, channels):
        super().__init__(**AICLHead.from_config(cfg, channels))
        width, classes = channels["main"], cfg.MODEL.HEADS.NUM_CLASSES
        self.maxpool = LevelHead(
            channels=width, num_stripes=0, num_classes=classes, contrastive_dim=0
        )
        self.part_dims = {**self.part_dims, "maxpool": width}

    def forward(self, levels, num_visible):
        """Adds the branch to the output."""
        output = super().forward(levels, num_visible)
        pooled = levels["main"].float().amax((2, 3), keepdim=True)
        return output._replace(branches={"maxpool": self.maxpool(pooled)})

    def parts(self, output):
        """Adds the branch's feature to the groups."""
        neck = output.branches["maxpool"].necks[0]
        return super().parts(output) | {"maxpool": F.normalize(neck, dim=1)}


def _term(inputs):
    return F.cross_entropy(inputs.output.branches["maxpool"].logits[0], inputs.targets)


def add_config():
    """Returns the key of the branch's loss."""
    return [Key("MODEL.MAXPOOL.WEIGHT", 0.0, "weight of its classification", "[0, 1e6]")]


register_term(LossTerm("maxpool", _term, ("MODEL.MAXPOOL.WEIGHT",)))
