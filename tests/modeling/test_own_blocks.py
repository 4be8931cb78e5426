"""A block, a fusion and a custom head, by their names in a configuration."""

import sys

import wrimnet.compat  # noqa: F401

import pytest
import torch
from fastreid.modeling.heads import REID_HEADS_REGISTRY
from source_tree import ROOT
from tiny_models import NUM_CLASSES, make_batch, make_model, model_cfg
from torch import nn

from wrimnet.config import config_hash
from wrimnet.layers import MIIM
from wrimnet.modality import VISIBLE
from wrimnet.modeling.aicl_head import AICLHead
from wrimnet.modeling.miims import build_miim_options, build_miims
from wrimnet.registries import MIIM_REGISTRY

sys.path.append(str(ROOT / "examples" / "own_method"))
from own_method.film import FiLMMIIM


@MIIM_REGISTRY.register()
class Bottleneck(nn.Module):
    """A block that shares nothing with MIIM, with a setting from the configuration."""

    def __init__(self, channels, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1)
        )

    @classmethod
    def from_config(cls, cfg, stage, channels):
        return {"channels": channels, "width": cfg.MODEL.WRIM.MIIM.REGION_SIZE + stage}

    def forward(self, features):
        return features + self.layers(features)


@MIIM_REGISTRY.register()
class DropoutMIIM(MIIM):
    def fuse(self, features, restored):
        return super().fuse(features, nn.functional.dropout(restored))


def test_recomputing_a_block_that_draws_numbers_changes_no_gradient():
    gradients = []
    for enabled in (False, True):
        keys = {"MIIM__NAME": "DropoutMIIM", "MIIM__FUSION": "add"}
        model = make_model(**keys, SOLVER__ACTIVATION_CHECKPOINTING=enabled)
        torch.manual_seed(3)
        sum(model.train()(make_batch()).values()).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients)


@MIIM_REGISTRY.register()
class WideMIIM(MIIM):
    @classmethod
    def from_config(cls, cfg, stage, channels):
        return build_miim_options(cfg, stage, channels) | {"reduction": 1}


@REID_HEADS_REGISTRY.register()
class ModalityHead(AICLHead):
    """Adds a bias to the global feature of infrared images."""

    def forward(self, levels, num_visible):
        output = super().forward(levels, num_visible)
        infrared = torch.arange(len(levels["main"]), device=levels["main"].device) >= num_visible
        necks = [neck + 100.0 * infrared[:, None] for neck in output.main.necks]
        return output._replace(main=output.main._replace(necks=necks))


CHANNELS = (16, 16, 32, 32)


def blocks_of(**overrides):
    """The block after each Block; of separate ones that of infrared images."""
    miims = build_miims(model_cfg(**overrides), CHANNELS)
    return [getattr(miim, "infrared", miim) for miim in miims.values()]


def train_once(blocks):
    for block, channels in zip(blocks, CHANNELS, strict=True):
        block(torch.rand(2, channels, 4, 4)).square().sum().backward()
        assert all(parameter.grad is not None for parameter in block.parameters())


def test_block_of_ones_own_takes_the_place_of_miim_everywhere():
    blocks = blocks_of(MIIM__NAME="FiLMMIIM")
    assert {type(block) for block in blocks} == {FiLMMIIM}
    train_once(blocks)
    features, block = torch.rand(2, 32, 4, 2), blocks[3]
    restored = block.restore(block.interact(*block.compress(features)), (4, 2))
    expected = features * (1 + block.scale(restored)) + restored
    assert torch.equal(block(features), expected)


def test_name_may_be_given_per_block():
    blocks = blocks_of(MIIM__NAME="('MIIM', 'Bottleneck', 'FiLMMIIM', 'WideMIIM')")
    assert [type(block) for block in blocks] == [MIIM, Bottleneck, FiLMMIIM, WideMIIM]
    assert blocks[1].layers[0].out_channels == 3 + 2
    assert blocks[3].restoration.expand.in_features == 32
    train_once(blocks)


def test_fusion_of_ones_own_is_inside_miim():
    blocks = blocks_of(MIIM__FUSION="FiLM")
    assert [block.fusion.scale.in_channels for block in blocks] == [*CHANNELS]
    train_once(blocks)


def test_names_of_the_default_change_neither_hash_nor_parameters():
    assert config_hash(model_cfg(MIIM__NAME="MIIM")) == config_hash(model_cfg())
    assert config_hash(model_cfg(MIIM__NAME="FiLMMIIM")) != config_hash(model_cfg())
    states = []
    for words in ({}, {"MIIM__NAME": ("MIIM",) * 4}):
        torch.manual_seed(0)
        states.append(build_miims(model_cfg(**words), CHANNELS).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0] | states[1])


def test_later_layer_may_give_one_value_where_an_earlier_gave_four(tmp_path):
    base = tmp_path / "base.yml"
    base.write_text(
        "MODEL: {WRIM: {MIIM: {NUM_HEADS: [1, 2, 4, 8], NAME: [MIIM, MIIM, MIIM, FiLMMIIM]}}}"
    )
    cfg = model_cfg(str(base)).MODEL.WRIM.MIIM
    assert (cfg.NUM_HEADS, cfg.NAME) == ((1, 2, 4, 8), ("MIIM", "MIIM", "MIIM", "FiLMMIIM"))
    cfg = model_cfg(str(base), MIIM__NUM_HEADS=2, MIIM__NAME="MIIM").MODEL.WRIM.MIIM
    assert (cfg.NUM_HEADS, cfg.NAME) == (2, "MIIM")


def test_heads_may_differ_by_block():
    blocks = blocks_of(MIIM__NUM_HEADS="(1, 2, 4, 8)")
    assert [block.interaction.num_heads for block in blocks] == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"MIIM__NAME": "MIM"}, r"MIIM.NAME = 'MIM': expected one of .*MIIM.* named in PLUGINS"),
        ({"MIIM__FUSION": "gate"}, r"FUSION = 'gate': expected one of FiLM, add, multiply, sigm"),
        ({"MIIM__NAME": "('MIIM', 'MIIM')"}, r"MIIM.NAME = \('MIIM', 'MIIM'\): expected one value"),
        ({"MIIM__NAME": "()"}, r"MIIM.NAME = \(\): expected one value or 4 of them"),
        ({"MIIM__NUM_HEADS": "(8, 8)"}, r"NUM_HEADS = \(8, 8\): expected one value or 4 of them"),
        ({"MIIM__NUM_HEADS": "(0, 1, 1, 1)"}, r"NUM_HEADS = .*: expected numbers in \[1, 1e9\]"),
        ({"MIIM__NUM_HEADS": "(1, 1, 1, 'a')"}, r"NUM_HEADS = .* in the overrides: expected a"),
    ],
)
def test_names_and_numbers_that_do_not_fit_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        model_cfg(**overrides)


def test_head_adds_a_branch_with_its_own_classifier_and_part():
    names = ("global", "maxpool")
    model = make_model(
        MODEL__MAXPOOL__WEIGHT=0.5,
        PLUGINS="('own_method.maxpool',)",
        MODEL__HEADS__NAME="MaxPoolHead",
        EMBEDDING_PARTS=names,
    )
    batch = make_batch(height=32, width=16)
    losses = model.train()(batch)
    losses["loss_maxpool"].backward()
    classifier = model.heads.maxpool.classifiers[0].weight
    assert classifier.shape == (NUM_CLASSES, 512) and classifier.grad.abs().sum() > 0
    assert model.embedding_parts == names
    parts = model.eval().embed_parts(batch["images"], VISIBLE)
    assert {name: part.shape[1] for name, part in parts.items()} == model.part_dims
    assert model(batch).shape == (8, 1024)


def test_head_sees_which_images_are_visible():
    head = ModalityHead(model_cfg(), channels={"main": 8, "auxiliary": 4}).eval()
    levels = {"main": torch.rand(3, 8, 4, 2), "auxiliary": torch.rand(3, 4, 4, 2)}
    plain, changed = (head(levels, num_visible).main.necks[0] for num_visible in (3, 1))
    torch.testing.assert_close(
        changed - plain, torch.tensor([[0.0], [100.0], [100.0]]).expand(3, 8)
    )
