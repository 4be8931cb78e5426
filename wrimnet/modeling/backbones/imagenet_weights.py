"""ImageNet weights for the ResNet: a local file or torchvision's download, loaded strictly."""

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models

_WEIGHTS = {
    "18x": models.ResNet18_Weights.IMAGENET1K_V1,
    "34x": models.ResNet34_Weights.IMAGENET1K_V1,
    "50x": models.ResNet50_Weights.IMAGENET1K_V1,
    "101x": models.ResNet101_Weights.IMAGENET1K_V1,
}
_WRAPPERS = ("state_dict", "model")
_COUNTER = "num_batches_tracked"


def load_imagenet_weights(resnet: nn.Module, *, depth: str, path: str) -> None:
    """Fills ``resnet``, whose keys are torchvision's, with ImageNet weights.

    Args:
        resnet: network without any parameter of our own yet.
        depth: "18x", "34x", "50x" or "101x"; which file to download when ``path`` is "".
        path: local file, its keys flat or under ``state_dict`` or ``model``.

    Raises:
        FileNotFoundError: no such file, or no network to download one.
        ValueError: not a file of weights, or its keys or shapes are not the network's.
    """
    source = path or _WEIGHTS[depth].url.rpartition("/")[2]
    weights = read_weights(path) if path else _download(depth)
    expected = resnet.state_dict()
    _check_keys(weights, expected, source)
    missing_counters = {name: expected[name] for name in expected if name not in weights}
    kept = {name: weights[name] for name in expected if name in weights}
    resnet.load_state_dict({**kept, **missing_counters}, strict=True)


def read_weights(path: str) -> dict[str, Tensor]:
    """Reads a state dict, without running code, from under ``state_dict`` or ``model`` too."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"MODEL.BACKBONE.PRETRAIN_PATH = {path!r} does not exist; give a file with ImageNet "
            "weights, or set MODEL.BACKBONE.PRETRAIN False to train from scratch"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a file that is no state dict
        raise ValueError(f"{path} is not a file of weights: {error}") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(torch.is_tensor(v) for v in content.values()):
        raise ValueError(f"{path} holds no state dict, neither flat nor under {_WRAPPERS}")
    return content


def _download(depth: str) -> dict[str, Tensor]:
    weights, folder = _WEIGHTS[depth], Path(torch.hub.get_dir()) / "checkpoints"
    try:
        return weights.get_state_dict(check_hash=True, weights_only=True, map_location="cpu")
    except (URLError, OSError) as error:
        raise FileNotFoundError(
            f"cannot download {weights.url} ({error}); put that file into {folder}, or name a "
            "local copy in MODEL.BACKBONE.PRETRAIN_PATH, or set MODEL.BACKBONE.PRETRAIN False"
        ) from error
    except Exception as error:  # torch raises many types for a wrong hash or a damaged file
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            f"what {weights.url} gave, or its copy in {folder}, is damaged ({reason}); remove the "
            "copy and start again"
        ) from error


def _check_keys(weights: dict[str, Tensor], expected: dict[str, Tensor], source: str) -> None:
    extra = sorted(name for name in weights if name not in expected and not _is_classifier(name))
    missing = sorted(set(expected) - set(weights))
    if missing and not any(name.endswith(_COUNTER) for name in weights):
        # files from before PyTorch 0.4.1 have no counters of batches; PyTorch starts them at 0
        missing = [name for name in missing if not name.endswith(_COUNTER)]
    wrong_shape = [
        f"{name}: {tuple(weights[name].shape)} in the file, {tuple(tensor.shape)} expected"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if missing or extra or wrong_shape:
        raise ValueError(
            f"ImageNet weights {source} do not fit the backbone.\n"
            f"  missing ({len(missing)}): {_shortened(missing)}\n"
            f"  not expected ({len(extra)}): {_shortened(extra)}\n"
            f"  of another shape ({len(wrong_shape)}): {_shortened(wrong_shape)}"
        )


def _is_classifier(name: str) -> bool:
    return name.startswith("fc.")


def _shortened(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "none"
