"""Distances between the modalities: of one identity and of different ones, and their overlap."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wrimnet.analysis.figure_files import add_axes, new_figure
from wrimnet.modality import INFRARED, VISIBLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_BINS = 100
_BLOCK = 1024


class DistanceHistogram(NamedTuple):
    """Shares of the pairs per bin of cosine distance.

    Attributes:
        edges: (bins + 1,).
        same: (bins,) share of the pairs of one identity, sum 1.
        different: (bins,) share of the pairs of two identities, sum 1.
        num_same: pairs of one identity.
        num_different: pairs of two.
    """

    edges: np.ndarray
    same: np.ndarray
    different: np.ndarray
    num_same: int
    num_different: int

    @property
    def overlap(self) -> float:
        """Sum over the bins of the smaller share: 0 for separated, 1 for equal histograms."""
        return float(np.minimum(self.same, self.different).sum())


def count_distances(
    embeddings: np.ndarray, pids: np.ndarray, modality: np.ndarray, *, num_bins: int = NUM_BINS
) -> DistanceHistogram:
    """Counts the cosine distances of all pairs of a visible and an infrared image.

    Args:
        embeddings: (N, D), rows of unit length.
        pids: (N,) identities.
        modality: (N,).
        num_bins: bins between the smallest and the largest distance.

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
    """Draws the histograms side by side, one panel per model, each with its own axis."""
    figure = new_figure(5.2 * len(panels), 3.9, title, layout="constrained")
    for axes, (heading, histogram) in zip(add_axes(figure, 1, len(panels))[0], panels.items(),
                                          strict=True):  # fmt: skip
        for name, shares, count, colour in (
            ("same identity", histogram.same, histogram.num_same, "#1a9641"),
            ("different identities", histogram.different, histogram.num_different, "#d73027"),
        ):
            axes.stairs(
                100 * shares,
                histogram.edges,
                fill=True,
                alpha=0.5,
                color=colour,
                label=f"{name}, {count:,} pairs",
            )
        axes.set(
            title=f"{heading}: overlap {100 * histogram.overlap:.1f} %",
            xlabel="cosine distance, visible to infrared",
            ylabel="share of pairs, % per bin",
        )
        axes.legend(fontsize=8)
    return figure
