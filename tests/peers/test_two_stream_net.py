"""The peers' network: its parts against literal forms, what YAML combines, what is refused."""

import wrimnet.compat  # noqa: F401

import pytest
import torch
from fastreid.modeling import build_model
from source_tree import ROOT
from torch.nn import functional as F

from wrimnet.config import build_network_settings, setup_cfg
from wrimnet.data.augmentation_list import build_augmentation
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.modeling.weights import NETWORK, check_network
from wrimnet.peers.embedding_expansion import PositionAggregation
from wrimnet.peers.non_local import NonLocalBlock
from wrimnet.peers.two_stream_net import generalized_mean_pool

SMALL = ("MODEL.DEVICE=cpu", "MODEL.HEADS.NUM_CLASSES=3")


def make_cfg(config, *words):
    return setup_cfg(str(ROOT / "configs" / "Synthetic" / f"{config}.yml"), (), [*SMALL, *words])


def make_batch(pids=3, instances=2):
    size, drawn = pids * instances, torch.Generator().manual_seed(0)
    labels = torch.arange(pids).repeat_interleave(instances).repeat(2)
    return {
        "images": torch.randint(0, 256, (2 * size, 64, 24, 3), generator=drawn, dtype=torch.uint8),
        "targets": labels,
        "labels": labels,
        "modality": torch.tensor([VISIBLE, INFRARED]).repeat_interleave(size),
        "iteration": 0,
    }


def train_once(cfg):
    """Returns the network and its losses, after one backward pass."""
    torch.manual_seed(0)
    network = build_model(cfg).train()
    losses = network(build_augmentation(cfg).augment(make_batch()))
    sum(losses.values()).backward()
    return network, losses


@pytest.mark.parametrize(
    ("config", "terms"),
    [
        ("two_stream", {"cls", "tri"}),
        ("agw", {"cls", "wrt"}),
        ("caj", {"cls", "wrt"}),
        ("deen", {"cls", "tri", "cpm", "ort"}),
    ],
)
def test_every_parameter_of_a_method_is_trained(config, terms):
    network, losses = train_once(make_cfg(config))
    assert set(losses) == {f"loss_{name}" for name in terms}
    assert all(loss.isfinite() for loss in losses.values())
    left = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert left == []


@pytest.mark.parametrize("word", ["INPUT.AUGMENTATION=default", "INPUT.CHANNELS.TWO_VIEWS=False"])
def test_divergence_of_two_views_needs_them(word):
    weight = "MODEL.TWO_STREAM.VIEWS.WEIGHT=1"
    _, losses = train_once(make_cfg("caj", weight))
    assert set(losses) == {"loss_cls", "loss_wrt", "loss_views"}
    with pytest.raises(
        ValueError, match=r"VIEWS.WEIGHT = 1.0 compares two views .* EXPAND_AFTER 0"
    ):
        make_cfg("caj", weight, word)


def test_wrim_parts_in_the_network_of_agw():
    words = ("MODEL.WRIM.MIIM.SEPARATE_STAGES=(1, 2)", "MODEL.WRIM.MIIM.SHARED_STAGES=(3, 4)")
    network, losses = train_once(make_cfg("agw", *words, "MODEL.WRIM.MIIM.STRIDE=(2, 1, 1, 1)"))
    assert set(losses) == {"loss_cls", "loss_wrt"}
    assert [n for n, p in network.backbone.miims.named_parameters() if p.grad is None] == []
    assert set(network.backbone.miims) == set("1234")


def test_channel_augmentation_and_two_stream_stem_under_wrim_net():
    words = ('PLUGINS=("wrimnet.peers",)', "INPUT.AUGMENTATION=build_channel_augmentation")
    words += ("INPUT.CHANNELS.TWO_VIEWS=True", "INPUT.CHANNELS.ADAPTATION=True")
    _, losses = train_once(make_cfg("wrim", *words, "MODEL.WRIM.CMKIC.TOP_K=1"))
    assert set(losses) == {f"loss_{n}" for n in ("cls", "tri", "cmkic", "cls_aux", "tri_aux")}
    backbone = "MODEL.BACKBONE.NAME=build_two_stream_backbone"
    network, _ = train_once(make_cfg("wrim", words[0], backbone, "MODEL.WRIM.CMKIC.TOP_K=1"))
    assert network.backbone.stem.visible.conv1.weight.grad is not None


AICL = ("MODEL.HEADS.NAME=AICLHead", "MODEL.WRIM.EMBEDDING_PARTS=('global', 'stripes')")


def test_another_head_under_the_two_stream_network():
    network, losses = train_once(make_cfg("two_stream", *AICL, "MODEL.WRIM.MAIN.STRIPES=2"))
    assert set(losses) == {"loss_cls", "loss_tri"}
    trained = [weight for weight in network.heads.parameters() if weight.requires_grad]
    assert all(weight.grad is not None for weight in trained)


@pytest.mark.parametrize("words", [AICL, ("MODEL.META_ARCHITECTURE=WRIMNet",)])
def test_expansion_needs_a_network_and_head_that_take_copies(words):
    off = ("MODEL.TWO_STREAM.CPM.WEIGHT=0", "MODEL.TWO_STREAM.ORTHOGONALITY.WEIGHT=0")
    with pytest.raises(ValueError, match=r"EXPAND_AFTER = 3 .* choose TwoStreamNet and TwoStream"):
        make_cfg("deen", *words, *off)


def test_joined_similarity_is_the_weighted_sum_of_the_parts():
    words = ('MODEL.WRIM.EMBEDDING_PARTS=("pooled", "neck")', "MODEL.TWO_STREAM.POOLED_WEIGHT=0.1")
    network = build_model(make_cfg("agw", *words)).eval()
    batch = make_batch()
    with torch.no_grad():
        joined = network({**batch, "modality": torch.zeros(12)})
        parts = network.embed_parts(batch["images"], VISIBLE)
    pooled, neck = (F.normalize(parts[name], dim=1) for name in ("pooled", "neck"))
    expected = 0.1 * pooled @ pooled.T + 0.9 * neck @ neck.T
    torch.testing.assert_close(joined @ joined.T, expected)


def test_weights_are_tested_with_either_weight_of_their_parts(caplog):
    """The two variants of DEEN's test: one training, two values of the key."""
    trained = {NETWORK: build_network_settings(make_cfg("deen"))}
    check_network(make_cfg("deen", "MODEL.TWO_STREAM.POOLED_WEIGHT=0.1"), trained)
    assert "trained with" not in caplog.text
    with pytest.raises(ValueError, match=r"trained with MODEL\.TWO_STREAM\.EXPAND_AFTER"):
        check_network(make_cfg("deen", "MODEL.TWO_STREAM.EXPAND_AFTER=2"), trained)


def test_range_that_weights_record_is_the_one_of_auto(caplog):
    measured = ("INPUT.INFRARED_RANGE=auto", "INPUT.MEASURED_RANGE=(7000.0, 8500.0)")
    trained = {NETWORK: build_network_settings(make_cfg("agw", *measured))}
    check_network(make_cfg("agw", "INPUT.INFRARED_RANGE=auto"), trained)
    assert "trained with" not in caplog.text
    check_network(make_cfg("agw", "INPUT.INFRARED_RANGE=(0.0, 8500.0)"), trained)
    assert "trained with INPUT.INFRARED_RANGE" in caplog.text


def test_non_local_block_is_attention_over_all_positions():
    block = NonLocalBlock(6, inner=2).double()
    torch.nn.init.normal_(block.project[1].weight)
    features = torch.randn(3, 6, 4, 5, dtype=torch.float64)
    theta, phi, g = (part(features).flatten(2) for part in (block.theta, block.phi, block.g))
    drawn = (theta.mT @ phi / 20) @ g.mT
    expected = features + block.project(drawn.mT.reshape(3, 2, 4, 5))
    torch.testing.assert_close(block(features), expected)


def test_residual_branches_start_at_nothing():
    features = torch.randn(2, 6, 4, 5)
    assert torch.equal(NonLocalBlock(6)(features), features)


def test_gem_is_between_mean_and_maximum():
    features = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    found = generalized_mean_pool(features)
    assert (found >= features.mean((2, 3))).all()
    assert (found <= features.amax((2, 3))).all()
    torch.testing.assert_close(found, (features**3).mean((2, 3)) ** (1 / 3))


def test_gem_of_a_map_that_a_non_local_block_made_negative_is_finite():
    features = (torch.randn(2, 3, 4, 5, dtype=torch.float64) - 2).requires_grad_()
    found = generalized_mean_pool(features)
    torch.testing.assert_close(found, generalized_mean_pool(features.relu()))
    found.sum().backward()
    assert found.isfinite().all() and features.grad.isfinite().all()
    positive = torch.rand(2, 3, 4, 5)
    assert torch.equal(
        generalized_mean_pool(positive), (positive.pow(3).mean((2, 3)) + 1e-12).pow(1 / 3)
    )


def test_maps_that_cannot_be_paired_are_refused():
    aggregation = PositionAggregation(8, 4)
    with pytest.raises(ValueError, match="a 3 x 5 feature map has an odd number of positions"):
        aggregation(torch.zeros(1, 8, 3, 5), torch.zeros(1, 4, 3, 5))


@pytest.mark.parametrize(
    ("config", "word", "sentence"),
    [
        (
            "agw",
            "MODEL.TWO_STREAM.NON_LOCAL=(0, 3, 0, 0)",
            "asks for 3 non-local blocks in Block 2",
        ),
        ("agw", "MODEL.TWO_STREAM.CPM.WEIGHT=1", "compare the copies that DEE makes"),
        ("agw", "MODEL.TWO_STREAM.VIEWS.WEIGHT=1", "compares two views of each visible image"),
        ("agw", "MODEL.WRIM.CMKIC.WEIGHT=0.5", "has one level, without stripes and projection"),
        ("agw", "MODEL.WRIM.MAIN.STRIPES=2", "has one level, without stripes and projection"),
        ("agw", "MODEL.WRIM.AUXILIARY.ENABLED=True", "set CMKIC.WEIGHT 0, AUXILIARY.ENABLED False"),
        ("agw", "MODEL.TWO_STREAM.POOLED_WEIGHT=1", "MODEL.TWO_STREAM.POOLED_WEIGHT = 1.0"),
        ("deen", "MODEL.TWO_STREAM.NUM_BLOCKS=2", "EXPAND_AFTER = 3, expected at most NUM_BLOCKS"),
        ("agw", "MODEL.BACKBONE.WITH_SE=True", "build_two_stream_backbone does not"),
        ("deen", "MODEL.WRIM.MIIM.SEPARATE_STAGES=(4,)", "the batch is three batches"),
        ("deen", "INPUT.SIZE_TEST=[48, 48]", "SIZE_TEST = [48, 48]: the 3 x 3 feature map after"),
        ("deen", "INPUT.SIZE_TRAIN=[40, 24]", "5 x 3 feature map after Block 2 has an odd number"),
        ("agw", "MODEL.WRIM.EMBEDDING_PARTS=('global',)", "expected some of ('pooled', 'neck'"),
    ],
)
def test_what_does_not_fit_is_a_sentence(config, word, sentence):
    with pytest.raises(ValueError) as told:
        build_model(make_cfg(config, word))
    assert sentence in str(told.value)


def test_miims_beyond_the_last_block_are_refused():
    words = ("MODEL.TWO_STREAM.NUM_BLOCKS=3", "MODEL.WRIM.MIIM.SHARED_STAGES=(4,)")
    with pytest.raises(ValueError, match="the network ends after Block"):
        make_cfg("two_stream", *words)


def test_maps_of_the_blocks_that_are_used_hold_the_stripes_and_miims():
    words = ['PLUGINS=("wrimnet.peers",)', "MODEL.BACKBONE.NAME=build_two_stream_backbone"]
    words += ["MODEL.BACKBONE.LAST_STRIDE=2", "MODEL.WRIM.MIIM.SHARED_STAGES=(3,)"]
    words += ["MODEL.WRIM.MAIN.STRIPES=4", "MODEL.TWO_STREAM.NUM_BLOCKS=3"]
    make_cfg("wrim", *words)
    with pytest.raises(ValueError, match="4 stripes do not fit into the 2 rows"):
        make_cfg("wrim", *words, "MODEL.TWO_STREAM.NUM_BLOCKS=4")
    with pytest.raises(ValueError, match="STRIDE = 3 after Block 3 is larger than its 4 x 2"):
        make_cfg("wrim", *words, "MODEL.WRIM.MIIM.STRIDE=(1, 1, 3, 1)")


def test_non_local_branch_keeps_the_layout_of_the_map():
    features = torch.randn(2, 8, 6, 3).to(memory_format=torch.channels_last)
    block, branches = NonLocalBlock(8).to(memory_format=torch.channels_last), []
    block.project.register_forward_hook(lambda module, given, output: branches.append(output))
    block(features)
    assert branches[0].is_contiguous(memory_format=torch.channels_last)
