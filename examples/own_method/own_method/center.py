"""Hetero-center loss: the two modalities' centers of an identity shall coincide.

L = mean over identities of || c_visible - c_infrared ||^2
"""

import torch

from wrimnet.config import Key
from wrimnet.losses.total import LossTerm, register_term
from wrimnet.modality import INFRARED, VISIBLE


def hetero_center_loss(embeddings, pids, modality, *, scale):
    """Returns the loss, a scalar, of embeddings (N, D), identities and modalities (N,)."""
    same = (pids[:, None] == pids).float()
    centers = []
    for of in (VISIBLE, INFRARED):
        members = same * (modality == of)
        centers.append(members @ embeddings / members.sum(1, keepdim=True))
    return scale * torch.linalg.vector_norm(centers[0] - centers[1], dim=1).square().mean()


def _term(inputs, scale):
    embeddings = inputs.gather(inputs.output.main.pooled)
    return hetero_center_loss(embeddings, inputs.pids, inputs.modality, scale=scale)


def add_config():
    """Returns the keys of this loss."""
    return [
        Key("MODEL.CENTER.WEIGHT", 0.0, "weight of the hetero-center loss", "[0, 1e6]"),
        Key("MODEL.CENTER.SCALE", 1.0, "factor of the distances", "(0, 1e6]"),
    ]


register_term(LossTerm("center", _term, ("MODEL.CENTER.WEIGHT",), {"scale": "MODEL.CENTER.SCALE"}))
