"""Which positions of two images make their embeddings similar."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SimilarityMaps(NamedTuple):
    """Cosine of two images and the contribution of each position, (h, w) per image."""

    similarity: float
    first: np.ndarray
    second: np.ndarray


def similarity_maps(
    model: nn.Module,
    parts: Sequence[str],
    images: tuple[Tensor, Tensor],
    modalities: tuple[int, int],
) -> SimilarityMaps:
    """Differentiates the cosine of two embeddings by the features after Block 3.

    Those feed both levels, hence all parts of the embedding. The value of a position is
    ``sum_c F[c] * d cos / d F[c]``: its share in the cosine to first order.

    Args:
        model: a WRIMNet in evaluation mode.
        parts: groups that make up the embedding.
        images: two images (H, W, 3) uint8 on the model's device.
        modalities: of the two.
    """
    features: list[Tensor] = []
    hook = model.backbone.layer4.register_forward_pre_hook(
        lambda block, inputs: features.append(inputs[0])
    )
    try:
        with torch.enable_grad():
            first, second = (
                _embedding(model, parts, image, modality)
                for image, modality in zip(images, modalities, strict=True)
            )
            cosine = (first * second).sum()
            gradients = torch.autograd.grad(cosine, features)
    finally:
        hook.remove()
    maps = [
        (feature.detach() * gradient).sum(dim=1)[0].cpu().numpy()
        for feature, gradient in zip(features, gradients, strict=True)
    ]
    return SimilarityMaps(float(cosine.detach()), *maps)


def _embedding(model: nn.Module, parts: Sequence[str], image: Tensor, modality: int) -> Tensor:
    groups = model.embed_parts(image[None], modality)
    return F.normalize(torch.cat([groups[name] for name in parts], dim=1), dim=1)[0]
