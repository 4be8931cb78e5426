"""Networks of timm as backbones: convolutional ones, and transformers that keep tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from torch import nn

from wrimnet.modeling.backbones import (
    CLASSIFIERS,
    StagedBackbone,
    build_staged,
    check_staged_backbone,
    remove_classifiers,
)
from wrimnet.modeling.feature_layout import MAPS, ChannelsLast, FeatureLayout, Tokens
from wrimnet.modeling.weights import load_network_weights

_ARCHITECTURE = "MODEL.BACKBONE.ARCHITECTURE"


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode) -> StagedBackbone:
    """Builds timm's network MODEL.BACKBONE.ARCHITECTURE with MIIMs; timm is an extra."""
    network = build_timm_network(cfg)
    stages = cfg.MODEL.BACKBONE.STAGES or _find_stages(network, cfg.MODEL.BACKBONE.ARCHITECTURE)
    return build_staged(cfg, network, stages, _find_layout(network))


build_timm_backbone.check_config = check_staged_backbone


def build_timm_network(cfg: CfgNode) -> Any:
    """Builds the network for images of INPUT.SIZE_TRAIN, with its pretrained weights.

    A file of weights fits the network's own input size, to which its positions belong: it is
    loaded first, and the size changed after that.
    """
    backbone, size = cfg.MODEL.BACKBONE, tuple(cfg.INPUT.SIZE_TRAIN)
    from_file = bool(backbone.PRETRAIN and backbone.PRETRAIN_PATH)
    size_at_first, pretrained = (None, False) if from_file else (size, backbone.PRETRAIN)
    network = _create_network(backbone.ARCHITECTURE, size_at_first, pretrained=pretrained)
    _check_patches(network, size)
    if not from_file:
        return network
    remove_classifiers(network)
    load_network_weights(network, backbone.PRETRAIN_PATH, CLASSIFIERS)
    if hasattr(network, "set_input_size"):
        network.set_input_size(img_size=size)
    return network


def _create_network(name: str, size: tuple[int, int] | None, *, pretrained: bool) -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ValueError("build_timm_backbone needs timm: pip install 'wrimnet[timm]'") from error
    try:
        is_fixed = getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False)
        options: dict[str, Any] = {"img_size": size} if is_fixed and size else {}
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    except OSError as error:
        raise FileNotFoundError(
            f"the pretrained weights of {name} cannot be downloaded ({error}); name a local copy "
            "in MODEL.BACKBONE.PRETRAIN_PATH, or set MODEL.BACKBONE.PRETRAIN False"
        ) from error
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{_ARCHITECTURE} = {name!r}: {error}") from error


def _check_patches(network: Any, size: tuple[int, int]) -> None:
    """Refuses an input whose last rows or columns fill no patch and would not be seen."""
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    if patch and any(side % of_patch for side, of_patch in zip(size, patch, strict=True)):
        raise ValueError(
            f"INPUT.SIZE_TRAIN = {size}: expected multiples of the patch size {tuple(patch)} of "
            "the network; what is left over would be cut off"
        )


def _find_stages(network: nn.Module, name: str) -> list[str]:
    """Names four Blocks: the last four scales, or quarters of a network of one scale.

    Raises ValueError: timm lists fewer.
    """
    entries: Sequence[Mapping[str, Any]] = [*getattr(network, "feature_info", ())]
    if len(entries) < 4:
        raise ValueError(
            f"{_ARCHITECTURE} = {name!r}: timm lists {len(entries)} of its Blocks, four are "
            "needed; name the modules in MODEL.BACKBONE.STAGES"
        )
    if len({entry["reduction"] for entry in entries}) == 1:
        entries = [entries[len(entries) * quarter // 4 - 1] for quarter in (1, 2, 3, 4)]
    return [entry["module"] for entry in entries[-4:]]


def _find_layout(network: nn.Module) -> FeatureLayout:
    """Says how the network keeps features; a wrong answer shows when the Blocks are tried."""
    if getattr(network, "output_fmt", "") == "NHWC":
        return ChannelsLast()
    grid = getattr(getattr(network, "patch_embed", None), "dynamic_feat_size", None)
    if grid is None:
        return MAPS
    return Tokens(getattr(network, "num_prefix_tokens", 0), grid)
