"""The meta-architecture: backbone with MIIMs, AICL head, the total loss."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode, configurable
from fastreid.modeling.heads.build import REID_HEADS_REGISTRY
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY
from torch import Tensor, nn

from wrimnet.config.check import check_fastreid_keys
from wrimnet.losses.classification import check_targets
from wrimnet.losses.total import Attached, LossInputs, WeightedTerm, weighted_terms
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.modeling.aicl_head import AICLHead, HeadOutput
from wrimnet.modeling.backbones import build_level_backbone, check_level_backbone
from wrimnet.modeling.embedding import join_parts
from wrimnet.modeling.miims import check_miim
from wrimnet.modeling.network import (
    FEATURE_NORM,
    CrossModalityNetwork,
    count_visible,
    num_visible_of,
    own_rows,
)


@META_ARCH_REGISTRY.register()
class WRIMNet(CrossModalityNetwork):
    """WRIM-Net: one forward for a batch whose visible images come first.

    The backbone makes named levels of images and the number of visible ones, the heads a
    :class:`HeadOutput` of those, the terms the total loss.
    """

    training_only = ("classifiers.", "projection.")

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        heads: AICLHead,
        terms: Mapping[str, WeightedTerm],
        embedding_parts: Sequence[str],
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
    ) -> None:
        super().__init__(pixel_mean=pixel_mean, pixel_std=pixel_std)
        self.backbone = backbone
        self.heads = heads
        self.terms = dict(terms)
        self.embedding_parts = _existing_parts(embedding_parts, heads)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Reads ``cfg.MODEL``; raises ValueError for a FastReID key that is not read."""
        check_fastreid_keys(cfg)
        backbone = build_level_backbone(cfg)
        build_head = REID_HEADS_REGISTRY.get(cfg.MODEL.HEADS.NAME)
        return {
            "backbone": backbone,
            "heads": build_head(cfg, channels=backbone.level_channels),
            "terms": weighted_terms(partial(_read, cfg)),
            "embedding_parts": cfg.MODEL.WRIM.EMBEDDING_PARTS,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    @staticmethod
    def check_config(cfg: CfgNode) -> None:
        """Refuses keys that do not fit each other or the backbone, and a total without a term."""
        check_level_backbone(cfg)
        check_miim(cfg)
        if not weighted_terms(partial(_read, cfg)):
            raise ValueError(
                "no loss term has a weight above 0; set one of MODEL.WRIM.CLASSIFICATION.WEIGHT, "
                "MODEL.WRIM.TRIPLET.WEIGHT and MODEL.WRIM.CMKIC.WEIGHT, or that of a term of yours"
            )

    @property
    def part_dims(self) -> dict[str, int]:
        """Length of each group of the test embedding."""
        return self.heads.part_dims

    def compiled_functions(self) -> list[tuple[nn.Module, str]]:
        """The backbone with its MIIMs, and the loss terms."""
        return [(self.backbone, "forward"), (self, "loss_terms")]

    def explained_layer(self) -> nn.Module | None:
        """Block 4: its input, the features after Block 3, feeds both levels."""
        return getattr(self.backbone, "main_block", None)

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor] | Tensor:
        """Returns the weighted loss terms in training, the test embedding (B, D) in evaluation."""
        num_visible = count_visible(batch["modality"])
        if self.training:
            self.check_labels(batch.get("labels", batch["targets"]), batch["modality"])
        levels = self.backbone(self.preprocess_image(batch["images"]), num_visible)
        output = self.compute_heads(levels, num_visible)
        if self.training:
            self.check_classes(batch.get("labels", batch["targets"]), output)
            of_images = batch.get("camids"), batch.get("attached", {})
            return self.losses(output, batch["targets"], num_visible, *of_images)
        return join_parts(self.heads.parts(output), self.embedding_parts)

    def compute_heads(self, levels: dict[str, Tensor], num_visible: int) -> HeadOutput:
        """Runs the head outside autocast: pooled features, logits and losses stay float32."""
        with torch.autocast(self.device.type, enabled=False):
            return self.heads(levels, num_visible)

    def losses(
        self, output: HeadOutput, targets: Tensor, num_visible: int, *of_images: Any
    ) -> dict[str, Tensor]:
        """Computes the total term by term; see :mod:`wrimnet.losses.total`.

        The sum of the weighted terms is the objective; the raw ones stay in ``raw_losses``.
        """
        raw = self.loss_terms(output, targets, num_visible, *of_images)
        self.raw_losses = {name: value.detach() for name, value in raw.items()}
        norms = torch.linalg.vector_norm(output.main.pooled.detach(), dim=1)
        self.statistics = {FEATURE_NORM: norms.mean()}
        return {f"loss_{name}": self.terms[name].weight * value for name, value in raw.items()}

    def loss_terms(
        self, output: HeadOutput, targets: Tensor, num_visible: int, *of_images: Any
    ) -> dict[str, Tensor]:
        """Computes the terms that have a weight, without it; reads no value on the host.

        Where processes share a batch, a classification term is the mean over this process's images,
        and the others, which compare images, are those of the whole batch.
        """
        inputs = self.loss_inputs(output, targets, num_visible, *of_images)
        return {name: term(inputs) for name, term in self.terms.items()}

    def loss_inputs(
        self,
        output: HeadOutput,
        targets: Tensor,
        num_visible: int,
        camids: Tensor | None = None,
        attached: Mapping[str, Any] = {},
    ) -> LossInputs:
        """Returns what the terms are computed from."""
        pids = self.gather(targets, num_visible)
        index = torch.arange(len(pids), device=pids.device)
        visible = index < num_visible * len(pids) // len(targets)
        return LossInputs(
            output=output,
            targets=targets,
            pids=pids,
            modality=torch.where(visible, VISIBLE, INFRARED),
            gather=lambda rows: self.gather(rows, num_visible),
            camids=camids,
            attached=Attached(attached),
        )

    def check_labels(self, labels: Tensor, modality: Tensor) -> None:
        """Refuses labels (B,) that a loss term of the total cannot be computed from.

        On a GPU they are not looked at, which would make the host wait.

        Raises:
            ValueError: an image that lacks a pair; names the image.
        """
        # with several processes, pairs may lie on two of them
        if labels.device.type == "cpu" and self.gather is own_rows:
            for weighted in self.terms.values():
                weighted.term.check(labels, modality)

    def check_classes(self, labels: Tensor, output: HeadOutput) -> None:
        """Refuses labels (B,) beyond the classes; on a GPU they are not looked at.

        Raises:
            ValueError: names the image; or there is no classifier.
        """
        if labels.device.type != "cpu" or "cls" not in self.terms:
            return
        if not output.main.logits:
            raise ValueError(
                "MODEL.HEADS.NUM_CLASSES = 0: the network has no classifier to train; set it "
                "to the number of training identities"
            )
        check_targets(labels, output.main.logits[0].shape[1])

    def embed_parts(self, images: Tensor, modality: int) -> dict[str, Tensor]:
        """Embeds images of one modality; see :meth:`AICLHead.parts`."""
        num_visible = num_visible_of(images, modality)
        levels = self.backbone(self.preprocess_image(images), num_visible)
        return self.heads.parts(self.compute_heads(levels, num_visible))


def _read(cfg: CfgNode, name: str) -> Any:
    """The value of a dotted key, None where there is no such key."""
    node = cfg
    for part in name.split("."):
        if part not in node:
            return None
        node = node[part]
    return node


def _existing_parts(names: Sequence[str], heads: AICLHead) -> tuple[str, ...]:
    allowed, part_dims = heads.part_names, heads.part_dims
    unknown = [name for name in names if name not in allowed]
    if unknown or not names:
        raise ValueError(
            f"MODEL.WRIM.EMBEDDING_PARTS = {tuple(names)}: expected some of {allowed}; a head of "
            "your own, MODEL.HEADS.NAME of a module in PLUGINS, may have others"
        )
    existing = tuple(name for name in allowed if name in names and name in part_dims)
    if not existing:
        raise ValueError(
            f"MODEL.WRIM.EMBEDDING_PARTS = {tuple(names)}: the network has only {list(part_dims)}"
        )
    return existing
