"""``import wrimnet.plugin`` registers everything YAML can name with FastReID.

After it, FastReID's ``build_model(cfg)`` returns a :class:`WRIMNet` for a configuration to which
:func:`wrimnet.config.add_wrim_config` added the keys.
"""

import wrimnet.compat  # noqa: F401

from wrimnet.config import add_wrim_config
from wrimnet.data.datasets import LLCM
from wrimnet.modeling.backbones.wrim_resnet import build_wrim_resnet_backbone
from wrimnet.modeling.heads.aicl_head import AICLHead
from wrimnet.modeling.meta_arch.wrim_net import WRIMNet

__all__ = ["LLCM", "AICLHead", "WRIMNet", "add_wrim_config", "build_wrim_resnet_backbone"]
