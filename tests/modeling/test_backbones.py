"""Networks of other libraries as backbones: FastReID's ResNets, torchvision, timm."""

import pytest
import torch
import yaml
from tiny_models import make_batch, make_model, model_cfg, settle
from torch import nn

from wrimnet.config import setup_cfg
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.modeling.backbones import StagedBackbone

FASTREID = {"MODEL__BACKBONE__NAME": "build_resnet_backbone"}
TORCHVISION = {
    "MODEL__BACKBONE__NAME": "build_torchvision_backbone",
    "MODEL__BACKBONE__ARCHITECTURE": "resnet18",
}
TIMM = {**TORCHVISION, "MODEL__BACKBONE__NAME": "build_timm_backbone"}
BACKBONES = {
    "fastreid": FASTREID,
    "ibn": {**FASTREID, "MODEL__BACKBONE__WITH_IBN": "True"},
    "se": {**FASTREID, "MODEL__BACKBONE__WITH_SE": "True"},
    "torchvision": TORCHVISION,
    "timm": TIMM,
}


def build(name, **overrides):
    if name == "timm":
        pytest.importorskip("timm", reason="timm is an optional extra")
    return make_model(**{**BACKBONES[name], **overrides})


@pytest.mark.parametrize("name", BACKBONES)
def test_it_trains_with_miims_and_embeds_both_modalities(name):
    model = build(name)
    losses = model.train()(make_batch())
    sum(losses.values()).backward()
    for stage in "1234":
        gradients = [p.grad for p in model.backbone.miims[stage].parameters()]
        assert all(gradient is not None for gradient in gradients)
        assert any(gradient.abs().sum() > 0 for gradient in gradients)
    batch = make_batch()
    for modality in (VISIBLE, INFRARED):
        parts = settle(model).embed_parts(batch["images"][:2], modality)
        assert {group: part.shape[1] for group, part in parts.items()} == model.part_dims


@pytest.mark.parametrize("name", BACKBONES)
def test_levels_are_what_the_network_computes_itself(name):
    """Without MIIMs, the levels are the maps that the network's own forward passes through."""
    model = build(name, MIIM__SEPARATE_STAGES="()", MIIM__SHARED_STAGES="()").eval()
    network, images = model.backbone.network, torch.rand(2, 3, 64, 32)
    seen = []
    block = network.get_submodule(model.backbone.stages[3])
    last = block[-1] if isinstance(block, nn.Sequential) else block
    hook = last.register_forward_hook(lambda _, __, output: seen.append(output))
    levels = model.backbone(images, 1)
    hook.remove()
    assert torch.equal(levels["main"], seen[0])
    assert levels["main"].shape[2:] == levels["auxiliary"].shape[2:]  # the last stride is removed


def test_fastreid_resnet_without_ibn_is_the_backbone_of_wrim_net():
    """The same weights give the same levels as WRIMResNet, stage by stage with its MIIMs."""
    torch.manual_seed(0)
    ours, theirs = make_model(), build("fastreid")
    renamed = {
        name.replace("backbone.", "backbone.network.", 1)
        if name.startswith("backbone.") and ".miims." not in name
        else name: value
        for name, value in ours.state_dict().items()
    }
    theirs.load_state_dict(renamed)
    images = torch.rand(4, 3, 64, 32)
    ours, theirs = (model.eval().backbone(images, 2) for model in (ours, theirs))
    assert all(torch.equal(ours[level], theirs[level]) for level in ours)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"MODEL__BACKBONE__WITH_IBN": "True"},
            r"WITH_IBN = True: build_wrim_.* not read it; write MODEL.BACKBONE.WITH_IBN: False",
        ),
        (
            {**FASTREID, "MODEL__BACKBONE__MAX_POOL": "torchvision"},
            "MAX_POOL = 'torchvision': build_resnet",
        ),
        ({**TORCHVISION, "MODEL__BACKBONE__WITH_SE": "True"}, "WITH_SE = True: build_torchvision"),
        ({**TORCHVISION, "MODEL__BACKBONE__ARCHITECTURE": "resnet19"}, "ARCHITECTURE = 'resnet19'"),
        (
            {**TORCHVISION, "MODEL__BACKBONE__STAGES": "('layer1','layer2','layer3','layer9')"},
            "'layer9'",
        ),
        (
            {
                **TORCHVISION,
                "MODEL__BACKBONE__STAGES": "('conv1','layer1','layer2','layer3','layer4')",
            },
            r"STAGES = \('conv1', .*\): expected the names of four Blocks",
        ),
        (
            {**TORCHVISION, "SOLVER__ACTIVATION_CHECKPOINTING": "True"},
            "cannot recompute its Blocks",
        ),
        (
            {**FASTREID, "MODEL__BACKBONE__WITH_SE": "True", "MODEL__BACKBONE__PRETRAIN": "True"},
            "PRETRAIN_PATH",
        ),
        (
            {"MODEL__BACKBONE__NAME": "build_regnet_backbone"},
            "build_regnet_backbone' has no network of .*DEPTH = '18x'; use build_resnet_backbone",
        ),
    ],
)
def test_what_does_not_fit_is_a_sentence(overrides, message):
    with pytest.raises((ValueError, KeyError), match=message):
        make_model(**overrides)


@pytest.mark.parametrize(
    ("key", "value"), [("WITH_IBN", True), ("ARCHITECTURE", "resnet18"), ("STAGES", ["a"] * 4)]
)
def test_line_of_the_message_takes_back_what_the_base_sets(tmp_path, key, value):
    base = {"MODEL": {"DEVICE": "cpu", "BACKBONE": {"PRETRAIN": False, key: value}}}
    (tmp_path / "base.yml").write_text(yaml.safe_dump(base))
    own = tmp_path / "own.yml"
    own.write_text("_BASE_: base.yml\n")
    with pytest.raises(ValueError, match="does not read it") as refused:
        setup_cfg(own)
    line = str(refused.value).partition("write ")[2].partition(" in your file")[0]
    own.write_text(f"_BASE_: base.yml\n{line}\n")
    assert setup_cfg(own).MODEL.BACKBONE[key] in (False, "resnet50", ())


def test_network_without_maps_is_refused():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            for stage in range(1, 5):
                self.add_module(f"layer{stage}", nn.Identity())

        def forward(self, images):
            flat = images.flatten(1)
            return self.layer4(self.layer3(self.layer2(self.layer1(flat))))

    with pytest.raises(ValueError, match=r"four Blocks that each give a feature map"):
        StagedBackbone(Flat())


def test_local_weights_are_loaded_strictly(tmp_path):
    from torchvision import models

    weights = models.get_model("resnet18", weights=None).state_dict()
    torch.save(weights, tmp_path / "whole.pth")
    path = {
        "MODEL__BACKBONE__PRETRAIN": "True",
        "MODEL__BACKBONE__PRETRAIN_PATH": tmp_path / "whole.pth",
    }
    model = make_model(**{**TORCHVISION, **path})
    assert torch.equal(model.backbone.network.conv1.weight, weights["conv1.weight"])
    del weights["layer2.0.conv1.weight"]
    torch.save(weights, tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"missing in the file: layer2.0.conv1.weight"):
        make_model(**{**TORCHVISION, **path})


def test_model_cfg_needs_no_network():
    assert model_cfg(**TORCHVISION).MODEL.BACKBONE.ARCHITECTURE == "resnet18"
