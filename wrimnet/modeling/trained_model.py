"""A configuration's network: as training starts it, or with trained weights in it."""

import logging

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from fastreid.modeling import build_model as build_registered_model
from torch import nn

from wrimnet.modeling.weights import load_weights

_logger = logging.getLogger("fastreid.wrimnet.model")


def build_model(cfg: CfgNode) -> nn.Module:
    """Builds the network by FastReID's registry, in the memory format of the configuration."""
    model = build_registered_model(cfg)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    _logger.info("%s with %.1f M parameters", type(model).__name__, parameters / 1e6)
    if cfg.SOLVER.CHANNELS_LAST:
        model.to(memory_format=torch.channels_last)
    return model


def build_trained_model(cfg: CfgNode) -> nn.Module:
    """Builds the network with MODEL.WEIGHTS in it, for evaluation.

    Raises:
        FileNotFoundError: no such weights.
        ValueError: MODEL.WEIGHTS is empty or not of this network.
    """
    if not cfg.MODEL.WEIGHTS:
        raise ValueError("no weights: set MODEL.WEIGHTS, or name a run that holds model_final.pth")
    model = build_model(build_without_pretrained(cfg))
    load_weights(model, cfg.MODEL.WEIGHTS, for_evaluation=True)
    return model.eval()


def build_without_pretrained(cfg: CfgNode) -> CfgNode:
    """Returns a copy that does not load ImageNet weights, for a model that gets its own."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.BACKBONE.PRETRAIN = False
    cfg.freeze()
    return cfg
