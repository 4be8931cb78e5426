"""A custom sampler: people are drawn anew for every batch."""

import numpy as np

from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.registries import SAMPLER_REGISTRY


@SAMPLER_REGISTRY.register()
def any_people(labels, modality, rng, batch):
    """Draws P people, K visible images of each, then K infrared ones; images may come twice."""
    people = rng.choice(np.unique(labels[labels >= 0]), batch.num_pids, replace=False)
    pools = [
        np.flatnonzero((labels == person) & (modality == kind))
        for kind in (VISIBLE, INFRARED)
        for person in people
    ]
    return np.concatenate([rng.choice(pool, batch.num_instances) for pool in pools])
