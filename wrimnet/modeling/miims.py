"""The blocks after the backbone's Blocks, as MODEL.WRIM.MIIM names and places them.

A custom block is a class in MIIM_REGISTRY: a subclass of :class:`wrimnet.layers.miim.MIIM`,
or any module (B, C, H, W) -> (B, C, H, W). It is called with the keyword arguments that its class
method ``from_config(cfg, stage, channels)`` returns; without one, with those of MIIM
(:func:`build_miim_options`). A custom fusion is in FUSION_REGISTRY, a class or function
``(cfg, stage, channels) -> module``, which maps features and F5, (B, C, H, W) each, to features.
``stage`` is the Block, 1 to 4, and ``channels`` is C of its feature map.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from torch import Tensor, nn

from wrimnet.layers.fusion import Addition, Multiplication, SigmoidGate
from wrimnet.layers.miim import MIIM
from wrimnet.layers.per_modality import PerModality
from wrimnet.registries import (
    FUSION_REGISTRY,
    MIIM_REGISTRY,
    describe_place,
    find_registered,
    register_as,
)

_MIIM = "MODEL.WRIM.MIIM"

MIIM_REGISTRY.register(MIIM)


@register_as(FUSION_REGISTRY, "sigmoid")
def build_sigmoid_gate(cfg: CfgNode, stage: int, channels: int) -> nn.Module:
    """Builds the paper's gate."""
    return SigmoidGate(cfg.MODEL.WRIM.MIIM.GATE_SCALE)


@register_as(FUSION_REGISTRY, "multiply")
def build_multiplication(cfg: CfgNode, stage: int, channels: int) -> nn.Module:
    """Builds the product of Table S3."""
    return Multiplication()


@register_as(FUSION_REGISTRY, "add")
def build_addition(cfg: CfgNode, stage: int, channels: int) -> nn.Module:
    """Builds the sum of Table S3."""
    return Addition()


def build_miims(cfg: CfgNode, channels: Sequence[int]) -> nn.ModuleDict:
    """Builds the blocks of ``cfg.MODEL.WRIM.MIIM``: one per modality or one for both, by Block.

    ``channels`` are those of the feature maps after Blocks 1 to 4.
    """
    miim, built = cfg.MODEL.WRIM.MIIM, nn.ModuleDict()
    for stage in sorted((*miim.SEPARATE_STAGES, *miim.SHARED_STAGES)):
        build = partial(build_block, cfg, stage, channels[stage - 1])
        built[str(stage)] = PerModality(build) if stage in miim.SEPARATE_STAGES else build()
    return built


def build_block(cfg: CfgNode, stage: int, channels: int) -> nn.Module:
    """Builds one block that MODEL.WRIM.MIIM.NAME names."""
    name = value_of_block(cfg.MODEL.WRIM.MIIM.NAME, stage)
    block = find_registered(MIIM_REGISTRY, name, f"{_MIIM}.NAME")
    return block(**getattr(block, "from_config", build_miim_options)(cfg, stage, channels))


def build_miim_options(cfg: CfgNode, stage: int, channels: int) -> dict[str, Any]:
    """Returns the arguments of :class:`MIIM` after a Block.

    Raises:
        ValueError: REDUCTION or NUM_HEADS does not divide the channels; names what would.
    """
    miim = cfg.MODEL.WRIM.MIIM
    reduction, num_heads = miim.REDUCTION[stage - 1], value_of_block(miim.NUM_HEADS, stage)
    _check_divides(f"{_MIIM}.REDUCTION", reduction, channels, stage, "channels of its map")
    inside = channels // reduction
    _check_divides(
        f"{_MIIM}.NUM_HEADS", num_heads, inside, stage, f"channels inside, {channels} / {reduction}"
    )
    build_fusion = find_registered(FUSION_REGISTRY, miim.FUSION, f"{_MIIM}.FUSION")
    return {
        "channels": channels,
        "reduction": reduction,
        "stride": miim.STRIDE[stage - 1],
        "num_heads": num_heads,
        "region_size": miim.REGION_SIZE,
        "fusion": build_fusion(cfg, stage, channels),
        "residual": miim.RESIDUAL,
        "norm": miim.NORM,
    }


def _check_divides(key: str, value: int, channels: int, stage: int, what: str) -> None:
    if channels % value:
        fitting = [number for number in range(1, channels + 1) if channels % number == 0]
        raise ValueError(
            f"{key} = {value} after Block {stage} does not divide the {channels} {what}; these "
            f"values fit: {', '.join(map(str, fitting))}. One value per Block is a tuple of four"
        )


def value_of_block(value: Any, stage: int) -> Any:
    """Returns the value after a Block of a key that holds one for all Blocks or four."""
    return value[stage - 1] if isinstance(value, (tuple, list)) else value


def run_miim(miims: nn.ModuleDict, stage: int, features: Tensor, num_visible: int) -> Tensor:
    """Sends a Block's features through the block after it, if there is one."""
    if str(stage) not in miims:
        return features
    miim = miims[str(stage)]
    output = miim(features, num_visible) if isinstance(miim, PerModality) else miim(features)
    if output.shape != features.shape:
        raise ValueError(
            f"after Block {stage}, {_parts_of(miim)} made {tuple(output.shape)} of features "
            f"{tuple(features.shape)}; expected the same shape"
        )
    return output


def _parts_of(miim: nn.Module) -> str:
    """Names the block and its fusion, and where they are defined."""
    block = miim.visible if isinstance(miim, PerModality) else miim
    parts = (block, getattr(block, "fusion", None))
    return " with the fusion ".join(describe_place(one) for one in parts if one is not None)


def check_miim(cfg: CfgNode) -> None:
    """Raises ValueError if the stage lists of MIIM do not fit each other."""
    miim = cfg.MODEL.WRIM.MIIM
    stages = (*miim.SEPARATE_STAGES, *miim.SHARED_STAGES)
    if len(set(stages)) != len(stages):
        raise ValueError(
            f"MODEL.WRIM.MIIM.SEPARATE_STAGES = {miim.SEPARATE_STAGES} and SHARED_STAGES = "
            f"{miim.SHARED_STAGES}: expected Blocks 1 to 4, each at most once"
        )
