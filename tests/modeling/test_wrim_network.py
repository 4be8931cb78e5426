"""The network that a configuration asks for: modules, shapes, embeddings, refusals."""

import inspect

import wrimnet.compat  # noqa: F401

import pytest
import torch
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from fastreid.modeling.heads import REID_HEADS_REGISTRY
from source_tree import ROOT
from tiny_models import NUM_CLASSES, make_batch, make_model, model_cfg, settle
from torch import nn

from wrimnet.layers.miim import MIIM
from wrimnet.layers.per_modality import PerModality
from wrimnet.losses.total import Attached
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.modeling.aicl_head import AICLHead, HeadOutput, LevelOutput
from wrimnet.modeling.weights import without_training_only
from wrimnet.modeling.wrim_net import WRIMNet
from wrimnet.modeling.wrim_resnet import build_wrim_resnet_backbone

PLACEMENTS = {
    "paper": ((1, 2), (3, 4)),
    "none": ((), ()),
    "only_1": ((1,), ()),
    "only_4": ((), (4,)),
    "all_shared": ((), (1, 2, 3, 4)),
    "all_separate": ((1, 2, 3, 4), ()),
    "unsorted": ((4, 1), (3,)),
}


def train_once(model, **shape):
    losses = model.train()(make_batch(**shape))
    sum(losses.values()).backward()
    return losses


@pytest.mark.parametrize("depth", ["18x", "34x", "50x", "101x"])
def test_every_depth_trains_and_embeds(depth):
    model = make_model(MODEL__BACKBONE__DEPTH=depth)
    losses = train_once(model)
    assert all(loss.isfinite() for loss in losses.values())
    channels = {"18x": 512, "34x": 512}.get(depth, 2048)
    expected = {"global": channels, "stripes": 2 * channels, "auxiliary": channels // 2}
    assert model.part_dims == expected
    with torch.no_grad():
        embedding = model.eval()(make_batch())
    assert embedding.shape == (8, sum(expected.values()))
    assert all(type(p) is nn.Parameter for p in model.parameters())


@pytest.mark.parametrize(("separate", "shared"), PLACEMENTS.values(), ids=PLACEMENTS)
def test_stage_lists_place_the_blocks(separate, shared):
    model = make_model(MIIM__SEPARATE_STAGES=separate, MIIM__SHARED_STAGES=shared)
    miims = model.backbone.miims
    assert sorted(miims) == sorted(map(str, (*separate, *shared)))
    assert all(type(miims[str(stage)]) is PerModality for stage in separate)
    assert all(type(miims[str(stage)]) is MIIM for stage in shared)
    copies = sum(isinstance(module, MIIM) for module in miims.modules())
    assert copies == 2 * len(separate) + len(shared)
    train_once(model)


def test_separate_copies_start_differently_and_share_nothing():
    model = make_model()
    one, other = (list(copy.parameters()) for copy in _copies(model.backbone.miims["1"]))
    assert {id(p) for p in one}.isdisjoint(id(p) for p in other)
    weights = [(a, b) for a, b in zip(one, other, strict=True) if a.ndim > 1]
    assert not any(torch.equal(a, b) for a, b in weights)


def _copies(per_modality):
    return [module for module in per_modality.modules() if isinstance(module, MIIM)]


@pytest.mark.parametrize("modality", [VISIBLE, INFRARED])
def test_separate_copies_see_only_their_modality(modality):
    model = make_model()
    batch = make_batch()
    chosen = batch["modality"] == modality
    model.train()(batch)
    visible, infrared = _copies(model.backbone.miims["1"])
    model.raw_losses.clear()
    features = model.backbone.layer1(torch.randn(8, 64, 16, 8))
    placed = model.backbone.miims["1"](features, 4)
    alone = (visible if modality == VISIBLE else infrared)(features[chosen])
    torch.testing.assert_close(placed[chosen], alone)


@pytest.mark.parametrize("fusion", ["sigmoid", "multiply", "add"])
def test_fusions_train_and_differ(fusion):
    model = make_model(MIIM__FUSION=fusion)
    others = {"sigmoid", "multiply", "add"} - {fusion}
    total = float(sum(train_once(model).values()).detach())
    for other in others:
        same_start = make_model(MIIM__FUSION=other)
        assert total != pytest.approx(float(sum(train_once(same_start).values()).detach()))


@pytest.mark.parametrize(("main", "auxiliary"), [(0, 0), (1, 0), (2, 0), (4, 2), (3, 4)])
def test_stripes_have_their_own_necks_and_classifiers(main, auxiliary):
    model = make_model(MAIN__STRIPES=main, AUXILIARY__STRIPES=auxiliary)
    heads = model.heads
    assert len(heads.main.necks) == len(heads.main.classifiers) == main + 1
    assert len(heads.auxiliary.necks) == len(heads.auxiliary.classifiers) == auxiliary + 1
    expected = {"global": 512, "stripes": 512 * main, "auxiliary": 256 * (auxiliary + 1)}
    assert model.part_dims == {name: dim for name, dim in expected.items() if dim}
    parts = settle(model).embed_parts(make_batch()["images"], VISIBLE)
    assert {name: part.shape[1] for name, part in parts.items()} == model.part_dims


def test_without_the_auxiliary_level_nothing_of_it_is_left():
    model = make_model(AUXILIARY__ENABLED=False)
    assert model.heads.auxiliary is None
    assert model.part_dims == {"global": 512, "stripes": 1024}
    assert set(train_once(model)) == {"loss_cls", "loss_tri", "loss_cmkic"}
    assert make_model().state_dict().keys() - model.state_dict().keys() == {
        name for name in make_model().state_dict() if name.startswith("heads.auxiliary")
    }


def test_classifier_and_neck_are_those_of_the_method():
    head = make_model().heads.main
    assert all(layer.bias is None for layer in head.classifiers)
    assert all(layer.out_features == NUM_CLASSES for layer in head.classifiers)
    assert float(head.classifiers[0].weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert not any(neck.bias.requires_grad for neck in head.necks)
    assert all(neck.weight.requires_grad for neck in head.necks)
    kinds = [type(layer) for layer in head.projection]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert (head.projection[0].out_features, head.projection[3].out_features) == (512, 128)


@pytest.mark.parametrize("dataset", ["LLCM", "RegDB", "SYSU"])
def test_baseline_is_the_plain_backbone_with_one_neck_and_classifier(dataset):
    file = str(ROOT / "configs" / dataset / "baseline.yml")
    model = make_model(file, MODEL__BACKBONE__DEPTH="50x")
    backbone = sum(p.numel() for p in model.backbone.parameters())
    assert backbone == 23_508_032  # torchvision's ResNet-50 has 25,557,032, 2,049,000 of them in fc
    assert len(model.backbone.miims) == 0
    head = {name: tuple(p.shape) for name, p in model.heads.named_parameters()}
    assert head == {
        "main.necks.0.weight": (2048,),
        "main.necks.0.bias": (2048,),
        "main.classifiers.0.weight": (NUM_CLASSES, 2048),
    }
    assert set(train_once(model)) == {"loss_cls", "loss_tri"}


def test_full_size_maps_and_tokens_are_those_of_the_paper():
    """384x144: token grid 24x9 and 24 regions after every Block; computed without memory."""
    cfg = model_cfg(str(ROOT / "configs/LLCM/wrim.yml"), INPUT__SIZE_TRAIN="[384, 144]")
    cfg.defrost()
    cfg.MODEL.BACKBONE.DEPTH = "50x"
    with torch.device("meta"):
        backbone = build_wrim_resnet_backbone(cfg)
    grids = []
    for module in backbone.modules():
        if isinstance(module, MIIM):
            module.compression.compress.register_forward_hook(
                lambda _, __, output: grids.append(tuple(output.shape[1:]))
            )
    levels = backbone(torch.empty(4, 3, 384, 144, device="meta"), 2)
    channels = [128, 128, 256, 256, 256, 512]  # C/r, twice for each separate Block
    assert grids == [(width, 24, 9) for width in channels]
    assert levels["main"].shape == (4, 2048, 24, 9)
    assert levels["auxiliary"].shape == (4, 1024, 24, 9)


def test_parts_are_unit_features_in_the_order_global_stripes_auxiliary():
    """The features after the BN-necks, whose statistics are not the initial mean 0, variance 1."""
    model = settle(make_model(AUXILIARY__STRIPES=2))
    images = make_batch()["images"]
    for neck in (*model.heads.main.necks, *model.heads.auxiliary.necks):
        nn.init.normal_(neck.running_mean)
    with torch.no_grad():
        parts = model.embed_parts(images, INFRARED)
        levels = model.backbone(model.preprocess_image(images), 0)
        output = model.heads(levels, 0)
    assert list(parts) == ["global", "stripes", "auxiliary"]
    for name, width, count in (("global", 512, 1), ("stripes", 512, 2), ("auxiliary", 256, 3)):
        features = parts[name].view(8, count, width)
        torch.testing.assert_close(features.norm(dim=2), torch.ones(8, count))
    main, auxiliary = output.main.necks, output.auxiliary.necks
    for name, necks in (("global", main[:1]), ("stripes", main[1:]), ("auxiliary", auxiliary)):
        expected = [neck / neck.norm(dim=1, keepdim=True) for neck in necks]
        torch.testing.assert_close(parts[name], torch.cat(expected, dim=1))


@pytest.mark.parametrize(
    "selected", [("global", "stripes", "auxiliary"), ("global",), ("auxiliary", "global")]
)
def test_embedding_joins_the_selected_groups_to_unit_length(selected):
    model = settle(make_model(EMBEDDING_PARTS=selected))
    batch = make_batch()
    visible = {**batch, "modality": torch.zeros(8, dtype=torch.int64)}
    with torch.no_grad():
        embedding = model(visible)
        parts = model.embed_parts(batch["images"], VISIBLE)
    in_order = [name for name in ("global", "stripes", "auxiliary") if name in selected]
    joined = torch.cat([parts[name] for name in in_order], dim=1)
    torch.testing.assert_close(embedding, joined / joined.norm(dim=1, keepdim=True))


def test_mixed_batch_embeds_as_its_two_modalities_alone():
    model = settle(make_model())
    batch = make_batch()
    with torch.no_grad():
        mixed = model(batch)
        visible = model({k: v[:4] for k, v in batch.items()})
        infrared = model({k: v[4:] for k, v in batch.items()})
        as_infrared = model({**batch, "modality": torch.ones(8, dtype=torch.int64)})
    torch.testing.assert_close(mixed, torch.cat([visible, infrared]), rtol=1e-4, atol=1e-5)
    assert (mixed[:4] - as_infrared[:4]).abs().max() > 1e-3  # the modality does matter


def test_embedding_of_an_image_does_not_depend_on_its_batch():
    model = settle(make_model())
    batch = make_batch()
    with torch.no_grad():
        together = model.embed_parts(batch["images"], VISIBLE)
        alone = model.embed_parts(batch["images"][2:3], VISIBLE)
    for name, part in together.items():
        torch.testing.assert_close(part[2:3], alone[name], rtol=1e-4, atol=1e-5)


def test_bytes_and_pixel_floats_give_the_same():
    model = settle(make_model())
    images = make_batch()["images"]
    floats = images.permute(0, 3, 1, 2).float()
    with torch.no_grad():
        torch.testing.assert_close(
            model.embed_parts(images, VISIBLE)["global"],
            model.embed_parts(floats, VISIBLE)["global"],
        )


def test_evaluation_leaves_weights_statistics_and_batch_alone():
    model = settle(make_model())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batch = make_batch()
    kept = {name: tensor.clone() for name, tensor in batch.items()}
    with torch.no_grad():
        model(batch)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(batch[name], kept[name]) for name in batch)


@pytest.mark.parametrize("training", [True, False])
def test_unsorted_batch_is_refused(training):
    model, batch = make_model().train(training), make_batch()
    batch["modality"] = batch["modality"].flip(0)
    with pytest.raises(ValueError, match="visible images must precede infrared ones"):
        model(batch)


@pytest.mark.parametrize("wrong", [[0, 0, 0, 0, 1, 1, 1, 2], [-1, 0, 0, 0, 1, 1, 1, 1], []])
def test_value_that_is_no_modality_is_refused(wrong):
    batch = {**make_batch(), "modality": torch.tensor(wrong)}
    with pytest.raises(ValueError, match=r"expected 0 \(visible\) or 1 \(infrared\)"):
        make_model()(batch)


def test_embedding_of_an_unknown_modality_is_refused():
    with pytest.raises(ValueError, match="modality 2: expected 0 or 1"):
        make_model().eval().embed_parts(make_batch()["images"], 2)


def test_batch_of_one_modality_is_refused_in_training():
    batch = {**make_batch(), "modality": torch.zeros(8, dtype=torch.int64)}
    with pytest.raises(ValueError, match="modality"):
        make_model().train()(batch)


@pytest.mark.parametrize("wrong", ["()", '("local",)'])
def test_unknown_embedding_part_is_refused(wrong):
    with pytest.raises(ValueError, match=r"EMBEDDING_PARTS = .*: expected some of"):
        make_model(EMBEDDING_PARTS=wrong)


def test_embedding_of_parts_that_do_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"EMBEDDING_PARTS = .*the network has only \['global'\]"):
        make_model(EMBEDDING_PARTS='("stripes",)', MAIN__STRIPES=0, AUXILIARY__ENABLED=False)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"MIIM__REDUCTION": "(2, 2, 3, 4)"},
            r"MIIM.REDUCTION = 3 after Block 3 does not divide the 256 channels of its map; "
            "these values fit: 1, 2, 4, 8, 16",
        ),
        (
            {"MIIM__NUM_HEADS": "(8, 5, 8, 8)"},
            r"MIIM.NUM_HEADS = 5 after Block 2 does not divide the 64 channels inside, 128 / 2; "
            "these values fit: 1, 2, 4, 8, 16, 32, 64. One value per Block is a tuple of four",
        ),
    ],
)
def test_impossible_block_is_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        make_model(**overrides)


class Halving(torch.nn.Module):
    def forward(self, features, restored):
        return features[:, ::2]


@pytest.mark.parametrize("stage", [2, 4])
def test_fusion_of_another_shape_is_named_with_its_module(stage):
    model = make_model()
    block = model.backbone.miims[str(stage)]
    for one in (block.visible, block.infrared) if stage == 2 else (block,):
        one.fusion = Halving()
    place = rf"\({__file__}, line {inspect.getsourcelines(Halving)[1]}\)"
    message = rf"after Block {stage}, MIIM of wrimnet.*layers.miim.py, line \d+\) with the fusion "
    message += rf"Halving of {__name__} {place} made"
    with pytest.raises(ValueError, match=message):
        train_once(model)


def test_what_is_not_attached_is_named():
    with pytest.raises(KeyError, match=r"'color' is not attached .* attaches \['text'\]"):
        Attached({"text": ["a"]})["color"]


def test_training_without_identities_is_refused():
    model = make_model(MODEL__HEADS__NUM_CLASSES=0)
    assert len(model.heads.main.classifiers) == 0
    with pytest.raises(ValueError, match="NUM_CLASSES = 0: the network has no classifier"):
        model.train()(make_batch())


def test_network_without_a_loss_term_is_refused():
    weights = {f"{of}__WEIGHT": "0.0" for of in ("CLASSIFICATION", "TRIPLET", "CMKIC")}
    with pytest.raises(ValueError, match=r"no loss term has a weight above 0; set one of MODEL.WR"):
        model_cfg(**weights)


def test_block_in_two_lists_is_refused_with_a_backbone_of_ones_own():
    BACKBONE_REGISTRY._do_register("build_own", lambda cfg: None)
    with pytest.raises(ValueError, match="expected Blocks 1 to 4, each at most once"):
        model_cfg(MODEL__BACKBONE__NAME="build_own", MIIM__SHARED_STAGES="(2, 3)")


def test_backbone_is_evaluated_whole_whatever_its_modules_are_called():
    used = (
        "backbone.network.token_projection.weight",
        "heads.main.necks.0.weight",
        "heads.feature_projection.weight",
    )
    others = ("heads.main.projection.0.weight", "heads.main.classifiers.0.weight")
    tensors = dict.fromkeys((*used, *others), torch.zeros(1))
    assert tuple(without_training_only(WRIMNet, tensors)) == used


@REID_HEADS_REGISTRY.register()
class PlainHead(nn.Module):
    """A head of another structure than AICLHead's, as its module describes them."""

    part_names = ("global",)

    def __init__(self, cfg, channels):
        super().__init__()
        self.part_dims = {"global": channels["main"]}
        self.classifiers = nn.Linear(channels["main"], cfg.MODEL.HEADS.NUM_CLASSES)

    def forward(self, levels, num_visible):
        pooled = levels["main"].mean((2, 3))
        return HeadOutput(LevelOutput(pooled, [], [self.classifiers(pooled)], None), None, None)


def test_head_of_another_structure_is_trained_and_its_labels_are_checked():
    keys = {"MODEL__HEADS__NAME": "PlainHead", "CMKIC__WEIGHT": "0.0", "AUXILIARY__WEIGHT": "0.0"}
    model = make_model(**keys, EMBEDDING_PARTS="('global',)")
    assert set(train_once(model)) == {"loss_cls", "loss_tri"}
    batch = make_batch()
    with pytest.raises(ValueError, match=rf"target {NUM_CLASSES}; expected 0..{NUM_CLASSES - 1}"):
        model({**batch, "targets": batch["targets"] + NUM_CLASSES - 1})


@pytest.mark.parametrize("max_pool", ["fastreid", "torchvision"])
def test_recomputing_blocks_changes_no_loss_no_gradient_and_no_statistic(max_pool):
    results = []
    for enabled in (False, True):
        model = make_model(
            SOLVER__ACTIVATION_CHECKPOINTING=enabled,
            MODEL__BACKBONE__MAX_POOL=max_pool,
            MIIM__NORM="entrance",
        )
        losses = train_once(model)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        results.append((list(losses.values()), gradients, list(model.buffers())))
    torch.testing.assert_close(*results)


def test_network_is_built_from_keyword_arguments_too():
    built = make_model()
    model = WRIMNet(
        backbone=built.backbone,
        heads=AICLHead(main=built.heads.main, auxiliary=None, part_dims={"global": 512}),
        terms={name: built.terms[name] for name in ("cls", "tri", "cmkic")},
        embedding_parts=("global",),
        pixel_mean=(0.0, 0.0, 0.0),
        pixel_std=(1.0, 1.0, 1.0),
    )
    assert set(train_once(model)) == {"loss_cls", "loss_tri", "loss_cmkic"}
