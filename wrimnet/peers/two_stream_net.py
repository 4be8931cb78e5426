"""The meta-architecture of the two-stream baseline, AGW, CAJ and DEEN: one head, the total loss."""

from collections.abc import Mapping
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode, configurable
from fastreid.modeling.heads import REID_HEADS_REGISTRY
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from wrimnet.layers.partition import global_average_pool
from wrimnet.losses.precision import at_least_float32
from wrimnet.losses.total import LossInputs
from wrimnet.modeling.aicl_head import HeadOutput, LevelHead, LevelOutput
from wrimnet.modeling.wrim_net import WRIMNet
from wrimnet.peers.channel_augmentation import build_channel_augmentation
from wrimnet.peers.embedding_expansion import COPIES
from wrimnet.registries import names_of


def generalized_mean_pool(features: Tensor, power: float = 3.0) -> Tensor:
    """GeM as AGW has it: (mean x^p + 1e-12)^(1/p) of feature maps (B, C, H, W), (B, C).

    x is at least 0 after a ReLU. A non-local block after it may make values negative: they count
    as 0, since a negative mean has no root.
    """
    mean = at_least_float32(features).clamp(min=0).pow(power).mean((2, 3))
    return (mean + 1e-12).pow(1 / power)


class NeckLevel(LevelHead):
    """Pooling, BN-neck and classifier of one feature map.

    Args:
        channels: C of the feature map.
        num_classes: training identities; 0 leaves the classifier out.
        pooling: "average" or "gem".
    """

    def __init__(self, *, channels: int, num_classes: int, pooling: str) -> None:
        super().__init__(
            channels=channels, num_stripes=0, num_classes=num_classes, contrastive_dim=0
        )
        self.pool = {"average": global_average_pool, "gem": generalized_mean_pool}[pooling]

    def forward(self, features: Tensor) -> LevelOutput:
        """Returns the :class:`LevelOutput` of ``features`` (B, C, H, W), in float32 or wider."""
        pooled = self.pool(features)
        neck = self.necks[0](pooled)
        logits = [layer(neck) for layer in self.classifiers] if self.training else []
        return LevelOutput(pooled, [neck], logits, None)


@REID_HEADS_REGISTRY.register()
class TwoStreamHead(nn.Module):
    """The head of the main level; its rows are one batch, or with DEE three.

    Args:
        main: of the main level.
        copies: batches in the rows.
        pooled_weight: weight of the pooled features' similarity in a test embedding that joins
            them with the BN-neck's, which have the rest.
    """

    part_names = tuple(
        f"{kind}{'' if copy == 0 else f'_{copy}'}"
        for copy in range(COPIES)
        for kind in ("pooled", "neck")
    )

    @configurable
    def __init__(self, *, main: NeckLevel, copies: int, pooled_weight: float) -> None:
        super().__init__()
        self.main, self.copies = main, copies
        self.scales = (pooled_weight**0.5, (1 - pooled_weight) ** 0.5)
        channels = main.necks[0].num_features
        self.part_dims = dict.fromkeys(self.part_names[: 2 * copies], channels)

    @staticmethod
    def check_config(cfg: CfgNode) -> None:
        """Refuses parts of the AICL head, which this one does not have."""
        wrim, blocks = cfg.MODEL.WRIM, cfg.MODEL.TWO_STREAM
        if wrim.CMKIC.WEIGHT or wrim.AUXILIARY.ENABLED or wrim.MAIN.STRIPES:
            raise ValueError(
                "MODEL.HEADS.NAME TwoStreamHead has one level, without stripes and projection; set "
                "CMKIC.WEIGHT 0, AUXILIARY.ENABLED False and MAIN.STRIPES 0 under MODEL.WRIM"
            )
        if blocks.EXPAND_AFTER > blocks.NUM_BLOCKS:
            raise ValueError(
                f"MODEL.TWO_STREAM.EXPAND_AFTER = {blocks.EXPAND_AFTER}, expected at most "
                f"NUM_BLOCKS = {blocks.NUM_BLOCKS}"
            )

    @classmethod
    def from_config(cls, cfg: CfgNode, channels: Mapping[str, int]) -> dict[str, Any]:
        """Reads ``cfg.MODEL.TWO_STREAM``; ``channels`` are those of the backbone's levels."""
        parts = cfg.MODEL.TWO_STREAM
        main = NeckLevel(
            channels=channels["main"],
            num_classes=cfg.MODEL.HEADS.NUM_CLASSES,
            pooling=parts.POOLING,
        )
        copies = COPIES if parts.EXPAND_AFTER else 1
        return {"main": main, "copies": copies, "pooled_weight": parts.POOLED_WEIGHT}

    def forward(self, levels: dict[str, Tensor], num_visible: int) -> HeadOutput:
        """Computes the main level of "main" (copies x B, C, H, W)."""
        return HeadOutput(self.main(levels["main"]), None, None)

    def parts(self, output: HeadOutput) -> dict[str, Tensor]:
        """Groups the features for testing: pooled and BN-neck of each copy, (B, C) each.

        Each row has the L2 norm sqrt(its weight), so that the product of two joined embeddings is
        the weighted sum of the parts' cosine similarities.
        """
        kinds = (output.main.pooled, output.main.necks[0])
        # chunk() would fix the number of images on export
        rows = zip(*(kind.unflatten(0, (self.copies, -1)).unbind(0) for kind in kinds), strict=True)
        features = [
            scale * F.normalize(part, dim=1)
            for copy in rows
            for scale, part in zip(self.scales, copy, strict=True)
        ]
        return dict(zip(self.part_dims, features, strict=True))


@META_ARCH_REGISTRY.register()
class TwoStreamNet(WRIMNet):
    """Two-stream backbone, head and total; its losses see every copy of the batch."""

    def compiled_functions(self) -> list[tuple[nn.Module, str]]:
        """None: compiling was not tried with it."""
        return []

    @staticmethod
    def check_config(cfg: CfgNode) -> None:
        """Refuses terms whose parts the configuration lacks."""
        WRIMNet.check_config(cfg)
        parts = cfg.MODEL.TWO_STREAM
        if (parts.CPM.WEIGHT or parts.ORTHOGONALITY.WEIGHT) and not parts.EXPAND_AFTER:
            raise ValueError(
                f"MODEL.TWO_STREAM.CPM.WEIGHT = {parts.CPM.WEIGHT} and ORTHOGONALITY.WEIGHT = "
                f"{parts.ORTHOGONALITY.WEIGHT} compare the copies that DEE makes; set "
                "MODEL.TWO_STREAM.EXPAND_AFTER, or both weights to 0"
            )
        augmentations = names_of(cfg.INPUT.AUGMENTATION)
        has_views = (
            cfg.INPUT.CHANNELS.TWO_VIEWS and build_channel_augmentation.__name__ in augmentations
        )
        if parts.VIEWS.WEIGHT and (parts.EXPAND_AFTER or not has_views):
            raise ValueError(
                f"MODEL.TWO_STREAM.VIEWS.WEIGHT = {parts.VIEWS.WEIGHT} compares two views of each "
                "visible image; set INPUT.AUGMENTATION build_channel_augmentation, "
                "INPUT.CHANNELS.TWO_VIEWS True and EXPAND_AFTER 0, or the weight to 0"
            )

    def loss_inputs(
        self, output: HeadOutput, targets: Tensor, num_visible: int, *of_images: Any
    ) -> LossInputs:
        """Returns the inputs of all copies: the batch, then the batch of each branch."""
        of_one = super().loss_inputs(output, targets, num_visible, *of_images)
        copies: Any = getattr(self.heads, "copies", 1)  # another head's rows are one batch
        return LossInputs(
            output=output,
            targets=of_one.targets.repeat(copies),
            pids=of_one.pids.repeat(copies),
            modality=of_one.modality.repeat(copies),
            gather=lambda rows: torch.cat([of_one.gather(copy) for copy in rows.chunk(copies)]),
            camids=None if of_one.camids is None else of_one.camids.repeat(copies),
            attached=of_one.attached,
        )


def check_expansion(cfg: CfgNode) -> None:
    """Raises ValueError if DEE's three batches went to a network or head that expects one."""
    network = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
    head = REID_HEADS_REGISTRY.get(cfg.MODEL.HEADS.NAME)
    takes_copies = _is_kind(network, TwoStreamNet) and _is_kind(head, TwoStreamHead)
    if cfg.MODEL.TWO_STREAM.EXPAND_AFTER and not takes_copies:
        raise ValueError(
            f"MODEL.TWO_STREAM.EXPAND_AFTER = {cfg.MODEL.TWO_STREAM.EXPAND_AFTER} makes three "
            f"batches of one, MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} with "
            f"MODEL.HEADS.NAME {cfg.MODEL.HEADS.NAME} takes one; choose TwoStreamNet and "
            "TwoStreamHead, or set EXPAND_AFTER 0"
        )


def _is_kind(registered: Any, kind: type) -> bool:
    return isinstance(registered, type) and issubclass(registered, kind)
