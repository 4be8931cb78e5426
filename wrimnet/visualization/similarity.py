"""Which positions of two images make their embeddings similar, computed and drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wrimnet.modeling.embedding import join_parts
from wrimnet.modeling.network import CrossModalityNetwork
from wrimnet.visualization.drawing import add_axes, new_figure, show_image, show_overlay, smooth_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SimilarityMaps(NamedTuple):
    """Cosine of two images and the contribution of each position, (h, w) per image."""

    similarity: float
    first: np.ndarray
    second: np.ndarray


def similarity_maps(
    model: CrossModalityNetwork,
    parts: Sequence[str],
    images: tuple[Tensor, Tensor],
    modalities: tuple[int, int],
) -> SimilarityMaps:
    """Differentiates the cosine of two embeddings by the features after Block 3.

    Those feed both levels, hence all parts of the embedding. The value of a position is
    ``sum_c F[c] * d cos / d F[c]``: its share in the cosine to first order. The images are
    (H, W, 3) uint8 on the device of the model, which is in evaluation mode.
    """
    features: list[Tensor] = []
    layer = model.explained_layer()
    if layer is None:
        raise ValueError(f"{type(model).__name__} names no layer to explain (explained_layer)")
    hook = layer.register_forward_pre_hook(lambda block, inputs: features.append(inputs[0]))
    try:
        with torch.enable_grad():
            first, second = (
                join_parts(model.embed_parts(image[None], modality), parts)[0]
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


_TILE_HEIGHT = 1.7
_SIDES = ("query", "gallery")


class ExplainedPair(NamedTuple):
    """Two images (H, W, 3) uint8, each with a caption and its map (h, w), and their cosine."""

    heading: str
    query: np.ndarray
    gallery: np.ndarray
    query_map: np.ndarray
    gallery_map: np.ndarray
    similarity: float


def draw_similarity_maps(title: str, pairs: Sequence[Sequence[ExplainedPair]]) -> "Figure":
    """Draws pairs: query, gallery image, then both with their maps, all on one scale.

    Red regions raise the similarity, blue ones lower it (gradient times feature), as the color
    bar says. Each row of ``pairs`` has as many.

    Raises:
        ValueError: there is no pair.
    """
    if not pairs:
        raise ValueError("similarity maps need at least one pair of images")
    height, width = pairs[0][0].query.shape[:2]
    columns = 4 * len(pairs[0])
    size = (
        max(0.6 + columns * (_TILE_HEIGHT * width / height + 0.12), 8.6),
        1.5 + len(pairs) * (_TILE_HEIGHT + 0.5),
    )
    figure = new_figure(*size, title, layout="constrained")
    grid = add_axes(figure, len(pairs), columns)
    every = [pair for row in pairs for pair in row]
    limit = max(np.abs(m).max() for pair in every for m in (pair.query_map, pair.gallery_map))
    for axes, pair in zip(grid.reshape(len(every), 4), every, strict=True):
        drawn = _draw_pair(axes, pair, max(limit, 1e-12))
    bar = figure.colorbar(drawn, ax=grid, location="bottom", shrink=0.5, aspect=40)
    bar.set_label("share in the cosine to first order: red raises it, blue lowers it", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def _draw_pair(axes: np.ndarray, pair: ExplainedPair, limit: float) -> Any:
    """Draws the images, then their maps; returns the last for the color bar."""
    for place, name, image in zip(axes, _SIDES, (pair.query, pair.gallery), strict=False):
        show_image(place, image)
        place.set_xlabel(name, fontsize=7, labelpad=2)
    axes[0].set_title(f"{pair.heading}, cosine {pair.similarity:.3f}", fontsize=8, loc="left")
    maps = (pair.query, pair.query_map), (pair.gallery, pair.gallery_map)
    for place, name, (image, values) in zip(axes[2:], _SIDES, maps, strict=True):
        layer = smooth_map(values, *image.shape[:2])
        drawn = show_overlay(place, image, layer, cmap="RdBu_r", vmin=-limit, vmax=limit)
        place.set_xlabel(name, fontsize=7, labelpad=2)
    return drawn
