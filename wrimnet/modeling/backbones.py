"""Backbones of other libraries, with MIIMs after their Blocks, as networks with two named levels.

A backbone is a module ``(images (B, 3, H, W), number of visible ones) -> {"main": (B, C, h, w),
"auxiliary": (B, C', h', w')}`` with ``level_channels``, the channels of each level. What FastReID's
registry holds under MODEL.BACKBONE.NAME is one already, or a network of four Blocks, which
:class:`StagedBackbone` makes one of.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from torch import Tensor, nn
from torchvision import models

from wrimnet.atomic_files import file_sha256
from wrimnet.config.keys import KEYS
from wrimnet.modeling.miims import build_miims, check_miim, run_miim
from wrimnet.modeling.weights import imagenet_url, load_imagenet_weights, load_network_weights

STAGES = ("layer1", "layer2", "layer3", "layer4")  # of every ResNet
_CLASSIFIERS = ("fc", "classifier", "head", "heads")
_PROBE = (1, 3, 96, 64)


class StagedBackbone(nn.Module):
    """A network whose four Blocks, named by ``stages``, are each followed by a MIIM if asked for.

    ``channels`` are of the maps after Blocks 1 to 4; of the levels "main" is Block 4, "auxiliary"
    3. ValueError if there is no Block of that name, or one gives no map.
    """

    def __init__(self, network: nn.Module, stages: Sequence[str] = STAGES) -> None:
        super().__init__()
        for name in _CLASSIFIERS:
            if isinstance(getattr(network, name, None), nn.Module):
                setattr(network, name, nn.Identity())
        self.network = network
        self.stages = tuple(stages)
        self.miims = nn.ModuleDict()
        self._num_visible = 0
        self._maps: dict[int, Tensor] = {}
        for stage, name in enumerate(self.stages, start=1):
            block = _named_block(network, name)
            # the last module of a sequence: some networks call the parts, not the sequence
            last = block[-1] if isinstance(block, nn.Sequential) else block
            last.register_forward_hook(partial(self._after, stage))
        self.channels = self._probe_channels()
        self.level_channels = {"main": self.channels[3], "auxiliary": self.channels[2]}

    @property
    def main_block(self) -> nn.Module:
        """Where the features after Block 3 go in."""
        block = self.network.get_submodule(self.stages[3])
        return block[0] if isinstance(block, nn.Sequential) else block

    def forward(self, images: Tensor, num_visible: int) -> dict[str, Tensor]:
        """Computes the feature maps of the two levels; see :class:`WRIMResNet`."""
        self._num_visible = num_visible
        self.network(images)
        maps, self._maps = self._maps, {}
        return {"main": maps[4], "auxiliary": maps[3]}

    def _after(self, stage: int, block: nn.Module, inputs: Any, features: Tensor) -> Tensor:
        """What the network goes on with after a Block."""
        features = run_miim(self.miims, stage, features, self._num_visible)
        self._maps[stage] = features
        return features

    @torch.no_grad()
    def _probe_channels(self) -> tuple[int, ...]:
        training = self.network.training
        self.network.eval()(torch.zeros(_PROBE))
        self.network.train(training)
        maps, self._maps = self._maps, {}
        found: list[Any] = [maps.get(stage) for stage in range(1, 5)]
        if any(value is None or value.ndim != 4 for value in found):
            raise ValueError(
                f"MODEL.BACKBONE.STAGES = {self.stages}: expected four Blocks that each give a map "
                "(B, C, h, w); a network without maps, such as a transformer, needs a backbone of "
                "your own"
            )
        return tuple(value.shape[1] for value in found)


def _named_block(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError:
        names = [child for child, _ in network.named_children()]
        raise ValueError(
            f"MODEL.BACKBONE.STAGES names {name!r}, which the network does not have; it has {names}"
        ) from None


def build_level_backbone(cfg: CfgNode) -> nn.Module:
    """Builds the backbone that MODEL.BACKBONE.NAME names, with two named levels.

    One of FastReID's own ResNets (``build_resnet_backbone``, with IBN or SE layers) gets MIIMs
    here; any other has to offer ``level_channels`` itself, and to know
    SOLVER.ACTIVATION_CHECKPOINTING.
    """
    build = BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)
    backbone = _build_of_fastreid(cfg, build) if _is_of_fastreid(build) else build(cfg)
    if not hasattr(backbone, "level_channels"):
        raise ValueError(
            f"MODEL.BACKBONE.NAME = {cfg.MODEL.BACKBONE.NAME!r} gives a {type(backbone).__name__} "
            "without level_channels; wrap it in wrimnet.modeling.backbones.StagedBackbone"
        )
    if cfg.SOLVER.ACTIVATION_CHECKPOINTING and not hasattr(backbone, "activation_checkpointing"):
        raise ValueError(
            f"SOLVER.ACTIVATION_CHECKPOINTING: {cfg.MODEL.BACKBONE.NAME} cannot recompute its "
            "Blocks; turn it off, or use build_wrim_resnet_backbone"
        )
    return backbone


def check_unread(cfg: CfgNode, *names: str) -> None:
    """Raises ValueError if one of these keys of MODEL.BACKBONE was set, which is not read."""
    for key in KEYS:
        group, _, name = key.name.rpartition(".")
        unread = group == "MODEL.BACKBONE" and name in names
        if unread and cfg.MODEL.BACKBONE[name] != key.default:
            raise ValueError(
                f"{key.name} = {cfg.MODEL.BACKBONE[name]!r}: {cfg.MODEL.BACKBONE.NAME} does not "
                "read it; leave it out or choose another MODEL.BACKBONE.NAME"
            )


def check_level_backbone(cfg: CfgNode) -> None:
    """Raises ValueError if a key was set that a ResNet of FastReID does not read."""
    if _is_of_fastreid(BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)):
        check_unread(cfg, "ARCHITECTURE", "STAGES", "MAX_POOL")
        check_miim(cfg)


def _is_of_fastreid(build: Callable[[CfgNode], nn.Module]) -> bool:
    return build.__module__.startswith("fastreid.")


def _build_of_fastreid(cfg: CfgNode, build: Callable[[CfgNode], nn.Module]) -> StagedBackbone:
    """FastReID's own loading of weights is not used: it leaves out silently what does not fit."""
    without = cfg.clone()
    without.defrost()
    without.MODEL.BACKBONE.PRETRAIN = False
    network, backbone = build(without), cfg.MODEL.BACKBONE
    if backbone.PRETRAIN:
        plain = not (backbone.WITH_IBN or backbone.WITH_SE)
        if not plain and not backbone.PRETRAIN_PATH:
            raise ValueError(
                "MODEL.BACKBONE.PRETRAIN: ImageNet weights of a ResNet with IBN or SE layers are "
                "not downloaded; name a file in PRETRAIN_PATH, or set PRETRAIN False"
            )
        load_imagenet_weights(network, depth=backbone.DEPTH, path=backbone.PRETRAIN_PATH)
    return _build_staged(cfg, network, STAGES)


def _build_staged(cfg: CfgNode, network: nn.Module, stages: Sequence[str]) -> StagedBackbone:
    backbone = StagedBackbone(network, cfg.MODEL.BACKBONE.STAGES or stages)
    if cfg.MODEL.BACKBONE.LAST_STRIDE == 1:
        for module in network.get_submodule(backbone.stages[3]).modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)  # the Block keeps the size of the map
    backbone.miims = build_miims(cfg, backbone.channels)
    return backbone


@BACKBONE_REGISTRY.register()
def build_torchvision_backbone(cfg: CfgNode) -> StagedBackbone:
    """Builds torchvision's network MODEL.BACKBONE.ARCHITECTURE with MIIMs."""
    backbone = cfg.MODEL.BACKBONE
    try:
        weights = "DEFAULT" if backbone.PRETRAIN and not backbone.PRETRAIN_PATH else None
        network = models.get_model(backbone.ARCHITECTURE, weights=weights)
    except ValueError as error:
        raise ValueError(
            f"MODEL.BACKBONE.ARCHITECTURE = {backbone.ARCHITECTURE!r}: {error}"
        ) from None
    except OSError as error:
        raise FileNotFoundError(
            f"the ImageNet weights of {backbone.ARCHITECTURE} cannot be downloaded ({error}); name "
            "a local copy in MODEL.BACKBONE.PRETRAIN_PATH, or set MODEL.BACKBONE.PRETRAIN False"
        ) from error
    return _build_pretrained(cfg, network, STAGES)


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode) -> StagedBackbone:
    """Builds timm's network MODEL.BACKBONE.ARCHITECTURE with MIIMs; timm is an extra."""
    backbone = cfg.MODEL.BACKBONE
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ValueError("build_timm_backbone needs timm: pip install 'wrimnet[timm]'") from error
    try:
        pretrained = backbone.PRETRAIN and not backbone.PRETRAIN_PATH
        network: Any = timm.create_model(
            backbone.ARCHITECTURE, pretrained=pretrained, num_classes=0
        )
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"MODEL.BACKBONE.ARCHITECTURE = {backbone.ARCHITECTURE!r}: {error}"
        ) from None
    stages = [entry["module"] for entry in network.feature_info][-4:]
    return _build_pretrained(cfg, network, stages)


def _build_pretrained(cfg: CfgNode, network: nn.Module, stages: Sequence[str]) -> StagedBackbone:
    staged = _build_staged(cfg, network, stages)
    if cfg.MODEL.BACKBONE.PRETRAIN and cfg.MODEL.BACKBONE.PRETRAIN_PATH:
        load_network_weights(staged.network, cfg.MODEL.BACKBONE.PRETRAIN_PATH, _CLASSIFIERS)
    return staged


def check_staged_backbone(cfg: CfgNode) -> None:
    """Raises ValueError if a key was set that networks of other libraries do not read."""
    check_unread(cfg, "DEPTH", "MAX_POOL", "WITH_IBN", "WITH_SE")
    check_miim(cfg)


build_torchvision_backbone.check_config = check_staged_backbone
build_timm_backbone.check_config = check_staged_backbone


def build_imagenet_start(cfg: CfgNode) -> str:
    """Says which ImageNet weights a backbone starts from: by the file's SHA-256 where it is known.

    torchvision's files carry its first digits in their names; timm's are named by the network.
    """
    backbone = cfg.MODEL.BACKBONE
    if backbone.PRETRAIN_PATH:
        return f"ImageNet {file_sha256(backbone.PRETRAIN_PATH)[:8]}"
    if backbone.NAME == "build_torchvision_backbone":
        url = models.get_model_weights(backbone.ARCHITECTURE).DEFAULT.url
    elif backbone.NAME in ("build_wrim_resnet_backbone", "build_resnet_backbone"):
        url = imagenet_url(backbone.DEPTH)
    else:
        return f"ImageNet, {backbone.NAME} {backbone.ARCHITECTURE}"
    return f"ImageNet {url.rpartition('-')[2].partition('.')[0]}"
