"""The peers' loss terms, under the names of the log; see :mod:`wrimnet.losses.total`."""

import torch.nn.functional as F
from torch import Tensor

from wrimnet.losses.pairs import check_identity_pairs
from wrimnet.losses.total import LossInputs, LossTerm, register_term
from wrimnet.peers.embedding_expansion import COPIES
from wrimnet.peers.expansion_losses import branch_similarity_loss, center_pushing_loss
from wrimnet.peers.weighted_triplet import weighted_triplet_loss


def view_divergence_loss(logits: Tensor) -> Tensor:
    """CAJ's option: KL(p2 || p1) of the visible images' two views, mean over the images.

    Args:
        logits: (3n, C): the first views of n visible images, their second views, n infrared ones.

    Raises:
        ValueError: another number of rows.
    """
    if len(logits) % 3:
        raise ValueError(f"{len(logits)} images, expected two views of n visible and n infrared")
    first, second, _ = logits.float().chunk(3)
    return F.kl_div(
        first.log_softmax(1), second.log_softmax(1), reduction="batchmean", log_target=True
    )


def _weighted_triplet(inputs: LossInputs, squared: bool) -> Tensor:
    pooled = inputs.gather(inputs.output.main.pooled)
    return weighted_triplet_loss(pooled, inputs.pids, squared=squared)


def _view_divergence(inputs: LossInputs) -> Tensor:
    return view_divergence_loss(inputs.output.main.logits[0])


def _center_pushing(inputs: LossInputs, margin: float) -> Tensor:
    copies = inputs.gather(inputs.output.main.pooled).chunk(COPIES)
    pids, modality = (labels.chunk(COPIES)[0] for labels in (inputs.pids, inputs.modality))
    return center_pushing_loss(copies, pids, modality, margin=margin)


def _branch_similarity(inputs: LossInputs) -> Tensor:
    return branch_similarity_loss(inputs.gather(inputs.output.main.pooled).chunk(COPIES))


def _check_pairs(labels: Tensor, modality: Tensor) -> None:
    check_identity_pairs(labels)


def _register() -> None:
    group = "MODEL.TWO_STREAM"
    squared = {"squared": f"{group}.WEIGHTED_TRIPLET.SQUARED"}
    margin = {"margin": f"{group}.CPM.MARGIN"}
    for name, compute, key, settings in (
        ("wrt", _weighted_triplet, "WEIGHTED_TRIPLET", squared),
        ("views", _view_divergence, "VIEWS", {}),
        ("cpm", _center_pushing, "CPM", margin),
        ("ort", _branch_similarity, "ORTHOGONALITY", {}),
    ):
        weights = (f"{group}.{key}.WEIGHT",)
        register_term(LossTerm(name, compute, weights, settings, _check_pairs))


_register()
