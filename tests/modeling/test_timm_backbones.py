"""Families of timm as backbones: maps, maps with channels last, tokens."""

from collections import OrderedDict

import pytest
import torch
from tiny_models import make_batch, make_model, settle
from torch import nn

from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.modeling.backbones import CLASSIFIERS
from wrimnet.modeling.feature_layout import ChannelsLast, Tokens
from wrimnet.modeling.weights import load_network_weights

timm = pytest.importorskip("timm", reason="timm is an optional extra")

FAMILIES = {  # name, channels, index of the third among timm's maps, what docs/backbones.md sets
    "ResNet": ("resnet18", (64, 128, 256, 512), -2, {}),
    "ConvNeXt": ("convnext_atto", (40, 80, 160, 320), -2, {"MIIM__NUM_HEADS": "(4, 8, 8, 8)"}),
    "EfficientNet": (
        "efficientnet_b0",
        (24, 40, 112, 320),
        -2,
        {"MIIM__NUM_HEADS": "(4, 4, 4, 8)"},
    ),
    "Swin": (
        "swin_tiny_patch4_window7_224",
        (96, 192, 384, 768),
        -2,
        {"MODEL__BACKBONE__LAST_STRIDE": 2},
    ),
    "ViT": ("vit_tiny_patch16_224", (192,) * 4, 8, {"MIIM__STRIDE": "(1, 1, 1, 1)"}),
    "CLIP": ("vit_xsmall_patch16_clip_224", (256,) * 4, 6, {"MIIM__STRIDE": "(1, 1, 1, 1)"}),
}
TIMM = {
    "MODEL__BACKBONE__NAME": "build_timm_backbone",
    "MODEL__BACKBONE__DEPTH": "18x",  # as if inherited, like the next; timm does not read them
    "MODEL__BACKBONE__MAX_POOL": "torchvision",
    "MAIN__STRIPES": 1,
}


def build(family, **overrides):
    name, *_, settings = FAMILIES[family]
    keys = {**TIMM, "MODEL__BACKBONE__ARCHITECTURE": name, **settings, **overrides}
    return make_model(**keys)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_with_miims_and_embeds_both_modalities(family):
    model = build(family)
    assert model.backbone.channels == FAMILIES[family][1]
    *_, third, fourth = model.backbone.probe((64, 32))
    assert (third.shape[2:] == fourth.shape[2:]) == (family != "Swin")  # the last stride is removed
    losses = model.train()(make_batch())
    sum(losses.values()).backward()
    left = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert left == []  # DistributedDataParallel refuses those
    for stage in "1234":
        gradients = [p.grad for p in model.backbone.miims[stage].parameters()]
        assert any(gradient.abs().sum() > 0 for gradient in gradients)
    images, model = make_batch()["images"][:2], settle(model)
    for modality in (VISIBLE, INFRARED):
        parts = model.embed_parts(images, modality)
        assert {group: part.shape[1] for group, part in parts.items()} == model.part_dims
        assert all(torch.isfinite(part).all() for part in parts.values())
    assert_maps_are_those_of_timm(model.backbone, FAMILIES[family][2])


@torch.no_grad()
def assert_maps_are_those_of_timm(backbone, third):
    """Without MIIMs: ``forward_intermediates`` is timm's own way to the maps of any network."""
    backbone.miims = nn.ModuleDict()
    images = torch.rand(2, 3, 64, 32)
    levels = backbone(images, 1)
    maps = backbone.network.forward_intermediates(images, intermediates_only=True)
    assert torch.equal(levels["main"], maps[-1])
    assert torch.equal(levels["auxiliary"], maps[third])


def test_tokens_become_a_map_row_by_row_and_back():
    tokens = torch.arange(2 * 7 * 3).reshape(2, 7, 3)  # one class token, 3 x 2 places
    layout = Tokens(1, lambda size: (size[0] // 16, size[1] // 16))
    found = layout.to_map(tokens, (48, 32))
    for row in range(3):
        for column in range(2):
            assert torch.equal(found[:, :, row, column], tokens[:, 1 + 2 * row + column])
    assert torch.equal(layout.from_map(found, tokens), tokens)
    changed = layout.from_map(found + 100, tokens)
    assert torch.equal(changed[:, 0], tokens[:, 0])
    assert torch.equal(changed[:, 1:], tokens[:, 1:] + 100)


def test_channels_last_are_put_first_and_back():
    features = torch.rand(2, 4, 3, 5)
    found = ChannelsLast().to_map(features, (0, 0))
    assert torch.equal(found[1, 2], features[1, :, :, 2])
    assert torch.equal(ChannelsLast().from_map(found, features), features)


def test_weights_of_another_input_size_are_resized_as_timm_does(tmp_path):
    whole = timm.create_model("vit_tiny_patch16_224").state_dict()
    torch.save(whole, tmp_path / "vit.pth")
    path = {
        "MODEL__BACKBONE__PRETRAIN": "True",
        "MODEL__BACKBONE__PRETRAIN_PATH": tmp_path / "vit.pth",
    }
    network = build("ViT", **path).backbone.network
    theirs = timm.create_model(
        "vit_tiny_patch16_224",
        pretrained=True,
        img_size=(64, 32),
        pretrained_cfg_overlay={"state_dict": whole},
    )
    assert torch.allclose(network.pos_embed, theirs.pos_embed, atol=1e-6)
    assert torch.equal(network.blocks[5].mlp.fc1.weight, whole["blocks.5.mlp.fc1.weight"])


def test_file_may_hold_classifiers_and_a_norm_whose_name_begins_like_one(tmp_path):
    network = nn.Sequential(OrderedDict(block=nn.Linear(2, 2), fc_norm=nn.LayerNorm(2)))
    whole = {name: torch.rand_like(tensor) for name, tensor in network.state_dict().items()}
    classifiers = {"fc.weight": torch.zeros(5, 2), "head_dist.weight": torch.zeros(5, 2)}
    torch.save(whole | classifiers, tmp_path / "whole.pth")
    load_network_weights(network, tmp_path / "whole.pth", CLASSIFIERS)
    assert torch.equal(network.fc_norm.weight, whole["fc_norm.weight"])


def test_size_that_patches_do_not_fill_is_refused_with_local_weights_too(tmp_path):
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "vit.pth")
    path = {
        "MODEL__BACKBONE__PRETRAIN": "True",
        "MODEL__BACKBONE__PRETRAIN_PATH": tmp_path / "vit.pth",
    }
    with pytest.raises(
        ValueError, match=r"SIZE_TRAIN = \(64, 24\): expected multiples of the patch"
    ):
        build("ViT", **path, INPUT__SIZE_TRAIN="[64, 24]")


@pytest.mark.parametrize(
    ("family", "overrides", "message"),
    [
        (
            "EfficientNet",
            {"MIIM__NUM_HEADS": 8},
            r"MIIM.NUM_HEADS = 8 after Block 1 .* 12 channels .* values fit: 1, 2, 3, 4, 6, 12\.",
        ),
        ("ViT", {"MIIM__STRIDE": "(4, 2, 1, 1)"}, r"STRIDE = 4 after Block 1 .* 4 x 2 feature map"),
        ("ViT", {"MAIN__STRIPES": 5}, r"MAIN.STRIPES = 5 stripes do not fit into the 4 rows"),
        ("ViT", {"INPUT__SIZE_TEST": "[80, 32]"}, r"SIZE_TEST = \[80, 32\]: VisionTransformer"),
        (
            "ViT",
            {"INPUT__SIZE_TRAIN": "[64, 24]"},
            r"SIZE_TRAIN = \(64, 24\): expected multiples of the patch size \(16, 16\)",
        ),
        (
            "Swin",
            {"MODEL__BACKBONE__LAST_STRIDE": 1},
            "Block 4 of SwinTransformer .* LAST_STRIDE to 2",
        ),
        ("ResNet", {"MODEL__BACKBONE__ARCHITECTURE": "resnet19"}, "ARCHITECTURE = 'resnet19'"),
        ("ResNet", {"MODEL__BACKBONE__ARCHITECTURE": "resnet26d"}, "Block 4 of ResNet has strides"),
        ("ResNet", {"MODEL__BACKBONE__ARCHITECTURE": "levit_128s"}, "lists 3 of its Blocks"),
        ("ResNet", {"MODEL__BACKBONE__ARCHITECTURE": "hiera_tiny_224"}, "each give a feature map"),
    ],
)
def test_what_does_not_fit_names_the_key(family, overrides, message):
    with pytest.raises(ValueError, match=message):
        build(family, **overrides)


def test_a_missing_timm_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ValueError, match=r"needs timm: pip install 'wrimnet\[timm\]'"):
        build("ResNet")
