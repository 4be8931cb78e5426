"""A hash over everything that shapes an embedding: two models with the same hash agree."""

import hashlib
import json

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from torch import Tensor, nn

from wrimnet.config.defaults import get_key, leaf_names
from wrimnet.engine.weights import is_training_only

# Beside the weights; the precision of the forward pass and the device are left out.
_SHAPING_KEYS = (
    "MODEL.META_ARCHITECTURE",
    "MODEL.BACKBONE.NAME",
    "MODEL.BACKBONE.DEPTH",
    "MODEL.BACKBONE.LAST_STRIDE",
    "MODEL.BACKBONE.MAX_POOL",
    "MODEL.HEADS.NAME",
    "MODEL.PIXEL_MEAN",
    "MODEL.PIXEL_STD",
    "MODEL.WRIM.MAIN.STRIPES",
    "MODEL.WRIM.AUXILIARY.ENABLED",
    "MODEL.WRIM.AUXILIARY.STRIPES",
    "MODEL.WRIM.EMBEDDING_PARTS",
    "INPUT.SIZE_TEST",
    "INPUT.INTERPOLATION",
    "TEST.FLIP.ENABLED",
)


def build_model_hash(cfg: CfgNode, model: nn.Module) -> str:
    """Returns 64 hex digits over the weights that evaluation uses and the keys that shape it."""
    names = [name for name in leaf_names(cfg) if name.startswith("MODEL.WRIM.MIIM.")]
    settings = [[name, get_key(cfg, name)] for name in (*_SHAPING_KEYS, *sorted(names))]
    digest = hashlib.sha256(json.dumps(settings, default=list).encode())
    for name, tensor in sorted(evaluation_weights(model).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def evaluation_weights(model: nn.Module) -> dict[str, Tensor]:
    """Returns the state dict on the CPU without what only training uses, contiguous."""
    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if not is_training_only(name)
    }
