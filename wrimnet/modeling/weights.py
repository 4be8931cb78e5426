"""Files of weights: read without running code, checked against their checksums, loaded strictly."""

import hashlib
import json
import logging
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from fastreid.modeling import build_model as build_registered_model
from torch import Tensor, nn
from torchvision import models

from wrimnet.atomic_files import require_file
from wrimnet.config import all_keys, build_network_settings, get_key, plain
from wrimnet.config.keys import AUTO
from wrimnet.config.setup import RANGE_KEY
from wrimnet.config.tree import changed_cfg
from wrimnet.modeling.network import CrossModalityNetwork

_IMAGENET = {
    "18x": models.ResNet18_Weights.IMAGENET1K_V1,
    "34x": models.ResNet34_Weights.IMAGENET1K_V1,
    "50x": models.ResNet50_Weights.IMAGENET1K_V1,
    "101x": models.ResNet101_Weights.IMAGENET1K_V1,
}
DIGEST = "tensors_sha256"  # of the metadata of an exported safetensors file
TRAINED_ON = "trained_on"  # wrimnet.evaluation.origin, in every file of weights
NETWORK = "network"  # what the network of these weights is, in every file that training writes
_WRAPPERS = ("model", "state_dict")
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_COUNTER = "num_batches_tracked"

_logger = logging.getLogger("fastreid.wrimnet.weights")
_console = logging.getLogger("fastreid.wrimnet.weights.console")  # shown there, see wrimnet.console


def read_checkpoint(path: str | Path) -> dict:
    """Reads a checkpoint file: the one reader, for every use.

    A checkpoint is a zip archive whose records carry CRC-32 sums, which PyTorch does not compare;
    they are compared here first. Anything that would run code is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, no dictionary, or holding objects other than tensors and plain values.
    """
    require_file(path, "weights file")
    if Path(path).suffix == ".safetensors":
        return _read_safetensors(path)
    if _is_archive(path):
        verify(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for files that are no checkpoints
        raise ValueError(
            f"{path} is not a checkpoint that can be read safely: {_reason(error)}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a checkpoint")
    return content


def _reason(error: Exception) -> str:
    """What is wrong with a checkpoint, without PyTorch's advice to read it unsafely."""
    refused = re.search(r"GLOBAL (\S{1,200})", str(error))
    if refused:
        return f"it refers to {refused[1]}, which could run code; only tensors and values are read"
    return "it is cut short, damaged or of another program"


def _is_archive(path: str | Path) -> bool:
    """Whether a file has sums to compare; those from before PyTorch 1.6 are no archives."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it ends like one, but its end is damaged
        return True


def verify(path: str | Path) -> None:
    """Raises ValueError if ``path`` is no whole archive or a record's CRC-32 does not match."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # zipfile raises many types for damaged archives
        raise ValueError(f"{path} is not a whole file ({error})") from error
    if broken is not None:
        raise ValueError(f"{path} is damaged: the checksum of {broken} does not match")


def _read_safetensors(path: str | Path) -> dict:
    try:
        from safetensors import safe_open
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{path} needs safetensors: pip install 'wrimnet[export]', or give a .pth file"
        ) from error
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = file.metadata() or {}  # files of others have none
            records = {name: json.loads(facts.get(name, "null")) for name in (NETWORK, TRAINED_ON)}
            records["config_hash"] = facts.get("config_hash")
    except Exception as error:  # the library has an exception type of its own for broken files
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from error
    if facts.get(DIGEST, "") not in ("", tensors_sha256(tensors)):
        raise ValueError(f"{path} is damaged: its tensors do not match its {DIGEST}; export again")
    return {"model": tensors, **records}


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 over names, types, shapes and bytes of tensors on the CPU."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Reads a state dict, flat or under "model" or "state_dict", of wrapped models as well."""
    return _state_dict_of(read_checkpoint(path), path)


def _state_dict_of(content: Any, path: str | Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(torch.is_tensor(v) for v in content.values()):
        raise ValueError(
            f"{path} holds no weights: expected a state dict, or one under {' or '.join(_WRAPPERS)}"
        )
    return _without_prefixes(content)


def _without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Removes what wrapping modules put before every name, in any order and number."""
    for prefix in _PREFIXES:
        if weights and all(str(name).startswith(prefix) for name in weights):
            return _without_prefixes({n.removeprefix(prefix): t for n, t in weights.items()})
    return weights


def load_weights(
    model: nn.Module, path: str, *, for_evaluation: bool, cfg: CfgNode | None = None
) -> None:
    """Fills ``model`` with the weights in ``path``.

    ``for_evaluation`` leaves out what only training uses (``model.training_only``), such as
    classifiers: they depend on the number of training identities. With ``cfg``, which the model was
    built of, weights that were trained in another network are refused though their shapes fit.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of weights, or of another architecture; lists the differences.
    """
    content = read_checkpoint(path)
    if cfg is not None:
        check_network(cfg, content)
    weights = _state_dict_of(content, path)
    load_tensors(model, weights, str(path), for_evaluation=for_evaluation)


def load_tensors(
    model: nn.Module, weights: dict[str, Tensor], source: str, *, for_evaluation: bool
) -> None:
    """Fills ``model`` as :func:`load_weights` does, with tensors that come from ``source``."""
    expected = model.state_dict()
    if for_evaluation:
        num_all = len(weights)
        weights, expected = (without_training_only(model, d) for d in (weights, expected))
        if len(weights) < num_all:
            left_out = num_all - len(weights)
            _logger.info("evaluation leaves out %d training-only tensors", left_out)
    differences = _differences(weights, expected)
    if differences:
        raise ValueError(f"weights {source} do not fit this model:\n" + "\n".join(differences))
    model.load_state_dict(weights, strict=not for_evaluation)
    _logger.info("loaded %d tensors from %s", len(weights), source)


def check_network(cfg: CfgNode, content: Mapping[str, Any]) -> None:
    """Refuses to use a checkpoint's weights in another network than it says they were trained in.

    Keys of a plugin that ``cfg`` does not name are not compared: they may be a loss's; nor is an
    INPUT.INFRARED_RANGE of auto. With MODEL.WEIGHTS_STRICT off, what differs is a warning.
    """
    trained = content.get(NETWORK) or {}  # files of others and older ones do not say it
    defaults = {key.name: plain(key.default) for key in all_keys(cfg) if not key.test_only}
    here = build_network_settings(cfg) if trained else {}
    names = sorted(defaults.keys() & (trained.keys() | here.keys()))
    now = {n: here.get(n, plain(get_key(cfg, n))) for n in names}
    pairs = {n: (trained.get(n, defaults[n]), now[n]) for n in names if now[n] != plain(AUTO)}
    differences = [
        f"{n} {then!r}, here {here!r}" for n, (then, here) in pairs.items() if then != here
    ]
    if not differences:
        return
    text = f"the weights {cfg.MODEL.WEIGHTS} were trained with {'; '.join(differences)}"
    if cfg.MODEL.WEIGHTS_STRICT and any(line.startswith("MODEL.") for line in differences):
        raise ValueError(
            f"{text}. Set the same value, or MODEL.WEIGHTS_STRICT False to use them anyway"
        )
    _logger.warning("%s; used anyway", text)


def setup_recorded_range(cfg: CfgNode) -> CfgNode:
    """Returns ``cfg`` with what INPUT.INFRARED_RANGE auto was in the training of MODEL.WEIGHTS."""
    if cfg.INPUT.INFRARED_RANGE != AUTO or cfg.INPUT.MEASURED_RANGE:
        return cfg
    network = read_checkpoint(cfg.MODEL.WEIGHTS).get(NETWORK) or {}
    return changed_cfg(cfg, {"INPUT.MEASURED_RANGE": tuple(network.get(RANGE_KEY, ()))})


def start_from_weights(
    model: nn.Module, path: str, *, strict: bool, network: Mapping[str, Any] | None = None
) -> None:
    """Fills ``model`` for a training; classifiers of other identities are made anew, and named.

    So is what the weights' ``network`` had otherwise, which is no mistake here.

    What only training uses (``model.training_only``) need not fit. A file of a backbone alone, such
    as torchvision's, fills the backbone. With ``strict`` off anything that does not fit is left.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of weights, or something else does not fit; lists the differences.
    """
    expected = model.state_dict()
    content = read_checkpoint(path)
    weights = _named_as_backbone(_state_dict_of(content, path), expected)
    fitting = {
        name: tensor
        for name, tensor in weights.items()
        if name in expected and not _differences({name: tensor}, {name: expected[name]})
    }
    backbone_only = len(fitting) == len(weights) and _is_backbone(weights, expected)
    needed = (without_training_only(model, tensors) for tensors in (weights, expected))
    differences = [] if backbone_only or not strict else _differences(*needed)
    if differences:
        raise ValueError(
            f"weights {path} do not fit this model (MODEL.WEIGHTS_STRICT False starts with those "
            "that fit):\n" + "\n".join(differences)
        )
    if not fitting:
        raise ValueError(f"weights {path}: none of its {len(weights)} tensors fits this model")
    model.load_state_dict(fitting, strict=False)
    _console.info("weights  %d tensors from %s", len(fitting), path)
    here = network or {}
    for name, then in (content.get(NETWORK) or {}).items():
        if then != here.get(name, then):
            _console.info("weights  trained with %s %r, here %r", name, then, here[name])
    for what, names in (("made anew", expected), ("left out", weights)):
        modules = list(dict.fromkeys(n.rpartition(".")[0] for n in names if n not in fitting))
        if modules:
            _console.info("weights  %s: %s", what, ", ".join(_shortened(modules, 6)))


def _named_as_backbone(
    weights: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Names the tensors of a network without heads as they are named inside the model."""
    tensors = {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}
    names = [f"backbone.{name}" for name in tensors]
    if tensors and all(name in expected for name in names):
        return dict(zip(names, tensors.values(), strict=True))
    return weights


def _is_backbone(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Whether these are tensors of the backbone alone, and most of it: MIIMs may be missing."""
    size = sum(name.startswith("backbone.") for name in expected)
    return all(name.startswith("backbone.") for name in weights) and 2 * len(weights) >= size


def without_training_only(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leaves out what an evaluation of the model does not use; all of ``backbone`` is used."""
    words = getattr(model, "training_only", ())
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name.startswith("backbone.") or not any(f".{word}" in f".{name}" for word in words)
    }


def evaluation_weights(model: nn.Module) -> dict[str, Tensor]:
    """Returns the state dict on the CPU without what only training uses, contiguous."""
    tensors = without_training_only(model, model.state_dict())
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def load_imagenet_weights(resnet: nn.Module, *, depth: str, path: str) -> None:
    """Fills ``resnet``, whose keys are torchvision's alone, with ImageNet weights.

    They are downloaded for "18x" to "101x" when ``path`` is "". FileNotFoundError if there is no
    such file or no network; ValueError if the file's keys or shapes are not the network's.
    """
    if path:
        load_network_weights(resnet, path, ("fc.",))
    else:
        source = _IMAGENET[depth].url.rpartition("/")[2]
        _fill(resnet, _download(depth), source, ("fc.",))


def imagenet_url(depth: str) -> str:
    """Returns where the ImageNet weights of a ResNet come from."""
    return _IMAGENET[depth].url


def load_network_weights(network: nn.Module, path: str, classifiers: Sequence[str]) -> None:
    """Fills a network without its classifier from MODEL.BACKBONE.PRETRAIN_PATH; errors as above.

    ``classifiers`` are beginnings of names that the file may have beside the network's.
    """
    advice = "; give ImageNet weights, or train from scratch with MODEL.BACKBONE.PRETRAIN False"
    require_file(path, "MODEL.BACKBONE.PRETRAIN_PATH =", advice)
    _fill(network, read_state_dict(path), path, classifiers)


def _fill(
    network: nn.Module, weights: dict[str, Tensor], source: str, classifiers: Sequence[str]
) -> None:
    expected, beside = network.state_dict(), tuple(classifiers)
    weights = {
        n: tensor for n, tensor in weights.items() if n in expected or not n.startswith(beside)
    }
    if not any(name.endswith(_COUNTER) for name in weights):
        # files from before PyTorch 0.4.1 have no counters of batches; PyTorch starts them at 0
        weights |= {name: expected[name] for name in expected if name.endswith(_COUNTER)}
    differences = _differences(weights, expected)
    if differences:
        raise ValueError(
            f"ImageNet weights {source} do not fit the backbone:\n" + "\n".join(differences)
        )
    network.load_state_dict(weights)


def _download(depth: str) -> dict[str, Tensor]:
    weights, folder = _IMAGENET[depth], Path(torch.hub.get_dir()) / "checkpoints"
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
            f"the file from {weights.url}, or its copy in {folder}, is damaged ({reason}); remove "
            "the copy and start again"
        ) from error


def _differences(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    missing = [f"  missing in the file: {name}" for name in expected if name not in weights]
    foreign = [f"  not in the model: {name}" for name in weights if name not in expected]
    of_another_kind = []
    for name in [name for name in expected if name in weights]:
        kinds = [(tuple(tensor.shape), tensor.dtype) for tensor in (weights[name], expected[name])]
        for in_file, in_model in zip(*kinds, strict=True):
            if in_file != in_model:
                of_another_kind.append(f"  {name}: {in_file} in the file, {in_model} in the model")
                break
    return [line for lines in (missing, foreign, of_another_kind) for line in _shortened(lines)]


def _shortened(lines: Sequence[str], most: int = 12) -> list[str]:
    return [*lines[:most], *([f"  and {len(lines) - most} more"] if len(lines) > most else [])]


def build_model(cfg: CfgNode) -> CrossModalityNetwork:
    """Builds the network by FastReID's registry, in the memory format of the configuration."""
    model = build_registered_model(cfg)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    _logger.info("%s with %.1f M parameters", type(model).__name__, parameters / 1e6)
    if cfg.SOLVER.CHANNELS_LAST:
        model.to(memory_format=torch.channels_last)
    return model


def build_trained_model(cfg: CfgNode) -> CrossModalityNetwork:
    """Builds the network with MODEL.WEIGHTS, which must be there and fit, for evaluation."""
    if not cfg.MODEL.WEIGHTS:
        raise ValueError("no weights: set MODEL.WEIGHTS, or name a run that holds model_final.pth")
    model = build_model(build_without_pretrained(cfg))
    load_weights(model, cfg.MODEL.WEIGHTS, for_evaluation=True, cfg=cfg)
    return model.eval()


def build_without_pretrained(cfg: CfgNode) -> CfgNode:
    """Returns a copy that does not load ImageNet weights, for a model that gets its own."""
    return changed_cfg(cfg, {"MODEL.BACKBONE.PRETRAIN": False})
