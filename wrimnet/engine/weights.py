"""Loads a model's weights strictly and without running code."""

import logging
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import Tensor, nn

_TRAINING_ONLY = ("classifiers.", "projection.")


def build_origin(cfg: CfgNode) -> dict[str, Any]:
    """Returns what a model of ``cfg`` is trained on, for its checkpoints."""
    return {
        "dataset": cfg.DATASETS.NAMES[0],
        "split": cfg.DATASETS.SPLIT,
        "regdb_trial": cfg.DATASETS.REGDB_TRIAL,
    }


def load_weights(model: nn.Module, path: str, *, for_evaluation: bool) -> None:
    """Fills ``model`` with the weights in ``path``.

    Args:
        model: network of the configuration at hand.
        path: checkpoint with the weights under "model", or a flat state dict.
        for_evaluation: leave out classifiers and projections, which only training uses: they
            depend on the number of training identities.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of weights, or of another architecture; lists the differences.
    """
    weights, expected = read_state_dict(path), model.state_dict()
    if for_evaluation:
        ignored = [name for name in weights if is_training_only(name)]
        if ignored:
            _logger().info("evaluation leaves out %d training-only tensors", len(ignored))
        weights = {name: weights[name] for name in weights if name not in ignored}
        expected = {name: expected[name] for name in expected if not is_training_only(name)}
    differences = _differences(weights, expected)
    if differences:
        raise ValueError(f"weights {path} are not of this model:\n" + "\n".join(differences))
    model.load_state_dict(weights, strict=not for_evaluation)
    _logger().info("loaded %d tensors from %s", len(weights), path)


def read_state_dict(path: str) -> dict[str, Tensor]:
    """Reads the state dict in ``path``; see :func:`load_weights` for the errors."""
    content = read_checkpoint(path)
    content = content.get("model", content)
    if not isinstance(content, dict) or not all(torch.is_tensor(v) for v in content.values()):
        raise ValueError(f"{path} holds no weights: expected a state dict, or one under 'model'")
    return content


def read_checkpoint(path: str | Path) -> dict:
    """Reads a checkpoint file; refuses anything that would run code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: broken, no dictionary, or holding objects other than tensors and plain values.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights file {path} does not exist; check MODEL.WEIGHTS")
    if Path(path).suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for files that are no checkpoints
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"{path} is not a checkpoint that can be read safely (it is damaged, or holds "
            f"objects that could run code): {type(error).__name__}: {reason}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a checkpoint")
    return content


def _read_safetensors(path: str | Path) -> dict:
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{path} needs safetensors: pip install 'wrimnet[export]', or give a .pth file"
        ) from error
    try:
        return load_file(path)
    except Exception as error:  # the library has an exception type of its own for broken files
        raise ValueError(f"{path} is no whole safetensors file: {error}") from error


def is_training_only(name: str) -> bool:
    """Whether a tensor belongs to a classifier or projection, which evaluation does not use."""
    return any(part in name for part in _TRAINING_ONLY)


def _differences(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> list[str]:
    lines = [f"  missing in the file: {name}" for name in expected if name not in weights]
    lines += [f"  not in the model: {name}" for name in weights if name not in expected]
    for name, tensor in expected.items():
        if name in weights and weights[name].shape != tensor.shape:
            found, wanted = tuple(weights[name].shape), tuple(tensor.shape)
            lines.append(f"  {name}: {found} in the file, {wanted} in the model")
    return lines if len(lines) <= 12 else [*lines[:12], f"  and {len(lines) - 12} more"]


def _logger() -> logging.Logger:
    return logging.getLogger("fastreid.wrimnet.weights")
