"""Weights as safetensors: a file that cannot run code when it is opened."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor


def write_safetensors(
    path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes tensors (on the CPU, contiguous) and text about them.

    Raises:
        ValueError: the package is missing.
    """
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise ValueError("export needs safetensors: pip install 'wrimnet[export]'") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(weights), path, metadata=dict(metadata))
