"""The fair table and the conversion of official weights, as a user calls them."""

import importlib.util
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from fake_runs import PROJECT

from wrimnet.config import setup_cfg
from wrimnet.config.setup import all_keys
from wrimnet.config.tree import get_key
from wrimnet.data.images import ImageItem
from wrimnet.modeling.wrim_net import WRIMNet

# What a method may do its own way in the fair table; all else is the same for every method.
OWN = ("MODEL.", "INPUT.REA.", "INPUT.GRAYSCALE.", "INPUT.MULTISCALE_CROP.", "INPUT.CHANNELS.")
OWN += ("INPUT.AUGMENTATION", "PLUGINS", "OUTPUT_DIR")
METHODS = ("two_stream", "agw", "caj", "deen", "wrim")
# Without ImageNet weights all train with Adam, which does not read NESTEROV.
SMALL = ("SOLVER.NESTEROV",)
OWN_OPTIMIZER = (*SMALL, "SOLVER.OPT", "SOLVER.BASE_LR", "SOLVER.HEADS_LR_FACTOR")
OWN_OPTIMIZER += ("SOLVER.WARMUP_ITERS",)


def load(name):
    spec = importlib.util.spec_from_file_location(name, PROJECT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings(dataset, method):
    files = [str(PROJECT / "configs" / dataset / f"{name}.yml") for name in (method, "fair")]
    cfg = setup_cfg(files[0], files[1:], ["MODEL.DEVICE=cpu"])
    shared = {key.name for key in all_keys(cfg) if not key.name.startswith(OWN)}
    return {name: get_key(cfg, name) for name in sorted(shared)}


@pytest.mark.parametrize("dataset", ["Synthetic", "Pairs", "LLCM", "RegDB", "SYSU"])
def test_every_method_sees_the_same_images(dataset):
    full = settings(dataset, "wrim")
    allowed = SMALL if dataset in ("Synthetic", "Pairs") else OWN_OPTIMIZER
    for method in METHODS:
        own = settings(dataset, method)
        assert {name for name in own if own[name] != full[name]} <= set(allowed), method


def test_activation_memory_of_a_batch(tmp_path):
    """The values that the fair table's own program counted at commit d9f8585."""
    tool = load("measure_cost")
    kept = {}
    for method in ("agw", "caj"):
        record = {
            "config_file": str(PROJECT / f"configs/Synthetic/{method}.yml"),
            "overlays": [],
            "options": ["SOLVER.IMS_PER_BATCH", "16"],
        }
        kept[method] = tool.count_activations(record)
    assert kept == {"agw": 14.85466, "caj": 22.26202}  # CAJ trains on visible images twice


def test_losses_see_what_the_dataset_attaches_where_there_is_one(tmp_path, monkeypatch):
    batches, item = [], ImageItem("a.jpg", 1, 1, 0, "a.jpg", {"text": "a red coat"})
    monkeypatch.setattr(WRIMNet, "forward", lambda model, batch: batches.append(batch))
    monkeypatch.setattr(
        "wrimnet.data.build.build_dataset", lambda cfg: SimpleNamespace(train=[item])
    )
    words = ["SOLVER.IMS_PER_BATCH", "16", "DATASETS.ROOT", str(tmp_path)]
    config = str(PROJECT / "configs/Synthetic/wrim.yml")
    record = {"config_file": config, "overlays": [], "options": words}
    for folder in ("elsewhere", "LLCM"):
        (tmp_path / folder).mkdir()
        load("measure_cost").count_activations(record)
    assert [batch["attached"] for batch in batches] == [{}, {"text": ["a red coat"] * 16}]


@pytest.mark.parametrize(
    ("file", "case", "config"),
    [("agw", "agw", "SYSU/agw.yml"), ("deen", "deen_regdb", "RegDB/deen.yml")],
)
def test_official_weights_become_a_checkpoint(file, case, config, tmp_path, monkeypatch, capsys):
    fixture = json.loads((PROJECT / f"tests/fixtures/peers/{file}.json").read_text())[case]
    weights = {name: torch.zeros(shape) for name, shape in fixture["shapes"].items()}
    for name in [name for name in weights if name.endswith("running_var")]:
        weights[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    torch.save({"net": weights}, tmp_path / "theirs.t")
    words = ("--config-file", str(PROJECT / "configs" / config), "MODEL.DEVICE=cpu")
    words += ("--weights", str(tmp_path / "theirs.t"), "--out", str(tmp_path / "ours.pth"))
    monkeypatch.setattr(sys, "argv", ["tools/convert_official.py", *words])
    assert load("convert_official").main() == 0
    assert "evaluate it with --eval-only MODEL.WEIGHTS" in capsys.readouterr().out
    found = torch.load(tmp_path / "ours.pth", weights_only=True)["model"]
    assert found["heads.main.classifiers.0.weight"].shape[0] == 10
