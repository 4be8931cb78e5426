"""The two-stream head without a classifier; its output carries the memories to the loss terms."""

from collections.abc import Mapping
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.modeling.heads import REID_HEADS_REGISTRY
from torch import Tensor

from wrimnet.modeling.aicl_head import HeadOutput
from wrimnet.peers.two_stream_net import NeckLevel, TwoStreamHead

MEMORIES = "memories"  # name among the branches of the output


@REID_HEADS_REGISTRY.register()
class ClusterHead(TwoStreamHead):
    """Pooling and BN-neck, whose scale the losses train.

    Attributes:
        memories: of the clusters, set by the hook that makes them.
    """

    memories: Any = None

    @classmethod
    def from_config(cls, cfg: CfgNode, channels: Mapping[str, int]) -> dict[str, Any]:
        """Reads ``cfg.MODEL.TWO_STREAM``; the number of identities plays no part."""
        parts = cfg.MODEL.TWO_STREAM
        main = NeckLevel(channels=channels["main"], num_classes=0, pooling=parts.POOLING)
        main.necks[0].weight.requires_grad_(True)
        return {"main": main, "copies": 1, "pooled_weight": parts.POOLED_WEIGHT}

    def forward(self, levels: dict[str, Tensor], num_visible: int) -> HeadOutput:
        """Adds the memories to the output."""
        return super().forward(levels, num_visible)._replace(branches={MEMORIES: self.memories})
