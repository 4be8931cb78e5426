"""``import wrimnet.plugin`` registers everything YAML can name with FastReID.

After it, FastReID's ``build_model(cfg)`` returns a :class:`WRIMNet` for a configuration to which
:func:`wrimnet.config.add_wrim_config` added the keys. A custom module that PLUGINS names is
loaded in the same way.
"""

import wrimnet.compat  # noqa: F401

from wrimnet.config import add_wrim_config
from wrimnet.data.augmentation import build_batch_augmentation
from wrimnet.data.datasets import LLCM, SYSU_MM01, RegDB
from wrimnet.data.sampler import draw_cross_modality
from wrimnet.modeling.aicl_head import AICLHead
from wrimnet.modeling.backbones import build_torchvision_backbone
from wrimnet.modeling.timm_backbone import build_timm_backbone
from wrimnet.modeling.wrim_net import WRIMNet
from wrimnet.modeling.wrim_resnet import build_wrim_resnet_backbone
from wrimnet.schedules import build_cosine, build_multi_step

__all__ = [
    "LLCM",
    "SYSU_MM01",
    "AICLHead",
    "RegDB",
    "WRIMNet",
    "add_wrim_config",
    "build_batch_augmentation",
    "build_cosine",
    "build_multi_step",
    "build_timm_backbone",
    "build_torchvision_backbone",
    "build_wrim_resnet_backbone",
    "draw_cross_modality",
]
