"""A trained model to call: images in, embeddings out."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
from fastreid.config import CfgNode
from PIL import Image
from torch import nn

from wrimnet.config import NETWORK_KEYS, build_network_settings, config_hash, get_key, setup_cfg
from wrimnet.config.setup import RANGE_KEY
from wrimnet.data.images import ImageItem
from wrimnet.evaluation.extraction import Extraction, build_extraction, join_arrays
from wrimnet.modality import find_modality
from wrimnet.modeling.weights import build_trained_model, evaluation_weights, setup_recorded_range
from wrimnet.run_folder import CONFIG, FINAL, check_run_folder

# Beside the network's own; the precision of the forward pass and the device are left out.
_SHAPING_KEYS = (
    "MODEL.WRIM.EMBEDDING_PARTS",
    "INPUT.SIZE_TEST",
    "INPUT.INTERPOLATION",
    "TEST.FLIP.ENABLED",
)


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What identifies a model: two with the same ``model_hash`` give the same embeddings."""

    name: str  # for titles, such as "WRIMNet-50x"
    weights: str  # file that they came from
    config_hash: str
    model_hash: str


class Embedder:
    """A trained network with its preprocessing; made by :func:`wrimnet.load`."""

    def __init__(self, *, model: nn.Module, extraction: Extraction, facts: ModelFacts) -> None:
        self.model = model.eval()
        self.parts = tuple(model.embedding_parts)
        self.extraction = extraction
        self.device = extraction.device
        self.facts = facts

    def __repr__(self) -> str:
        size = f"{self.extraction.height}x{self.extraction.width}"
        return (
            f"Embedder({self.facts.name}, weights {self.facts.weights}, input {size}, D = "
            f"{self.dim}, on {self.device}, model {self.facts.model_hash[:12]})"
        )

    @property
    def dim(self) -> int:
        """D, the length of an embedding."""
        return sum(self.model.part_dims[name] for name in self.parts)

    def embed(self, images: Any, modality: int | str) -> np.ndarray:
        """Embeds images of one modality; a progress bar appears on a terminal.

        Args:
            images: N paths, PIL images or uint8 arrays (H, W, 3), or one array (N, H, W, 3).
            modality: "visible" or "infrared", or their numbers in :mod:`wrimnet.modality`.

        Returns:
            (N, D) float32, rows of unit length, in the order of the images. The similarity of two
            images, of the same or of different modality, is the dot product of their rows.

        Raises:
            ValueError: no image, an unreadable or unusable one, or an unknown modality.
            TimeoutError: a file is in reading for longer than DATALOADER.TIMEOUT.
        """
        modality, images = find_modality(modality), _several(images)
        return self._joined(images, [modality] * len(images))

    def embed_items(self, items: Sequence[ImageItem]) -> np.ndarray:
        """Embeds images of a dataset, of both modalities, (N, D), rows in their order."""
        return self._joined([item.path for item in items], [item.modality for item in items])

    def _joined(self, images: Sequence[Any], modalities: Sequence[int]) -> np.ndarray:
        return join_arrays(self.extraction(self.model, images, modalities), self.parts)


def _several(images: Any) -> Sequence[Any]:
    """The images as a sequence of arrays, PIL images or paths; an array (N, H, W, 3) is one."""
    single = isinstance(images, str | PathLike | Image.Image)
    if single or (isinstance(images, np.ndarray) and images.ndim == 3):
        raise ValueError("one image was given where several are expected; write embed([image])")
    listed = images if isinstance(images, np.ndarray) else list(images)
    if len(listed) == 0:
        raise ValueError("no image to embed: the list is empty")
    if isinstance(listed, np.ndarray):
        return listed
    return [str(image) if isinstance(image, PathLike) else image for image in listed]


def load_embedder(
    config: str | PathLike,
    weights: str | PathLike | None = None,
    *,
    device: str = "auto",
    options: Sequence[str] = (),
) -> Embedder:
    """Loads a trained model; documented in :func:`wrimnet.load`."""
    if isinstance(options, str):
        raise ValueError(f"options is a list of words, such as {options.split()}, not one text")
    if weights is None or Path(config).is_dir():
        run = check_run_folder(config)
        config, weights = run / CONFIG, weights or run / FINAL
    names = ["MODEL.WEIGHTS", str(weights), "MODEL.DEVICE", device]
    return build_embedder(setup_cfg(str(config), options=[*options, *names]))


def build_embedder(cfg: CfgNode) -> Embedder:
    """Builds the embedder of a configuration, with MODEL.WEIGHTS; errors of load_weights."""
    model = build_trained_model(cfg)
    return build_embedder_of(setup_recorded_range(cfg), model, Path(cfg.MODEL.WEIGHTS).name)


def build_embedder_of(cfg: CfgNode, model: nn.Module, weights: str) -> Embedder:
    """Builds the embedder of a model with its weights in it; ``weights`` says where from."""
    depth = getattr(getattr(model, "backbone", None), "depth", "")  # as in "WRIMNet-50x"
    facts = ModelFacts(
        name=f"{type(model).__name__}{f'-{depth}' if depth else ''}",
        weights=weights,
        config_hash=config_hash(cfg),
        model_hash=build_model_hash(cfg, model),
    )
    return Embedder(model=model, extraction=build_extraction(cfg), facts=facts)


def build_model_hash(cfg: CfgNode, model: nn.Module) -> str:
    """Returns 64 hex digits over the weights that evaluation uses and the keys that shape it.

    INPUT.INFRARED_RANGE is left out: it describes the camera, and visible images do not use it.
    """
    network = build_network_settings(cfg)
    known = (*NETWORK_KEYS, *_SHAPING_KEYS, RANGE_KEY)
    rest = [name for name in network if name not in known]
    names = (*NETWORK_KEYS, *_SHAPING_KEYS, *rest)  # the order that hashes have had from the start
    settings = [[name, get_key(cfg, name)] for name in names]
    digest = hashlib.sha256(json.dumps(settings, default=list).encode())
    for name, tensor in sorted(evaluation_weights(model).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
