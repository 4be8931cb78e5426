"""Gates exchanged for others, and the results that a network has then."""

import copy

import pytest
import torch
from torch import nn

from wrimnet.config import setup_cfg
from wrimnet.data.build import build_dataset
from wrimnet.evaluation.evaluator import build_evaluator
from wrimnet.inference.embedder import build_embedder
from wrimnet.lab.gate_study import (
    AS_TRAINED,
    EXCHANGED,
    FIXED,
    PER_IMAGE,
    PER_POSITION,
    exchanged_miims,
    study_gates,
)
from wrimnet.layers import Addition
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.visualization.gates import blocks_without_gate, gated_miims, intercepted_gates


@pytest.fixture(scope="module")
def cfg(finished_run):
    run = finished_run.run
    options = ["MODEL.WEIGHTS", str(run / "model_final.pth")]
    return setup_cfg(str(run / "config.yaml"), options=options)


@pytest.fixture(scope="module")
def model(cfg):
    return build_embedder(cfg).model


@pytest.fixture
def images(cfg):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(
        0, 256, (2, *cfg.INPUT.SIZE_TEST, 3), dtype=torch.uint8, generator=generator
    )


def embedding(model, images, modality=VISIBLE):
    with torch.inference_mode():
        return torch.cat(list(model.embed_parts(images, modality).values()), dim=1)


def test_every_miim_has_its_name(model):
    backbone = model.backbone
    found = gated_miims(model)
    assert [tuple(name) for name in found] == [
        (1, "visible"), (1, "infrared"), (2, "visible"), (2, "infrared"), (3, "shared"),
        (4, "shared"),
    ]  # fmt: skip
    assert found[1, "infrared"] is backbone.miims["1"].infrared
    assert found[4, "shared"] is backbone.miims["4"]


def test_gates_of_one_are_a_network_without_miims(model, images):
    bare = copy.deepcopy(model)
    bare.backbone.miims = nn.ModuleDict()
    with intercepted_gates(model, lambda name, gates: torch.ones_like(gates)):
        found = embedding(model, images)
    torch.testing.assert_close(found, embedding(bare, images))
    assert not torch.allclose(found, embedding(model, images))


def test_only_the_copy_of_the_modality_is_asked(model, images):
    names = []
    with intercepted_gates(model, lambda name, gates: names.append(tuple(name)) or gates):
        embedding(model, images, INFRARED)
    assert names == [(1, "infrared"), (2, "infrared"), (3, "shared"), (4, "shared")]


def test_gates_are_the_models_own_again_after_an_error(model, images):
    before = embedding(model, images)
    broken = intercepted_gates(model, lambda name, gates: gates[:, :, :0])
    with pytest.raises(RuntimeError, match="size of tensor"), broken:
        embedding(model, images)
    assert torch.equal(embedding(model, images), before)


def test_study_replaces_the_gates_by_the_means_it_names(cfg, model):
    evaluator = build_evaluator(cfg, build_dataset(cfg))
    study = study_gates(model, evaluator)
    assert list(study.metrics) == [AS_TRAINED, PER_IMAGE, PER_POSITION, FIXED, EXCHANGED]
    assert study.metrics[AS_TRAINED] == evaluator.run(model).metrics
    num_images = len(evaluator.items)
    gates = {name: [] for name in gated_miims(model)}
    with intercepted_gates(model, lambda name, gate: gates[name].append(gate) or gate):
        evaluator.run(model)
    for name, spread in study.spreads.items():
        every = torch.cat(gates[name]).double()
        assert len(every) == num_images if name.copy == "shared" else len(every) < num_images
        assert spread.variance == pytest.approx(float(every.var(correction=0)), rel=1e-6)
    maps = {name: torch.cat(gate).mean(dim=0, keepdim=True) for name, gate in gates.items()}
    for words, axes in ((PER_POSITION, (0,)), (FIXED, (2, 3))):
        with intercepted_gates(model, lambda name, _, a=axes: maps[name].mean(a, keepdim=True)):
            expected = evaluator.run(model).metrics
        for protocol, values in study.metrics[words].items():
            assert dict(values) == pytest.approx(dict(expected[protocol]), abs=1e-9)


def test_exchanged_miims_serve_the_other_modality_and_return(model, images):
    before = embedding(model, images)
    miims = model.backbone.miims["1"]
    visible, infrared = miims.visible, miims.infrared
    with exchanged_miims(model):
        assert miims.visible is infrared and miims.infrared is visible
        assert not torch.equal(embedding(model, images), before)
    assert torch.equal(embedding(model, images), before)


def test_network_without_miim_has_no_gates(cfg, model):
    bare = copy.deepcopy(model)
    bare.backbone.miims = nn.ModuleDict()
    with pytest.raises(ValueError, match="has no MIIM"):
        study_gates(bare, build_evaluator(cfg, build_dataset(cfg)))


def test_blocks_without_a_gate_are_named(cfg, model):
    other = copy.deepcopy(model)
    other.backbone.miims["1"].visible.fusion = Addition()
    other.backbone.miims["3"] = nn.Identity()
    assert blocks_without_gate(other) == [
        "Block 1, visible: MIIM with Addition",
        "Block 3, shared: Identity",
    ]
    assert [tuple(name) for name in gated_miims(other)] == [
        (1, "infrared"), (2, "visible"), (2, "infrared"), (4, "shared")
    ]  # fmt: skip
    for block in ("1", "2", "4"):
        other.backbone.miims[block] = nn.Identity()
    with pytest.raises(ValueError, match="Without a gate: Block 1, shared: Identity; Block 2"):
        study_gates(other, build_evaluator(cfg, build_dataset(cfg)))
