"""The losses of the paper as pure functions: no state, no cfg, no logging; float32 inside."""

from wrimnet.losses.classification import check_targets, partitioned_classification_loss
from wrimnet.losses.cmkic import cmkic_loss
from wrimnet.losses.pairs import check_cross_modality_pairs, check_identity_pairs
from wrimnet.losses.triplet import triplet_loss

__all__ = [
    "check_cross_modality_pairs",
    "check_identity_pairs",
    "check_targets",
    "cmkic_loss",
    "partitioned_classification_loss",
    "triplet_loss",
]
