"""AICL head: main and auxiliary level, contrastive embedding, test embedding (METHOD section 4)."""

from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode, configurable
from fastreid.modeling.heads import REID_HEADS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from wrimnet.modeling.heads.level_head import LevelHead, LevelOutput, unit_features


class HeadOutput(NamedTuple):
    """Both levels' outputs (``auxiliary`` may be None) and z (B, E) or (B, 2E) of unit length."""

    main: LevelOutput
    auxiliary: LevelOutput | None
    contrastive: Tensor | None


@REID_HEADS_REGISTRY.register()
class AICLHead(nn.Module):
    """Auxiliary-information contrastive head over a dict of named levels.

    Args:
        main: head of the main level (f_g, f_1..f_N).
        auxiliary: head of the auxiliary level (Q_g, Q_1..Q_M), or None (Table S4).
        part_dims: length of each group of the test embedding: global, stripes, auxiliary.
    """

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
        cls, cfg: CfgNode, channels: tuple[int, ...] = (256, 512, 1024, 2048)
    ) -> dict[str, Any]:
        """Reads ``cfg.MODEL.WRIM``; ``channels`` are the backbone's after Blocks 1..4."""
        wrim, num_classes = cfg.MODEL.WRIM, cfg.MODEL.HEADS.NUM_CLASSES
        contrastive_dim = wrim.CMKIC.EMBEDDING_DIM if wrim.CMKIC.WEIGHT > 0 else 0
        classified = num_classes if wrim.CLASSIFICATION.WEIGHT > 0 else 0
        main = LevelHead(
            channels=channels[3],
            num_stripes=wrim.MAIN.STRIPES,
            num_classes=classified,
            contrastive_dim=contrastive_dim,
        )
        auxiliary = None
        if wrim.AUXILIARY.ENABLED:
            auxiliary = LevelHead(
                channels=channels[2],
                num_stripes=wrim.AUXILIARY.STRIPES,
                num_classes=classified if wrim.AUXILIARY.WEIGHT > 0 else 0,
                contrastive_dim=contrastive_dim,
            )
        part_dims = {"global": channels[3]}
        if wrim.MAIN.STRIPES:
            part_dims["stripes"] = channels[3] * wrim.MAIN.STRIPES
        if wrim.AUXILIARY.ENABLED:
            part_dims["auxiliary"] = channels[2] * (wrim.AUXILIARY.STRIPES + 1)
        return {"main": main, "auxiliary": auxiliary, "part_dims": part_dims}

    def forward(self, levels: dict[str, Tensor]) -> HeadOutput:
        """Computes both levels.

        Args:
            levels: "main" and "auxiliary" feature maps (B, C, H, W).
        """
        main = self.main(levels["main"])
        auxiliary = self.auxiliary(levels["auxiliary"]) if self.auxiliary is not None else None
        return HeadOutput(main, auxiliary, _contrastive_embedding(main, auxiliary))

    def parts(self, output: HeadOutput) -> dict[str, Tensor]:
        """Groups the BN-neck features for testing.

        Returns:
            "global" f_g, "stripes" f_1..f_N and "auxiliary" Q_g, Q_1..Q_M as far as they exist,
            each (B, part_dims[group]): its features scaled to unit length and concatenated.
        """
        groups = {"global": output.main.necks[:1], "stripes": output.main.necks[1:]}
        if output.auxiliary is not None:
            groups["auxiliary"] = output.auxiliary.necks
        return {name: unit_features(features) for name, features in groups.items() if features}


def _contrastive_embedding(main: LevelOutput, auxiliary: LevelOutput | None) -> Tensor | None:
    """Z = L2norm(concat(L2norm(proj_main(f_g)), L2norm(proj_aux(Q_g)))) (METHOD section 4)."""
    if main.contrastive is None:
        return None
    projections = [main.contrastive]
    if auxiliary is not None:
        projections.append(auxiliary.contrastive)
    return F.normalize(unit_features(projections), dim=1)
