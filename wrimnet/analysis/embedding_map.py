"""Embeddings in the plane by t-SNE: colour is identity, marker is modality."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from wrimnet.analysis.figure_files import add_axes, new_figure
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = {VISIBLE: "o", INFRARED: "^"}
_PERPLEXITY = 20.0


def map_to_plane(embeddings: np.ndarray, *, seed: int) -> np.ndarray:
    """Computes t-SNE from a PCA start, by the exact method, which has no random approximation.

    Args:
        embeddings: (N, D), N >= 4, unit length; distances are Euclidean, so cosine order holds.
        seed: of scikit-learn's generator.

    Returns:
        (N, 2).

    Raises:
        ValueError: fewer than four embeddings, or scikit-learn is not installed.
    """
    if len(embeddings) < 4:
        raise ValueError(f"t-SNE of {len(embeddings)} embeddings: expected at least 4")
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        raise ValueError("t-SNE needs scikit-learn: pip install scikit-learn") from error
    method = TSNE(
        perplexity=min(_PERPLEXITY, (len(embeddings) - 1) / 3),
        init="pca",
        method="exact",
        random_state=seed,
    )
    return method.fit_transform(embeddings.astype(np.float64))


def draw_embedding_map(
    title: str, panels: Mapping[str, np.ndarray], pids: np.ndarray, modality: np.ndarray
) -> "Figure":
    """Draws planes side by side, one per model.

    Args:
        title: of the figure.
        panels: heading -> (N, 2) points.
        pids: (N,) identities.
        modality: (N,).
    """
    figure = new_figure(5.2 * len(panels), 5.6, title, layout="constrained")
    colours = _identity_colours(pids)
    for axes, (heading, points) in zip(add_axes(figure, 1, len(panels))[0], panels.items(),
                                       strict=True):  # fmt: skip
        for kind, marker in _MARKERS.items():
            rows = modality == kind
            axes.scatter(
                *points[rows].T,
                c=colours[rows],
                marker=marker,
                s=34,
                edgecolors="#333333",
                linewidths=0.4,
                label=MODALITY_NAMES[kind],
            )
        axes.set(title=heading, xticks=[], yticks=[])
        axes.set_box_aspect(1)
    legend = figure.axes[0].legend(loc="best", fontsize=8)
    for handle in legend.legend_handles:
        handle.set_facecolor("white")
    return figure


def _identity_colours(pids: np.ndarray) -> np.ndarray:
    """RGB (N, 3): each identity a hue of its own, neighbours apart in lightness."""
    from matplotlib.colors import hsv_to_rgb

    _, index = np.unique(pids, return_inverse=True)
    hue = index / (index.max() + 1)
    value = np.where(index % 2 == 0, 0.95, 0.65)
    return hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.75), value], axis=1))
