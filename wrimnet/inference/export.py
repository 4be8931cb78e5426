"""A trained model in the formats of other programs, with what one must know to use it."""

import inspect
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
from fastreid.config import CfgNode
from jinja2 import Environment, PackageLoader
from torch import Tensor, nn

from wrimnet.atomic_files import write_bytes, write_text
from wrimnet.config import build_network_settings
from wrimnet.config.keys import TESTED_ON
from wrimnet.data.build import build_dataset
from wrimnet.data.datasets.base import DRAWN
from wrimnet.evaluation.features import save_features
from wrimnet.evaluation.origin import check_unseen
from wrimnet.evaluation.provenance import describe_code, file_sha256, scored_sha256
from wrimnet.evaluation.results import describe_stand_in, result_tables
from wrimnet.inference.embedder import Embedder
from wrimnet.modality import MODALITY_NAMES
from wrimnet.modeling.embedding import embed_parts, join_parts
from wrimnet.modeling.network import CrossModalityNetwork
from wrimnet.modeling.weights import (
    DIGEST,
    NETWORK,
    TRAINED_ON,
    evaluation_weights,
    tensors_sha256,
)
from wrimnet.run_folder import EXPORTED, find_results
from wrimnet.tables import markdown_rows

OPSET = 18
TOLERANCE = 1e-4
INPUT, OUTPUT = "images", "embeddings"
_CHECKED_BATCHES = (1, 3)


class SingleModalityEmbedder(nn.Module):
    """Pixels of one modality in, L2-normalized embeddings out: what a file holds."""

    def __init__(
        self, model: CrossModalityNetwork, parts: Sequence[str], modality: int, *, flip: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.parts = tuple(parts)
        self.modality = modality
        self.flip = flip

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32, RGB, 0..255, not normalized -> (B, D)."""
        parts = embed_parts(self.model, images, self.modality, flip=self.flip)
        return join_parts(parts, self.parts)


def build_onnx(
    model: CrossModalityNetwork,
    *,
    parts: Sequence[str],
    modality: int,
    size: tuple[int, int],
    metadata: Mapping[str, str],
    flip: bool = False,
) -> tuple[bytes, float]:
    """Returns one modality's network and its cosine distance to PyTorch on random images.

    With ``flip`` the graph averages over the mirrored images, as TEST.FLIP.ENABLED does.

    Raises:
        ValueError: a package is missing, or the distance exceeds 1e-4.
    """
    onnx, runtime = _import_packages()
    network = SingleModalityEmbedder(model, parts, modality, flip=flip).eval()
    example = torch.from_numpy(_random_images(2, size, 0))
    proto = onnx.load_from_string(_graph_of(network, example))
    for key, value in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(proto)
    content = proto.SerializeToString()
    distance = largest_distance(network, runtime.InferenceSession(content), size)
    if not distance <= TOLERANCE:
        raise ValueError(
            f"{MODALITY_NAMES[modality]} images: ONNX and PyTorch differ by a cosine distance of "
            f"{distance:.2e}, more than {TOLERANCE:.0e}; no file is written. Please report the "
            "configuration"
        )
    return content, distance


def _graph_of(network: nn.Module, example: Tensor) -> bytes:
    """The network for any number of images, in ONNX's bytes."""
    options: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT]}
    options["opset_version"] = OPSET
    if "dynamic_shapes" in inspect.signature(torch.onnx.export).parameters:
        options |= {"dynamic_shapes": {"images": {0: torch.export.Dim("batch")}}, "dynamo": True}
        with warnings.catch_warnings():  # PyTorch deprecates what its own exporter uses
            warnings.simplefilter("ignore", FutureWarning)
            program: Any = torch.onnx.export(network, (example,), verbose=False, **options)
        return program.model_proto.SerializeToString()
    traced: Any = io.BytesIO()  # torch 2.4
    axes = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}
    torch.onnx.export(network, (example,), traced, dynamic_axes=axes, **options)
    return traced.getvalue()


def _import_packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ModuleNotFoundError as error:
        raise ValueError(
            f"export to ONNX needs {error.name}: pip install 'wrimnet[export]'"
        ) from error
    return onnx, onnxruntime


def largest_distance(network: nn.Module, session: Any, size: tuple[int, int]) -> float:
    """Returns the largest cosine distance over random images in batches of several sizes."""
    distances = []
    for seed, batch in enumerate(_CHECKED_BATCHES, start=1):
        images = _random_images(batch, size, seed)
        with torch.inference_mode():
            expected = network(torch.from_numpy(images)).double().numpy()
        exported = session.run([OUTPUT], {INPUT: images})[0].astype(np.float64)
        if exported.shape != expected.shape:
            raise ValueError(f"ONNX returned {exported.shape}, PyTorch {expected.shape}")
        lengths = np.linalg.norm(exported, axis=1) * np.linalg.norm(expected, axis=1)
        distances.append(np.max(1 - (exported * expected).sum(axis=1) / lengths))
    return float(max(distances))


def _random_images(batch: int, size: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.integers(0, 256, (batch, 3, *size)).astype(np.float32)


def build_facts(cfg: CfgNode, embedder: Embedder) -> dict[str, str]:
    """Returns what a user of an exported file must know, as text."""
    extraction, code = embedder.extraction, describe_code()
    low_high = " to ".join(f"{end:g}" for end in extraction.infrared_range)
    wide = f"{low_high} become 0 to 255, linear, clipped; 8-bit images as they are"
    return {
        "model": embedder.facts.name,
        "config_hash": embedder.facts.config_hash,
        "model_hash": embedder.facts.model_hash,
        "weights_sha256": file_sha256(cfg.MODEL.WEIGHTS),
        "embedding_size": str(embedder.dim),
        "embedding_parts": "+".join(embedder.parts),
        "input_size": f"{extraction.height}x{extraction.width} (height x width)",
        "resize": f"PIL {extraction.interpolation}, antialiased, aspect ratio not kept",
        "pixel_mean": " ".join(map(str, cfg.MODEL.PIXEL_MEAN)),
        "pixel_std": " ".join(map(str, cfg.MODEL.PIXEL_STD)),
        **({"infrared_range": wide} if low_high else {}),
        "wrimnet": str(code["wrimnet"]),
        "torch": str(code["torch"]),
        "commit": str(code["commit"]),
    }


def build_onnx_files(cfg: CfgNode, embedder: Embedder, folder: Path) -> dict[Path, float]:
    """Writes one file per modality; returns each with its cosine distance to PyTorch."""
    embedder.model.cpu()
    try:
        built = [_build_modality(cfg, embedder, name) for name in MODALITY_NAMES]
    finally:
        embedder.model.to(embedder.device)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in EXPORTED["onnx"]]
    for path, (content, _) in zip(paths, built, strict=True):
        write_bytes(path, content)
    return dict(zip(paths, (distance for _, distance in built), strict=True))


def _build_modality(cfg: CfgNode, embedder: Embedder, name: str) -> tuple[bytes, float]:
    flip = embedder.extraction.flip
    metadata = {
        **build_facts(cfg, embedder),
        "modality": name,
        "opset": str(OPSET),
        "input": f"{INPUT}: float32 (batch, 3, height, width), RGB, 0..255",
        "output": f"{OUTPUT}: float32 (batch, {embedder.dim}), L2-normalized",
        TRAINED_ON: json.dumps(embedder.facts.lineage),
        "normalization": "inside the graph: (pixel - pixel_mean) / pixel_std",
        "flip": "inside the graph: mean with the mirrored images" if flip else "none",
    }
    return build_onnx(
        embedder.model,
        parts=embedder.parts,
        modality=MODALITY_NAMES.index(name),
        size=(embedder.extraction.height, embedder.extraction.width),
        metadata=metadata,
        flip=flip,
    )


def build_features(cfg: CfgNode, embedder: Embedder, folder: Path) -> Path:
    """Writes the embeddings of the dataset's test images for ``tools/evaluate_features.py``.

    Raises:
        ValueError: DATASETS.SPLIT is "train", whose images that tool does not score.
    """
    if cfg.DATASETS.SPLIT != "trainval":
        raise ValueError(
            f"DATASETS.SPLIT is {cfg.DATASETS.SPLIT!r}: it tests training images, which "
            "evaluate_features.py refuses; add DATASETS.SPLIT trainval for features of the test set"
        )
    dataset, allowed = build_dataset(cfg), cfg.TEST.ALLOW_SEEN_IDENTITIES
    check_unseen(embedder.facts.lineage, dataset, "the weights", allowed=allowed)
    items = dataset.test
    folder.mkdir(parents=True, exist_ok=True)
    (path,) = (folder / file for file in EXPORTED["features"])
    save_features(path, items, embedder.embed_items(items))
    return path


def build_safetensors(
    cfg: CfgNode, embedder: Embedder, folder: Path, run: str | None = None
) -> Path:
    """Writes evaluation's weights, the configuration and the model card with a run's results."""
    try:
        from safetensors.torch import save
    except ModuleNotFoundError as error:
        raise ValueError("export needs safetensors: pip install 'wrimnet[export]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    facts = build_facts(cfg, embedder)
    path, config, card = (folder / file for file in EXPORTED["safetensors"])
    tensors = evaluation_weights(embedder.model)
    network = json.dumps(build_network_settings(cfg))
    metadata = {
        **facts,
        DIGEST: tensors_sha256(tensors),
        NETWORK: network,
        TRAINED_ON: json.dumps(embedder.facts.lineage),
    }
    weights, text = save(tensors, metadata), build_model_card(cfg, facts, run)
    write_bytes(path, weights)  # save_file would hide it from others
    write_text(config, cfg.dump())
    write_text(card, text)
    return path


def build_model_card(cfg: CfgNode, facts: Mapping[str, str], run: str | None) -> str:
    """Returns the card in Markdown: what a published model must say about itself."""
    content = find_results(run) if run else None
    is_scored = content is not None and scored_sha256(content) == facts["weights_sha256"]
    # strict: in the network that they were trained in
    if content is not None and is_scored and cfg.MODEL.WEIGHTS_STRICT:
        stand_in, results = describe_stand_in(content["description"]), result_tables(content)
        tested_on = TESTED_ON[content["description"]["split"]]
    else:
        stand_in, results, tested_on = build_dataset(cfg).stand_in, [], ""
    environment = Environment(loader=PackageLoader("wrimnet.inference", ""))  # Markdown, no HTML
    return environment.get_template("model_card.md.j2").render(
        dataset=f"{cfg.DATASETS.NAMES[0]}{f' ({stand_in})' if stand_in else ''}",
        stand_in=stand_in,
        drawn=stand_in == DRAWN,
        facts=facts,
        tested_on=tested_on,
        tables=[markdown_rows(table.header, table.rows, num_words=3) for table in results],
        lines=[line for table in results for line in table.lines],
    )
