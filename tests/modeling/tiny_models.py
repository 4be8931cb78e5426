"""Small networks from configurations, and batches of noise for them."""

import wrimnet.compat

import torch
from fastreid.modeling import build_model

import wrimnet.plugin  # noqa: F401
from wrimnet.config import setup_cfg
from wrimnet.modality import INFRARED, VISIBLE

NUM_CLASSES = 4
TINY = {
    "MODEL.DEVICE": "cpu",
    "MODEL.BACKBONE.DEPTH": "18x",
    "MODEL.BACKBONE.PRETRAIN": "False",
    "MODEL.HEADS.NUM_CLASSES": str(NUM_CLASSES),
    "INPUT.SIZE_TRAIN": "[64, 32]",
    "INPUT.SIZE_TEST": "[64, 32]",
}


def model_cfg(config_file="", **overrides):
    """In the names of ``overrides`` two underscores are a dot, MODEL.WRIM may be left out."""
    keys = dict(TINY)
    for name, value in overrides.items():
        name = name.replace("__", ".")
        is_top = name.split(".")[0] in ("MODEL", "INPUT", "SOLVER", "DATALOADER", "PLUGINS")
        keys[name if is_top else f"MODEL.WRIM.{name}"] = str(value)
    return setup_cfg(config_file, (), [word for pair in keys.items() for word in pair])


def make_model(config_file="", seed=0, **overrides):
    torch.manual_seed(seed)
    return build_model(model_cfg(config_file, **overrides))


def make_batch(num_pids=2, num_instances=2, height=64, width=32, seed=0):
    """2 x P x K images of noise, the visible ones first."""
    generator = torch.Generator().manual_seed(seed)
    size = num_pids * num_instances
    shape = (2 * size, height, width, 3)
    return {
        "images": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        "targets": torch.arange(num_pids).repeat_interleave(num_instances).repeat(2),
        "modality": torch.tensor([VISIBLE, INFRARED]).repeat_interleave(size),
    }


def settle(model):
    """Gives the BN layers statistics of the model's own features, for a meaningful evaluation."""
    with torch.no_grad():
        model.train()(make_batch(seed=1))
    return model.eval()
