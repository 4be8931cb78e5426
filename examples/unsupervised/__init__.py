"""Learning without identity labels: progressive graph matching (PGM), outside of the library.

Wu and Ye, Unsupervised Visible-Infrared Person Re-Identification via Progressive Graph Matching and
Alternate Learning, CVPR 2023. docs/unsupervised.md has the commands. A dataset's identities are
read for the log's purity and coverage alone.
"""

from examples.unsupervised import (
    cluster_head,
    cluster_losses,
    cluster_sampler,
    pgm_hook,
    two_views,
    unlabelled_folder,
)
from wrimnet.config import Key

__all__ = [
    "cluster_head",
    "cluster_losses",
    "cluster_sampler",
    "pgm_hook",
    "two_views",
    "unlabelled_folder",
]


def add_config() -> list[Key]:
    """Returns the keys of the method; defaults are those of the public code."""
    count, weight = "[1, 1000]", "[0, 1e6]"
    keys = (
        Key("K1", 30, "size of the reciprocal neighborhood of the Jaccard distance", count),
        Key("K2", 6, "images averaged in its local expansion", count),
        Key("EPS", 0.6, "DBSCAN: largest Jaccard distance of neighbors", "(0, 1)"),
        Key("MIN_SAMPLES", 4, "DBSCAN: neighbors of a core image, itself among them", count),
        Key("TEMPERATURE", 0.05, "of the cluster contrast", "(0, 1e6]"),
        Key("MOMENTUM", 0.2, "share of a memory's row that a step keeps", "[0, 1)"),
        Key("HARDEST", False, "the least similar image of a batch moves a row, not each in turn"),
        Key("WEIGHT", 1.0, "of the contrast within each modality", weight),
        Key("CROSS_WEIGHT", 0.0, "of the contrast between modalities; stage 2: 0.25", weight),
        Key("JITTER", 0.5, "largest change of brightness, contrast, saturation", "[0, 1]"),
    )
    return [key._replace(name=f"UNSUPERVISED.{key.name}") for key in keys]
