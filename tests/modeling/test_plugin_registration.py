"""The plugin as FastReID's users meet it: one import, one call, FastReID's own build_model."""

import subprocess
import sys

import wrimnet.compat

import pytest
import torch
from fastreid.config import get_cfg
from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.modeling import build_model
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from fastreid.modeling.heads import REID_HEADS_REGISTRY
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY
from source_tree import ROOT
from tiny_models import make_batch

import wrimnet.plugin

USER_PROGRAM = f"""
import sys
import wrimnet.plugin
from fastreid.config import get_cfg
from fastreid.modeling import build_model
from wrimnet.config import add_wrim_config

cfg = get_cfg()
add_wrim_config(cfg)
cfg.merge_from_file({str(ROOT / "configs/LLCM/wrim.yml")!r})
cfg.MODEL.BACKBONE.PRETRAIN = False
cfg.MODEL.HEADS.NUM_CLASSES = 3
print(type(build_model(cfg)).__name__)
"""


def plugin_cfg(path="configs/LLCM/wrim.yml"):
    cfg = get_cfg()
    wrimnet.plugin.add_wrim_config(cfg)
    cfg.merge_from_file(str(ROOT / path))
    cfg.MODEL.BACKBONE.PRETRAIN = False
    cfg.MODEL.BACKBONE.DEPTH = "18x"
    cfg.MODEL.HEADS.NUM_CLASSES = 3
    return cfg


def test_program_of_the_documentation_builds_the_network_in_a_fresh_process():
    run = subprocess.run(
        [sys.executable, "-c", USER_PROGRAM], cwd="/", capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[-1] == "WRIMNet"


@pytest.mark.parametrize("dataset", ["LLCM", "RegDB", "SYSU", "Synthetic"])
@pytest.mark.parametrize("kind", ["wrim", "baseline"])
def test_fastreids_build_model_returns_our_network_that_trains(dataset, kind):
    model = build_model(plugin_cfg(f"configs/{dataset}/{kind}.yml"))
    assert type(model).__name__ == "WRIMNet"
    losses = model.train()(_on(model.device, make_batch(height=96)))
    assert all(loss.isfinite() for loss in losses.values())


def _on(device, batch):
    return {name: t if name == "modality" else t.to(device) for name, t in batch.items()}


def test_device_of_the_defaults_can_be_used():
    torch.zeros(1, device=plugin_cfg().MODEL.DEVICE)


def test_fastreid_key_that_is_not_read_is_refused_by_build_model():
    cfg = plugin_cfg()
    cfg.MODEL.LOSSES.NAME = ("CircleLoss",)
    with pytest.raises(ValueError, match=r"MODEL.LOSSES.NAME = .* is not read by WRIM-Net"):
        build_model(cfg)


@pytest.mark.parametrize(
    ("registry", "name"),
    [
        (META_ARCH_REGISTRY, "WRIMNet"),
        (REID_HEADS_REGISTRY, "AICLHead"),
        (BACKBONE_REGISTRY, "build_wrim_resnet_backbone"),
        (DATASET_REGISTRY, "LLCM"),
        (DATASET_REGISTRY, "RegDB"),
        (DATASET_REGISTRY, "SYSU_MM01"),
    ],
)
def test_registry_holds_what_yaml_names(registry, name):
    assert registry.get(name).__module__.startswith("wrimnet.")


def test_plugin_exports_what_it_registers():
    for name in wrimnet.plugin.__all__:
        assert hasattr(wrimnet.plugin, name)
