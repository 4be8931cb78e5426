"""The meta-architecture: backbone with MIIMs, AICL head, the total loss."""

from collections.abc import Callable, Sequence
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode, configurable
from fastreid.modeling.backbones import build_backbone
from fastreid.modeling.heads.build import REID_HEADS_REGISTRY
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from wrimnet.config.check import check_fastreid_keys
from wrimnet.losses.classification import check_targets, partitioned_classification_loss
from wrimnet.losses.cmkic import cmkic_loss
from wrimnet.losses.pairs import check_cross_modality_pairs, check_identity_pairs
from wrimnet.losses.triplet import triplet_loss
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE
from wrimnet.modeling.heads.aicl_head import AICLHead, HeadOutput
from wrimnet.modeling.meta_arch.total_loss import LossWeights


@META_ARCH_REGISTRY.register()
class WRIMNet(nn.Module):
    """WRIM-Net: one forward for a batch whose visible images come first.

    Args:
        backbone: images and number of visible ones -> named levels.
        heads: named levels -> :class:`HeadOutput`.
        weights: weight of each loss term.
        margin: alpha of the triplet loss.
        temperature: tau of CMKIC.
        top_k: K of CMKIC.
        reduction: of CMKIC over its anchors, "mean" or "sum".
        label_smoothing: of the classification.
        embedding_parts: groups of features in the test embedding.
        pixel_mean: per RGB channel, pixel units.
        pixel_std: per RGB channel, pixel units.

    Attributes:
        gather: (rows (B, ...), number of visible ones) -> the rows of all processes that share a
            batch, visible ones first. By default the batch is this process's own.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        heads: AICLHead,
        weights: LossWeights,
        margin: float,
        temperature: float,
        top_k: int,
        reduction: str,
        label_smoothing: float,
        embedding_parts: Sequence[str],
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = heads
        self.weights = weights
        self.margin = margin
        self.temperature = temperature
        self.top_k = top_k
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.embedding_parts = _existing_parts(embedding_parts, heads.part_dims)
        self.raw_losses: dict[str, Tensor] = {}
        self.gather: Callable[[Tensor, int], Tensor] = _own_rows
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(1, 3, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(1, 3, 1, 1), False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Reads ``cfg.MODEL``; raises ValueError for a FastReID key that is not read."""
        check_fastreid_keys(cfg)
        wrim, backbone = cfg.MODEL.WRIM, build_backbone(cfg)
        build_head = REID_HEADS_REGISTRY.get(cfg.MODEL.HEADS.NAME)
        return {
            "backbone": backbone,
            "heads": build_head(cfg, channels=backbone.channels),
            "weights": LossWeights(
                classification=wrim.CLASSIFICATION.WEIGHT,
                triplet=wrim.TRIPLET.WEIGHT,
                cmkic=wrim.CMKIC.WEIGHT,
                auxiliary=wrim.AUXILIARY.WEIGHT if wrim.AUXILIARY.ENABLED else 0.0,
            ),
            "margin": wrim.TRIPLET.MARGIN,
            "temperature": wrim.CMKIC.TEMPERATURE,
            "top_k": wrim.CMKIC.TOP_K,
            "reduction": wrim.CMKIC.REDUCTION,
            "label_smoothing": wrim.CLASSIFICATION.LABEL_SMOOTHING,
            "embedding_parts": wrim.EMBEDDING_PARTS,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.pixel_mean.device

    @property
    def part_dims(self) -> dict[str, int]:
        """Length of each group of the test embedding."""
        return self.heads.part_dims

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor] | Tensor:
        """Returns the weighted loss terms in training, the test embedding (B, D) in evaluation.

        Args:
            batch: "images" uint8 (B, H, W, 3) or float (B, 3, H, W), pixel units 0..255;
                "modality" (B,) on the CPU, visible images first; in training "targets" (B,) and,
                where those are on a GPU, the same on the CPU as "labels", which are checked.
        """
        num_visible = count_visible(batch["modality"])
        if self.training:
            self.check_labels(batch.get("labels", batch["targets"]), batch["modality"])
        levels = self.backbone(self.preprocess_image(batch["images"]), num_visible)
        output = self.compute_heads(levels)
        if self.training:
            return self.losses(output, batch["targets"], num_visible)
        return self.embedding(self.heads.parts(output))

    def preprocess_image(self, images: Tensor) -> Tensor:
        """Normalises pixels out of place; (B, H, W, 3) bytes become (B, 3, H, W) floats."""
        if images.dtype == torch.uint8:
            images = images.permute(0, 3, 1, 2)
        return (images.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std

    def compute_heads(self, levels: dict[str, Tensor]) -> HeadOutput:
        """Runs the head outside autocast: pooled features, logits and losses stay float32."""
        with torch.autocast(self.device.type, enabled=False):
            return self.heads(levels)

    def losses(self, output: HeadOutput, targets: Tensor, num_visible: int) -> dict[str, Tensor]:
        """Computes the total (last formula of the paper's method section), term by term.

        L = L_cls_P5 + L_tri_P5 + lambda1 L_CMKIC_P5 + lambda2 (L_cls_P4 + L_tri_P4)

        Args:
            output: of the head.
            targets: (B,) labels of the training identities.
            num_visible: the first so many samples are visible.

        Returns:
            Weighted terms, those of weight 0 left out; their sum is the objective. The raw ones
            stay in ``raw_losses`` for logging.
        """
        raw = self.loss_terms(output, targets, num_visible)
        self.raw_losses = {name: value.detach() for name, value in raw.items()}
        weights = self.weights.by_term()
        return {f"loss_{name}": weights[name] * value for name, value in raw.items()}

    def loss_terms(
        self, output: HeadOutput, targets: Tensor, num_visible: int
    ) -> dict[str, Tensor]:
        """Computes the terms that have a weight, without it; reads no value on the host.

        Where processes share a batch, a classification term is the mean over this process's images,
        and the others, which compare images, are those of the whole batch.
        """
        main, auxiliary = output.main, output.auxiliary
        pids = self.gather(targets, num_visible)
        terms = {
            "cls": lambda: self._classification(main.logits, targets),
            "tri": lambda: self._triplet(self.gather(main.pooled, num_visible), pids),
            "cmkic": lambda: self._cmkic(
                self.gather(output.contrastive, num_visible),
                pids,
                num_visible * len(pids) // len(targets),
            ),
            "cls_aux": lambda: self._classification(auxiliary.logits, targets),
            "tri_aux": lambda: self._triplet(self.gather(auxiliary.pooled, num_visible), pids),
        }
        weights = self.weights.by_term()
        return {name: term() for name, term in terms.items() if weights[name] > 0}

    def check_labels(self, labels: Tensor, modality: Tensor) -> None:
        """Refuses labels that a loss term of the total cannot be computed from.

        Args:
            labels: (B,); on a GPU they are not looked at, which would make the host wait.
            modality: (B,), on the CPU.

        Raises:
            ValueError: a label beyond the classes, or an image that lacks a pair; names the image.
        """
        if labels.device.type != "cpu":
            return
        weights, classifiers = self.weights, self.heads.main.classifiers
        if weights.classification > 0:
            if not classifiers:
                raise ValueError(
                    "MODEL.HEADS.NUM_CLASSES = 0: the network has no classifier to train; set it "
                    "to the number of training identities"
                )
            check_targets(labels, classifiers[0].out_features)
        if self.gather is not _own_rows:
            return  # pairs may lie on two processes
        if weights.triplet > 0:
            check_identity_pairs(labels)
        if weights.cmkic > 0:
            check_cross_modality_pairs(labels, modality)

    def _classification(self, logits: list[Tensor], targets: Tensor) -> Tensor:
        return partitioned_classification_loss(
            logits, targets, label_smoothing=self.label_smoothing
        )

    def _triplet(self, pooled: Tensor, targets: Tensor) -> Tensor:
        return triplet_loss(pooled, targets, margin=self.margin)

    def _cmkic(self, contrastive: Tensor, targets: Tensor, num_visible: int) -> Tensor:
        index = torch.arange(len(targets), device=targets.device)
        modality = torch.where(index < num_visible, VISIBLE, INFRARED)
        return cmkic_loss(
            contrastive,
            targets,
            modality,
            top_k=self.top_k,
            temperature=self.temperature,
            reduction=self.reduction,
        )

    def embed_parts(self, images: Tensor, modality: int) -> dict[str, Tensor]:
        """Embeds images of one modality, group by group, in evaluation mode.

        Args:
            images: as in :meth:`forward`.
            modality: VISIBLE or INFRARED.

        Returns:
            As :meth:`AICLHead.parts`.
        """
        if modality not in (VISIBLE, INFRARED):
            raise ValueError(f"modality {modality!r}: expected 0 or 1 ({MODALITY_NAMES})")
        num_visible = images.shape[0] if modality == VISIBLE else 0  # len() would fix it on export
        levels = self.backbone(self.preprocess_image(images), num_visible)
        return self.heads.parts(self.compute_heads(levels))

    def embedding(self, parts: dict[str, Tensor]) -> Tensor:
        """Joins the selected groups to the test embedding (B, D) of unit length."""
        return F.normalize(torch.cat([parts[name] for name in self.embedding_parts], 1), dim=1)


def _own_rows(rows: Tensor, num_visible: int) -> Tensor:
    return rows


def count_visible(modality: Tensor) -> int:
    """Counts the visible samples of a batch, which come first.

    Raises:
        ValueError: a value that is no modality, or a visible sample behind an infrared one.
    """
    if modality.numel() == 0 or not bool(((modality == VISIBLE) | (modality == INFRARED)).all()):
        raise ValueError(f"modality {modality.tolist()}: expected 0 (visible) or 1 (infrared)")
    if bool((modality[1:] < modality[:-1]).any()):
        raise ValueError("unsorted batch: a visible image stands behind an infrared one; sort it")
    return int((modality == VISIBLE).sum())


def _existing_parts(names: Sequence[str], part_dims: dict[str, int]) -> tuple[str, ...]:
    allowed = ("global", "stripes", "auxiliary")
    unknown = [name for name in names if name not in allowed]
    if unknown or not names:
        raise ValueError(f"MODEL.WRIM.EMBEDDING_PARTS = {tuple(names)}: expected some of {allowed}")
    existing = tuple(name for name in allowed if name in names and name in part_dims)
    if not existing:
        raise ValueError(
            f"MODEL.WRIM.EMBEDDING_PARTS = {tuple(names)}: the network has only {list(part_dims)}"
        )
    return existing
