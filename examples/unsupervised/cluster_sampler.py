"""Batches of P visible and P infrared clusters, drawn apart, with K images of each."""

import numpy as np

from wrimnet.data.sampler import BatchRequest
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.registries import SAMPLER_REGISTRY, register_as


@register_as(SAMPLER_REGISTRY, "clusters")
def draw_clusters(
    labels: np.ndarray, modality: np.ndarray, rng: np.random.Generator, batch: BatchRequest
) -> np.ndarray:
    """Draws P clusters of each modality, K images of each; with replacement where there are fewer.

    The labels of a modality are its own: visible cluster 3 has nothing to do with infrared 3.
    """
    halves = [
        _draw(np.where(modality == kind, labels, -1), rng, batch) for kind in (VISIBLE, INFRARED)
    ]
    return np.concatenate(halves)


def _draw(labels: np.ndarray, rng: np.random.Generator, batch: BatchRequest) -> np.ndarray:
    clusters, count = np.unique(labels[labels >= 0]), batch.num_instances
    chosen = rng.choice(clusters, batch.num_pids, replace=len(clusters) < batch.num_pids)
    pools = [np.flatnonzero(labels == cluster) for cluster in chosen]
    return np.concatenate([rng.choice(p, count, replace=len(p) < count) for p in pools])
