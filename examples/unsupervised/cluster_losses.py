"""The loss terms: each modality against its own memory, one modality against the other's."""

from functools import partial

from torch import Tensor
from torch.nn import functional as F

from examples.unsupervised.cluster_head import MEMORIES
from examples.unsupervised.memories import Memories
from wrimnet.losses.total import LossInputs, LossTerm, register_term
from wrimnet.modality import INFRARED, VISIBLE


def features_of(inputs: LossInputs, modality: int) -> tuple[Tensor, Tensor]:
    """Returns the BN-neck features of a modality, L2-normalized, and their clusters."""
    rows = inputs.modality == modality
    return F.normalize(inputs.output.main.necks[0][rows], dim=1), inputs.targets[rows]


def memories_of(inputs: LossInputs) -> Memories:
    """Returns the memories that the head hands over; ValueError where no hook has made them."""
    memories = inputs.output.branches[MEMORIES]
    if memories is None:
        raise ValueError(
            "there are no clusters: the hook ProgressiveGraphMatching makes them in a training; a "
            "dry run or a benchmark cannot count this recipe"
        )
    return memories


def _within(modality: int, inputs: LossInputs, temperature: float) -> Tensor:
    return memories_of(inputs).within(modality, *features_of(inputs, modality), temperature)


def _across(inputs: LossInputs, temperature: float) -> Tensor:
    memories = memories_of(inputs)
    return memories.across(*features_of(inputs, memories.crossing), temperature)


_SETTINGS = {"temperature": "UNSUPERVISED.TEMPERATURE"}
for _name, _kind in (("visible_clusters", VISIBLE), ("infrared_clusters", INFRARED)):
    register_term(LossTerm(_name, partial(_within, _kind), ("UNSUPERVISED.WEIGHT",), _SETTINGS))
register_term(LossTerm("matched_clusters", _across, ("UNSUPERVISED.CROSS_WEIGHT",), _SETTINGS))
