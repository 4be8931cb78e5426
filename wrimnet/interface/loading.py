"""From a configuration file and a file of weights to an embedder."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from torch import nn

from wrimnet.config import config_hash, setup_cfg
from wrimnet.engine.run import build_trained_model
from wrimnet.interface.embedder import Embedder, ModelFacts
from wrimnet.interface.image_input import ImageReader
from wrimnet.interface.model_hash import build_model_hash


def load(
    config: str | PathLike,
    weights: str | PathLike,
    *,
    device: str = "auto",
    options: Sequence[str] = (),
) -> Embedder:
    """Loads a trained model; documented in :func:`wrimnet.load`."""
    names = ["MODEL.WEIGHTS", str(weights), "MODEL.DEVICE", device]
    return build_embedder(setup_cfg(str(config), options=[*options, *names]))


def build_embedder(cfg: CfgNode) -> Embedder:
    """Builds the embedder of a configuration, with MODEL.WEIGHTS in the model.

    Raises:
        FileNotFoundError: no such weights.
        ValueError: MODEL.WEIGHTS is empty or not of this model.
    """
    if not cfg.MODEL.WEIGHTS:
        raise ValueError("no weights: set MODEL.WEIGHTS, or name a run that holds model_final.pth")
    model, weights = build_trained_model(cfg)
    return build_embedder_of(cfg, model, Path(weights).name)


def build_embedder_of(cfg: CfgNode, model: nn.Module, weights: str) -> Embedder:
    """Builds the embedder of a model with its weights in it; ``weights`` says where from."""
    height, width = cfg.INPUT.SIZE_TEST
    return Embedder(
        model=model,
        parts=model.embedding_parts,
        reader=ImageReader(height=height, width=width, interpolation=cfg.INPUT.INTERPOLATION),
        batch_size=cfg.TEST.IMS_PER_BATCH,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        flip=cfg.TEST.FLIP.ENABLED,
        device=cfg.MODEL.DEVICE,
        precision=cfg.SOLVER.PRECISION,
        facts=ModelFacts(
            name=f"{type(model).__name__}-{cfg.MODEL.BACKBONE.DEPTH}",
            weights=weights,
            config_hash=config_hash(cfg),
            model_hash=build_model_hash(cfg, model),
        ),
    )
