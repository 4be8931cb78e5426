"""DATASETS.SPLIT train through train_net.py: settings can be chosen without the test set."""

import importlib.util
import json
import logging
import sys

import pytest
import torch
from fake_runs import PROJECT
from tiny_runs import TINY

from wrimnet.config import setup_cfg
from wrimnet.data.build import build_dataset
from wrimnet.lab.synthetic.generate_synthetic import generate_synthetic
from wrimnet.lab.synthetic.plan import Request

LAYOUTS = {"llcm": "LLCM", "regdb": "RegDB", "sysu": "SYSU"}
SMALL_MODEL = {
    "MODEL.DEVICE": "cpu",
    "MODEL.BACKBONE.DEPTH": "18x",
    "MODEL.BACKBONE.PRETRAIN": "False",
    "MODEL.WRIM.MAIN.STRIPES": "1",
    "MODEL.WRIM.AUXILIARY.STRIPES": "0",
    "SOLVER.MAX_EPOCH": "1",
    "SOLVER.STEPS": "[]",
}


def call_train_net(monkeypatch, *words):
    spec = importlib.util.spec_from_file_location("train_net", PROJECT / "tools/train_net.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["tools/train_net.py", *words])
    return module.main()


@pytest.fixture(autouse=True)
def global_state():
    """FastReID's setup adds handlers to its logger and sets PyTorch's switches."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    benchmark, threads = torch.backends.cudnn.benchmark, torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = benchmark
    torch.set_num_threads(threads)
    logging.getLogger("fastreid").handlers.clear()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_held_out_identities_are_trained_around_and_tested(layout, tmp_path, monkeypatch, capsys):
    request = Request(seed=0, train_ids=8, test_ids=3, images_per_id=4, test_images_per_id=4)
    generate_synthetic(layout=layout, out=tmp_path, request=request, height=48, width=24)
    config_file = str(PROJECT / "configs" / LAYOUTS[layout] / "wrim.yml")
    keys = {**TINY, **SMALL_MODEL, "DATASETS.ROOT": str(tmp_path), "DATASETS.SPLIT": "train"}
    keys["OUTPUT_DIR"] = str(tmp_path / "run")
    words = [word for pair in keys.items() for word in pair]

    assert call_train_net(monkeypatch, "--config-file", config_file, *words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "model_best.pth, selected on the held-out identities" in printed

    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["description"]["split"] == "train"
    assert results["description"]["synthetic"] is True
    cfg = setup_cfg(config_file, options=words)
    held_out = build_dataset(cfg)
    every = build_dataset(setup_cfg(config_file, options=[*words, "DATASETS.SPLIT", "trainval"]))
    tested = {item.relpath for item in held_out.test}
    assert tested < {item.relpath for item in every.train}
    assert not tested & {item.relpath for item in every.test}
    assert not {item.pid for item in held_out.train} & {item.pid for item in held_out.test}
    best = torch.load(tmp_path / "run" / "model_best.pth", weights_only=True)
    assert best["chosen_on"] == "held-out identities"
    weights = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)
    assert weights["model"]["heads.main.classifiers.0.weight"].shape[0] == held_out.num_train_pids
    assert held_out.num_train_pids == 8 - len({item.pid for item in held_out.test})
    queries = max(max(entry["queries"]) for entry in results["results"])
    assert 0 < queries <= len(held_out.test)
