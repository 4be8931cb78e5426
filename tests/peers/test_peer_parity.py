"""Outputs, loss terms and gradients are those of the official code, in float64, to 1e-9."""

import json
import sys

import wrimnet.compat  # noqa: F401

import pytest
import torch
from convert_official import main as convert_tool
from fastreid.modeling import build_model
from official_fixtures import FOLDER, arrays, described, official_weights, with_counters
from source_tree import ROOT

from wrimnet.config import setup_cfg
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.peers.official_weights import convert_official, name_of_official
from wrimnet.peers.weighted_triplet import weighted_triplet_loss

CASES = {
    "two_stream_baseline": ("agw", "LLCM/two_stream.yml", {"id": "cls", "tri": "tri"}),
    "agw": ("agw", "LLCM/agw.yml", {"id": "cls", "tri": "wrt"}),
    "deen": ("deen", "LLCM/deen.yml", {"id": "cls", "tri": "tri", "cpm": "cpm", "ort": "ort"}),
    "deen_regdb": (
        "deen",
        "RegDB/deen.yml",
        {"id": "cls", "tri": "tri", "cpm": "cpm", "ort": "ort"},
    ),
}


def make_network(case):
    file, config, _ = CASES[case]
    words = ["MODEL.DEVICE=cpu", "MODEL.BACKBONE.PRETRAIN=False", "MODEL.HEADS.NUM_CLASSES=10"]
    words += ["MODEL.PIXEL_MEAN=[0., 0., 0.]", "MODEL.PIXEL_STD=[1., 1., 1.]"]
    cfg = setup_cfg(str(ROOT / "configs" / config), (), words)
    network = build_model(cfg).double()
    shapes = described(file, case)["shapes"]
    used = {name: shape for name, shape in shapes.items() if name_of_official(name)}
    weights = with_counters(official_weights(used))
    network.load_state_dict(convert_official(weights, cfg.MODEL.TWO_STREAM.NUM_BLOCKS))
    return network


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * theirs.abs().max().item())


SLOW = ("two_stream_baseline", "agw", "deen")  # their parts have quick tests of their own


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES],
)
def compared(request):
    """A case with our network, its terms computed, and what the official code computed."""
    file, _, names = CASES[request.param]
    network, theirs = make_network(request.param), arrays(file)
    found = {name.removeprefix(f"{request.param}/"): value for name, value in theirs.items()}
    with torch.no_grad():
        parts = {
            name: network.eval().embed_parts(theirs[name], modality)
            for name, modality in (("visible", VISIBLE), ("infrared", INFRARED))
        }
    modality = torch.tensor([VISIBLE, INFRARED]).repeat_interleave(8)
    images = torch.cat((theirs["visible"], theirs["infrared"]))
    batch = {"images": images, "targets": theirs["labels"].repeat(2), "modality": modality}
    outputs = []
    network.train().heads.register_forward_hook(lambda *call: outputs.append(call[-1]))
    losses = network(batch)
    sum(losses.values()).backward()
    return network, parts, outputs[0].main, losses, found, described(file, request.param), names


def test_features_of_the_test(compared):
    network, parts, _, _, theirs, _, _ = compared
    for modality in ("visible", "infrared"):
        for kind, theirs_is in (("pooled", "pool"), ("neck", "bn")):
            copies = [parts[modality][n] for n in network.heads.part_dims if n.startswith(kind)]
            unit = torch.nn.functional.normalize(torch.cat(copies), dim=1)
            assert_close(unit[:, ::16], theirs[f"eval_{modality}_{theirs_is}"])
        assert_close(unit @ unit.T, theirs[f"eval_{modality}_gram"])


def test_outputs_of_the_training(compared):
    _, _, output, _, theirs, _, _ = compared
    assert_close(output.pooled.detach()[:, ::16], theirs["train_pool"])
    assert_close(output.logits[0].detach(), theirs["train_logits"])


def test_each_loss_term(compared):
    *_, losses, _, theirs, names = compared
    assert {f"loss_{name}" for name in names.values()} == set(losses)
    for name, ours in names.items():
        assert losses[f"loss_{ours}"].item() == pytest.approx(theirs["terms"][name], rel=1e-9)


def test_gradient_of_each_parameter(compared):
    """Up to the rounding of the largest: theirs takes distances as roots of rounded squares."""
    network, *_, theirs, _ = compared
    norms, largest = theirs["grad_norm"], max(theirs["grad_norm"].values())
    ours = {name: p.grad.norm().item() for name, p in network.named_parameters() if p.requires_grad}
    assert {name_of_official(name) for name in norms} == set(ours)
    for name, norm in norms.items():
        found = ours[name_of_official(name)]
        assert found == pytest.approx(norm, rel=1e-9, abs=1e-13 * largest), name


@pytest.mark.parametrize("form", ["0", "1", "2"])
def test_weighted_triplet_in_both_forms(form):
    theirs = arrays("caj")
    features = theirs["adp/features"].requires_grad_()
    loss = weighted_triplet_loss(features, theirs["adp/labels"], squared=form != "0")
    loss.backward()
    values = json.loads((FOLDER / "caj.json").read_text())
    assert loss.item() == pytest.approx(values[f"adp/{form}"], rel=1e-9)
    assert_close(features.grad, theirs[f"adp/{form}_grad"])


def test_a_tensor_of_another_network_is_refused():
    with pytest.raises(KeyError, match="is not a tensor of the official AGW or DEEN"):
        convert_official({"fc.weight": torch.zeros(1)})


def test_weights_that_do_not_fit_are_not_written(tmp_path, monkeypatch):
    torch.save({"net": {"classifier.weight": torch.zeros(3, 2048)}}, tmp_path / "theirs.pth")
    (tmp_path / "ours.pth").write_text("earlier")
    words = ["--config-file", str(ROOT / "configs/SYSU/agw.yml"), "MODEL.BACKBONE.PRETRAIN=False"]
    words += ["--weights", str(tmp_path / "theirs.pth"), "--out", str(tmp_path / "ours.pth")]
    monkeypatch.setattr(sys, "argv", ["convert_official.py", *words])
    with pytest.raises(ValueError, match=r"weights .*theirs.pth do not fit this model"):
        convert_tool()
    assert (tmp_path / "ours.pth").read_text() == "earlier"


@pytest.mark.parametrize("words", [(), ("--config-file", str(ROOT / "configs/LLCM/wrim.yml"))])
def test_a_configuration_of_another_network_is_refused(tmp_path, monkeypatch, words):
    torch.save({"net": {}}, tmp_path / "theirs.pth")
    files = ("--weights", str(tmp_path / "theirs.pth"), "--out", str(tmp_path / "ours.pth"))
    monkeypatch.setattr(sys, "argv", ["convert_official.py", *files, *words])
    with pytest.raises(ValueError, match="expected the configuration of AGW, CAJ or DEEN, such as"):
        convert_tool()
