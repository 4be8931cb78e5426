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
from torch.nn import functional
from torchvision import models

from wrimnet.atomic_files import file_sha256
from wrimnet.config.keys import KEYS
from wrimnet.modeling.feature_layout import MAPS, FeatureLayout
from wrimnet.modeling.miims import build_miims, run_miim
from wrimnet.modeling.weights import (
    build_without_pretrained,
    imagenet_url,
    load_imagenet_weights,
    load_network_weights,
)

STAGES = ("layer1", "layer2", "layer3", "layer4")  # of every ResNet
CLASSIFIERS = ("fc", "classifier", "head", "heads")
_PROBE = (96, 64)


class StagedBackbone(nn.Module):
    """A network whose four Blocks, named by ``stages``, are each followed by a MIIM if asked for.

    ``channels`` are those of the feature maps after Blocks 1 to 4; the level "main" is Block 4,
    "auxiliary" is Block 3. ``layout`` says how the network keeps features, ``size`` is an
    (H, W) that it accepts. ValueError if there is no Block of that name, or one gives no feature
    map.
    """

    def __init__(
        self,
        network: nn.Module,
        stages: Sequence[str] = STAGES,
        *,
        layout: FeatureLayout = MAPS,
        size: Sequence[int] = _PROBE,
    ) -> None:
        super().__init__()
        remove_classifiers(network)
        self.network = network
        self.stages = tuple(stages)
        if len(self.stages) != 4:
            raise ValueError(
                f"MODEL.BACKBONE.STAGES = {self.stages}: expected the names of four Blocks"
            )
        self.layout = layout
        self.miims = nn.ModuleDict()
        self.main_block = nn.Identity()  # its input is the map after Block 3, with its MIIM
        self._num_visible = 0
        self._image_size = (0, 0)
        self._maps: dict[int, Tensor] = {}
        for stage, name in enumerate(self.stages, start=1):
            block = _named_block(network, name)
            # the last module of a sequence: some networks call the parts, not the sequence
            last = block[-1] if isinstance(block, nn.Sequential) else block
            last.register_forward_hook(partial(self._after, stage))
        with torch.no_grad():
            self.channels = tuple(feature_map.shape[1] for feature_map in self.probe(size))
        self.level_channels = {"main": self.channels[3], "auxiliary": self.channels[2]}

    def forward(self, images: Tensor, num_visible: int) -> dict[str, Tensor]:
        """Computes the feature maps of the two levels; see :class:`WRIMResNet`."""
        maps = self._forward_maps(images, num_visible)
        return {"main": maps[4], "auxiliary": maps[3]}

    def probe(self, size: Sequence[int]) -> list[Tensor]:
        """Returns the feature maps after the four Blocks of a black image of size (H, W).

        Raises ValueError: the network cannot take that size, or gives no feature maps.
        """
        training = self.network.training
        self.network.eval()
        try:
            maps = self._forward_maps(torch.zeros(1, 3, *size), 0)
        except (AssertionError, RuntimeError) as error:  # what PyTorch and timm raise
            raise ValueError(
                f"INPUT.SIZE_TRAIN or SIZE_TEST = {list(size)}: {type(self.network).__name__} "
                f"cannot take images of this size: {error}"
            ) from error
        self.network.train(training)
        levels: list[Any] = [maps.get(stage) for stage in range(1, 5)]
        if any(value is None or value.ndim != 4 for value in levels):
            raise ValueError(
                f"MODEL.BACKBONE.STAGES = {self.stages}: expected four Blocks that each give a "
                "feature map (B, C, h, w); for other features name their layout, see "
                "wrimnet.modeling.feature_layout"
            )
        return levels

    def keep_size_in_block_4(self, size: Sequence[int]) -> None:
        """Sets the strides of all convolutions between Block 3 and the end of Block 4 to 1."""
        convolutions: list[nn.Conv2d] = []

        def note(module: nn.Module, inputs: Any) -> None:
            if isinstance(module, nn.Conv2d) and max(self._maps, default=0) == 3:
                convolutions.append(module)

        hooks = [module.register_forward_pre_hook(note) for module in self.network.modules()]
        self.probe(size)
        for hook in hooks:
            hook.remove()
        for convolution in convolutions:
            _remove_stride(convolution)

    def freeze_unreached(self, size: Sequence[int]) -> None:
        """Freezes what comes after Block 4, such as a last norm: no loss would reach it."""
        trained = [weight for weight in self.network.parameters() if weight.requires_grad]
        with torch.enable_grad():
            reached = torch.autograd.grad(self.probe(size)[3].sum(), trained, allow_unused=True)
        for weight, gradient in zip(trained, reached, strict=True):
            weight.requires_grad_(gradient is not None)

    def _forward_maps(self, images: Tensor, num_visible: int) -> dict[int, Tensor]:
        self._num_visible, self._image_size = num_visible, (images.shape[2], images.shape[3])
        self.network(images)
        maps, self._maps = self._maps, {}
        return maps

    def _after(self, stage: int, block: nn.Module, inputs: Any, features: Tensor) -> Tensor:
        """What the network goes on with after a Block."""
        feature_map = self.layout.to_map(features, self._image_size)
        feature_map = run_miim(self.miims, stage, feature_map, self._num_visible)
        if stage == 3:
            feature_map = self.main_block(feature_map)
        self._maps[stage] = feature_map
        return self.layout.from_map(feature_map, features)


def remove_classifiers(network: nn.Module) -> None:
    """Replaces the classifier of a network, by the names that libraries give it."""
    for name in CLASSIFIERS:
        if isinstance(getattr(network, name, None), nn.Module):
            setattr(network, name, nn.Identity())


def _remove_stride(convolution: nn.Conv2d) -> None:
    if convolution.stride == (2, 2) == convolution.kernel_size:  # ConvNeXt's, without padding
        convolution.register_forward_pre_hook(_pad_by_one)
    convolution.stride = (1, 1)


def _pad_by_one(convolution: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return functional.pad(inputs[0], (0, 1, 0, 1))


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
                f"read it; write {key.name}: {key.default} in your file, whose _BASE_ may set it, "
                "or choose another MODEL.BACKBONE.NAME"
            )


def check_level_backbone(cfg: CfgNode) -> None:
    """Raises ValueError if a key was set that a ResNet of FastReID does not read."""
    if _is_of_fastreid(BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)):
        check_unread(cfg, "ARCHITECTURE", "STAGES", "MAX_POOL")


def _is_of_fastreid(build: Callable[[CfgNode], nn.Module]) -> bool:
    return build.__module__.startswith("fastreid.")


def _build_of_fastreid(cfg: CfgNode, build: Callable[[CfgNode], nn.Module]) -> StagedBackbone:
    """FastReID's own loading of weights is not used: it leaves out silently what does not fit."""
    backbone = cfg.MODEL.BACKBONE
    try:
        network = build(build_without_pretrained(cfg))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"MODEL.BACKBONE.NAME = {backbone.NAME!r} has no network of MODEL.BACKBONE.DEPTH = "
            f"{backbone.DEPTH!r}; use build_resnet_backbone, build_torchvision_backbone or "
            "build_timm_backbone"
        ) from error
    if backbone.PRETRAIN:
        plain = not (backbone.WITH_IBN or backbone.WITH_SE)
        if not plain and not backbone.PRETRAIN_PATH:
            raise ValueError(
                "MODEL.BACKBONE.PRETRAIN: ImageNet weights of a ResNet with IBN or SE layers are "
                "not downloaded; name a file in PRETRAIN_PATH, or set PRETRAIN False"
            )
        load_imagenet_weights(network, depth=backbone.DEPTH, path=backbone.PRETRAIN_PATH)
    return build_staged(cfg, network, STAGES)


def build_staged(
    cfg: CfgNode, network: nn.Module, stages: Sequence[str], layout: FeatureLayout = MAPS
) -> StagedBackbone:
    """Makes a backbone with MIIMs of a network; MODEL.BACKBONE.STAGES goes before ``stages``."""
    names, size = cfg.MODEL.BACKBONE.STAGES or stages, cfg.INPUT.SIZE_TRAIN
    backbone = StagedBackbone(network, names, layout=layout, size=size)
    if cfg.MODEL.BACKBONE.LAST_STRIDE == 1:
        _remove_last_stride(backbone, size)
    backbone.freeze_unreached(size)
    for size_name in ("SIZE_TRAIN", "SIZE_TEST"):
        maps = backbone.probe(cfg.INPUT[size_name])
        check_map_sizes(cfg, size_name, [(level.shape[2], level.shape[3]) for level in maps])
    backbone.miims = build_miims(cfg, backbone.channels)
    return backbone


def _remove_last_stride(backbone: StagedBackbone, size: Sequence[int]) -> None:
    backbone.keep_size_in_block_4(size)
    try:
        before, after = backbone.probe(size)[2:]
        is_kept = before.shape[2:] == after.shape[2:]
    except ValueError:  # a shortcut with a stride of its own does not fit any more
        is_kept = False
    if not is_kept:
        raise ValueError(
            f"MODEL.BACKBONE.LAST_STRIDE = 1: Block 4 of {type(backbone.network).__name__} "
            "has strides outside of its convolutions, which cannot be changed; set LAST_STRIDE to 2"
        )


def check_map_sizes(cfg: CfgNode, size_name: str, maps: Sequence[tuple[int, int]]) -> None:
    """Raises ValueError if feature maps of an input size are too small for a MIIM or the stripes.

    ``maps`` are rows and columns after the Blocks at INPUT.SIZE_TRAIN or SIZE_TEST; the levels are
    the last two.
    """
    size = f"INPUT.{size_name} = {cfg.INPUT[size_name]}"
    for stage in (*cfg.MODEL.WRIM.MIIM.SEPARATE_STAGES, *cfg.MODEL.WRIM.MIIM.SHARED_STAGES):
        stride, (rows, columns) = cfg.MODEL.WRIM.MIIM.STRIDE[stage - 1], maps[stage - 1]
        if stride > min(rows, columns):
            raise ValueError(
                f"MODEL.WRIM.MIIM.STRIDE = {stride} after Block {stage} is larger than its "
                f"{rows} x {columns} feature map at {size}"
            )
    for level, (rows, _) in (("MAIN", maps[-1]), ("AUXILIARY", maps[-2])):
        stripes = cfg.MODEL.WRIM[level].STRIPES
        if stripes > rows:
            raise ValueError(
                f"MODEL.WRIM.{level}.STRIPES = {stripes} stripes do not fit into the {rows} "
                f"rows of the feature map at {size}"
            )


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
    remove_classifiers(network)
    if backbone.PRETRAIN and backbone.PRETRAIN_PATH:
        load_network_weights(network, backbone.PRETRAIN_PATH, CLASSIFIERS)
    return build_staged(cfg, network, STAGES)


def check_staged_backbone(cfg: CfgNode) -> None:
    """Raises ValueError if a key was set that networks of other libraries do not read.

    DEPTH and MAX_POOL are none of them: the base configuration of a ResNet sets them.
    """
    check_unread(cfg, "WITH_IBN", "WITH_SE")


build_torchvision_backbone.check_config = check_staged_backbone


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
