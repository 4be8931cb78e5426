"""A trained model to call: images in, embeddings out."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
from fastreid.config import CfgNode
from torch import nn

from wrimnet.config import NETWORK_KEYS, build_network_settings, config_hash, get_key, setup_cfg
from wrimnet.config.merge import layer_of_options
from wrimnet.config.setup import RANGE_KEY
from wrimnet.config.tree import changed_cfg
from wrimnet.data.build import build_dataset
from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.images import ImageItem
from wrimnet.evaluation.evaluator import Evaluator, build_evaluator
from wrimnet.evaluation.extraction import Extraction, build_extraction, join_arrays
from wrimnet.evaluation.origin import Lineage, check_unseen, find_lineage
from wrimnet.inference.image_input import as_image_list
from wrimnet.modality import find_modality
from wrimnet.modeling.network import CrossModalityNetwork
from wrimnet.modeling.weights import (
    build_trained_model,
    evaluation_weights,
    read_checkpoint,
    setup_recorded_range,
)
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
    config_hash: str  # of the training, where the weights record it
    model_hash: str
    lineage: Lineage = ()  # what the weights were trained on, see wrimnet.evaluation.origin


class Embedder:
    """A trained network with its preprocessing; made by :func:`wrimnet.load`."""

    def __init__(
        self,
        *,
        model: CrossModalityNetwork,
        extraction: Extraction,
        facts: ModelFacts,
        build_evaluator: Callable[..., Evaluator],
    ) -> None:
        self.model = model.eval()
        self.parts = tuple(model.embedding_parts)
        self.extraction = extraction
        self.device = extraction.device
        self.facts = facts
        self.build_evaluator = build_evaluator  # build_test_of with the configuration

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

    def embed(
        self, images: Any, modality: int | str, *, batch_size: int | None = None
    ) -> np.ndarray:
        """Embeds images of one modality; a progress bar appears on a terminal.

        Args:
            images: one or several: paths; PIL images; arrays (H, W, 3) of uint8 in RGB or (H, W);
                tensors (3, H, W) or (1, H, W) of uint8, or of floats in 0..1, on any device.
                Several of one size may be one array (N, H, W, 3) or tensor (N, C, H, W).
            modality: "visible" or "infrared", or another of the names in :mod:`wrimnet.modality`.
            batch_size: images embedded together; None: TEST.IMS_PER_BATCH.

        Returns:
            (N, D) float32, L2-normalized rows in the order of the images; (D,) for one image that
            is not in a list. The cosine similarity of two images, of the same or of different
            modality, is the dot product of their rows.

        Raises:
            ValueError: no image, an unreadable or unusable one, or an unknown modality.
            TimeoutError: a file is in reading for longer than DATALOADER.TIMEOUT.
        """
        given = as_image_list(images)
        rows = join_arrays(self._extract(given.images, modality, batch_size), self.parts)
        return rows[0] if given.single else rows

    def embed_parts(
        self, images: Any, modality: int | str, *, batch_size: int | None = None
    ) -> dict[str, np.ndarray]:
        """Embeds images as :meth:`embed` does, each part of the network's embedding by itself.

        Returns:
            Name of each part and its (N, D_part) float32, (D_part,) for one image, as the network
            gives it: the embedding is the L2-normalized concatenation of those in ``parts``.
        """
        given = as_image_list(images)
        parts = self._extract(given.images, modality, batch_size)
        return {name: part[0] if given.single else part for name, part in parts.items()}

    def embed_items(self, items: Sequence[ImageItem]) -> np.ndarray:
        """Embeds images of a dataset, of both modalities, (N, D), rows in their order."""
        paths, modalities = [item.path for item in items], [item.modality for item in items]
        return join_arrays(self.extraction(self.model, paths, modalities), self.parts)

    def _extract(
        self, images: Sequence[Any], modality: int | str, batch_size: int | None
    ) -> dict[str, np.ndarray]:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1")
        size = batch_size or self.extraction.batch_size
        extraction = replace(self.extraction, batch_size=size)
        return extraction(self.model, images, [find_modality(modality)] * len(images))


def load(
    config: str | PathLike,
    weights: str | PathLike | None = None,
    *,
    device: str = "auto",
    options: Sequence[str] | Mapping[str, Any] = (),
) -> Embedder:
    """Loads a trained model to embed images with; needs no network and no training code.

    Args:
        config: folder of a run, or a YAML file: one of ``configs/``, or what a run has written.
        weights: file of weights, such as the run's ``model_final.pth``, ``.safetensors`` as well;
            None for the run's own.
        device: "cpu", "cuda", "cuda:N", or "auto" for CUDA where there is one.
        options: keys and values, or ``KEY VALUE`` words, laid over the configuration.

    Returns:
        The embedder; ``embedder.embed(images, modality)`` gives (N, D) float32, L2-normalized.

    Raises:
        FileNotFoundError: no such configuration or weights.
        KeyError, ValueError: the configuration is wrong, or the weights belong to another model.
    """
    given = layer_of_options(options).content
    arguments = {"MODEL.WEIGHTS": weights, "MODEL.DEVICE": None if device == "auto" else device}
    for key, argument in arguments.items():
        if key in given and argument is not None:
            raise ValueError(f"{key} is {given[key]!r} in options, {argument!r} as an argument")
    weights = weights or given.get("MODEL.WEIGHTS")
    if weights is None or Path(config).is_dir():
        run = check_run_folder(fspath(config))
        config, weights = run / CONFIG, weights or run / FINAL
    chosen = {"MODEL.DEVICE": device, **given, "MODEL.WEIGHTS": str(weights)}
    return build_embedder(setup_cfg(config, options=chosen))


def build_embedder(cfg: CfgNode) -> Embedder:
    """Builds the embedder of a configuration, with MODEL.WEIGHTS; errors of load_weights."""
    model = build_trained_model(cfg)
    embedder = build_embedder_of(setup_recorded_range(cfg), model, Path(cfg.MODEL.WEIGHTS).name)
    content = read_checkpoint(cfg.MODEL.WEIGHTS)
    embedder.facts = replace(
        embedder.facts,
        config_hash=content.get("config_hash") or embedder.facts.config_hash,
        lineage=find_lineage(content, cfg.MODEL.WEIGHTS),
    )
    return embedder


def build_embedder_of(cfg: CfgNode, model: CrossModalityNetwork, weights: str) -> Embedder:
    """Builds the embedder of a model with its weights in it; ``weights`` says where from."""
    depth = getattr(getattr(model, "backbone", None), "depth", "")  # as in "WRIMNet-50x"
    facts = ModelFacts(
        name=f"{type(model).__name__}{f'-{depth}' if depth else ''}",
        weights=weights,
        config_hash=config_hash(cfg),
        model_hash=build_model_hash(cfg, model),
    )
    extraction = build_extraction(cfg)
    return Embedder(
        model=model, extraction=extraction, facts=facts, build_evaluator=partial(build_test_of, cfg)
    )


def build_test_of(
    cfg: CfgNode,
    lineage: Lineage,
    dataset: CrossModalityDataset | str | None,
    protocols: Sequence[str],
    metrics: Sequence[str],
) -> Evaluator:
    """Builds what tests weights of this lineage as the keys under TEST say.

    Args:
        cfg: of the weights.
        lineage: what they were trained on.
        dataset: to test on, or the name of one; None for the configuration's.
        protocols: names in place of the configuration's; none for these.
        metrics: the same of TEST.METRICS.

    Raises:
        ValueError: training images are tested on, or a protocol is another dataset's.
    """
    names = {"TEST.PROTOCOLS": tuple(protocols), "TEST.METRICS": tuple(metrics)}
    if isinstance(dataset, str):
        names["DATASETS.NAMES"], dataset = (dataset,), None
    cfg = changed_cfg(cfg, {key: given for key, given in names.items() if given})
    dataset = dataset or build_dataset(cfg)
    check_unseen(lineage, dataset, "the weights", allowed=cfg.TEST.ALLOW_SEEN_IDENTITIES)
    return build_evaluator(cfg, dataset)


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
