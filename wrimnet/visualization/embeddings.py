"""Embeddings in the plane by t-SNE, and the distances between the modalities."""

from collections.abc import Mapping
from colorsys import hsv_to_rgb
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE
from wrimnet.visualization.drawing import add_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = {VISIBLE: "o", INFRARED: "^"}
_PERPLEXITY = 20.0


def map_to_plane(embeddings: np.ndarray, *, seed: int) -> np.ndarray:
    """Computes t-SNE (N, 2) from a PCA start, by the exact method, which approximates nothing.

    ``embeddings`` are (N, D), N >= 4, L2-normalized, so that Euclidean order is cosine order.

    Raises:
        ValueError: fewer than four embeddings, or scikit-learn is not installed.
    """
    if len(embeddings) < 4:
        raise ValueError(f"t-SNE of {len(embeddings)} embeddings: expected at least 4")
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        raise ValueError("t-SNE needs scikit-learn: pip install scikit-learn") from error
    perplexity = min(_PERPLEXITY, (len(embeddings) - 1) / 3)
    method = TSNE(perplexity=perplexity, init="pca", method="exact", random_state=seed)
    return method.fit_transform(embeddings.astype(np.float64))


def draw_embedding_map(
    title: str, panels: Mapping[str, np.ndarray], pids: np.ndarray, modality: np.ndarray
) -> "Figure":
    """Draws planes side by side, one per model: heading -> (N, 2) points."""
    figure = new_figure(5.2 * len(panels), 5.6, title, layout="constrained")
    colors = identity_colors(pids)
    for axes, (heading, points) in zip(add_axes(figure, 1, len(panels))[0], panels.items(),
                                       strict=True):  # fmt: skip
        for kind, marker in _MARKERS.items():
            rows = modality == kind
            style = {"marker": marker, "s": 34, "edgecolors": "#333333", "linewidths": 0.4}
            axes.scatter(*points[rows].T, c=colors[rows], label=MODALITY_NAMES[kind], **style)
        axes.set(title=heading, xticks=[], yticks=[])
        axes.set_box_aspect(1)
    legend: Any = figure.axes[0].legend(loc="best", fontsize=8)
    for handle in legend.legend_handles:
        handle.set_facecolor("white")
    return figure


def identity_colors(pids: np.ndarray) -> np.ndarray:
    """Returns RGB (N, 3) in 0..1: each identity a hue of its own, neighbors apart in lightness."""
    _, index = np.unique(pids, return_inverse=True)
    hues, values = index / (index.max() + 1), np.where(index % 2 == 0, 0.95, 0.65)
    return np.array([hsv_to_rgb(hue, 0.75, value) for hue, value in zip(hues, values, strict=True)])


NUM_BINS = 100
_BLOCK = 1024


class DistanceHistogram(NamedTuple):
    """Shares, of sum 1, of the pairs of one identity and of two per bin of cosine distance."""

    edges: np.ndarray  # (bins + 1,)
    same: np.ndarray  # (bins,)
    different: np.ndarray  # (bins,)
    num_same: int  # pairs of one identity
    num_different: int

    @property
    def overlap(self) -> float:
        """Sum over the bins of the smaller share: 0 for separated, 1 for equal histograms."""
        return float(np.minimum(self.same, self.different).sum())


def count_distances(
    embeddings: np.ndarray, pids: np.ndarray, modality: np.ndarray, *, num_bins: int = NUM_BINS
) -> DistanceHistogram:
    """Counts the cosine distances of all pairs of a visible and an infrared image.

    Raises:
        ValueError: no pair of one identity, or none of two.
    """
    visible, infrared = modality == VISIBLE, modality == INFRARED
    left, right = embeddings[infrared], embeddings[visible]
    same_pid = lambda rows: pids[infrared][rows, None] == pids[visible]  # noqa: E731
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(left), _BLOCK)]
    limits = [(d.min(), d.max()) for d in (1 - left[rows] @ right.T for rows in blocks) if d.size]
    if not limits:
        raise ValueError("distances across modalities need images of both; one has none")
    low, high = min(limit[0] for limit in limits), max(limit[1] for limit in limits)
    edges = np.linspace(low, max(high, low + 1e-6), num_bins + 1)
    counts = np.zeros((2, num_bins), dtype=np.int64)
    for rows in blocks:
        dist, same = 1 - left[rows] @ right.T, same_pid(rows)
        for kind, chosen in enumerate((same, ~same)):
            counts[kind] += np.histogram(np.clip(dist[chosen], edges[0], edges[-1]), edges)[0]
    num_same, num_different = (int(count) for count in counts.sum(axis=1))
    if not (num_same and num_different):
        raise ValueError(
            f"{num_same} pairs of one identity and {num_different} of two across the modalities: "
            "a histogram needs both"
        )
    return DistanceHistogram(
        edges, counts[0] / num_same, counts[1] / num_different, num_same, num_different
    )


def draw_distance_histograms(title: str, panels: Mapping[str, DistanceHistogram]) -> "Figure":
    """Draws the histograms side by side on one axis of distances, one panel per model."""
    figure = new_figure(5.2 * len(panels), 3.9, title, layout="constrained")
    places = add_axes(figure, 1, len(panels), sharex=True)[0]
    for axes, (heading, histogram) in zip(places, panels.items(), strict=True):
        for name, shares, count, color in (
            ("same identity", histogram.same, histogram.num_same, "#1a9641"),
            ("different identities", histogram.different, histogram.num_different, "#d73027"),
        ):
            style = {"fill": True, "alpha": 0.5, "color": color}
            axes.stairs(100 * shares, histogram.edges, label=f"{name}, {count:,} pairs", **style)
        axes.set(
            title=f"{heading}: overlap {100 * histogram.overlap:.1f} %",
            xlabel="cosine distance, visible to infrared",
            ylabel=f"share of pairs, % per bin of {np.diff(histogram.edges)[0]:.2g}",
        )
        axes.legend(fontsize=8)
    return figure
