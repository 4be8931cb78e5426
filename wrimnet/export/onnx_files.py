"""ONNX: one file per modality, normalisation inside, checked against PyTorch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

OPSET = 18
TOLERANCE = 1e-4
INPUT, OUTPUT = "images", "embeddings"
_CHECKED_BATCHES = (1, 3)


class SingleModalityEmbedder(nn.Module):
    """Pixels of one modality in, embeddings of unit length out: what a file holds.

    Args:
        model: has ``embed_parts(images, modality)``.
        parts: groups that make up the embedding.
        modality: of all images.
    """

    def __init__(self, model: nn.Module, parts: Sequence[str], modality: int) -> None:
        super().__init__()
        self.model = model
        self.parts = tuple(parts)
        self.modality = modality

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32, RGB, 0..255, not normalised -> (B, D)."""
        groups = self.model.embed_parts(images, self.modality)
        return F.normalize(torch.cat([groups[name] for name in self.parts], dim=1), dim=1)


def export_onnx(
    model: nn.Module,
    path: Path,
    *,
    parts: Sequence[str],
    modality: int,
    size: tuple[int, int],
    metadata: Mapping[str, str],
) -> float:
    """Writes one modality's network and compares it with PyTorch on random images.

    Args:
        model: in evaluation mode, on the CPU.
        path: of the file.
        parts: groups that make up the embedding.
        modality: of the images.
        size: H, W of the input.
        metadata: written into the file.

    Returns:
        The largest cosine distance between the two programs' embeddings.

    Raises:
        ValueError: a package is missing, or the distance exceeds 1e-4; no file is left then.
    """
    onnx, runtime = _import_packages()
    network = SingleModalityEmbedder(model, parts, modality).eval()
    example = torch.from_numpy(_random_images(2, size, 0))
    program = torch.onnx.export(
        network,
        (example,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    proto = program.model_proto
    for key, value in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(proto)
    content = proto.SerializeToString()
    distance = largest_distance(network, runtime.InferenceSession(content), size)
    if not distance <= TOLERANCE:
        raise ValueError(
            f"{path.name}: ONNX and PyTorch differ by a cosine distance of {distance:.2e}, more "
            f"than {TOLERANCE:.0e}; the file is not written. Please report the configuration"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return distance


def largest_distance(network: nn.Module, session: Any, size: tuple[int, int]) -> float:
    """Returns the largest cosine distance over random images in batches of several sizes."""
    distances = []
    for seed, batch in enumerate(_CHECKED_BATCHES, start=1):
        images = _random_images(batch, size, seed)
        with torch.inference_mode():
            expected = network(torch.from_numpy(images)).double().numpy()
        found = session.run([OUTPUT], {INPUT: images})[0].astype(np.float64)
        if found.shape != expected.shape:
            raise ValueError(f"ONNX returned {found.shape}, PyTorch {expected.shape}")
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        distances.append(np.max(1 - (found * expected).sum(axis=1) / lengths))
    return float(max(distances))


def _random_images(batch: int, size: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.integers(0, 256, (batch, 3, *size)).astype(np.float32)


def _import_packages() -> tuple[ModuleType, ModuleType]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ModuleNotFoundError as error:
        raise ValueError(
            f"export to ONNX needs {error.name}: pip install 'wrimnet[export]'"
        ) from error
    return onnx, onnxruntime
