"""A user's package outside of wrimnet/, through public doors alone: my_package beside this file.

A dataset, a loss, a backbone, a metric and a meta-architecture, one file each, loaded by PLUGINS,
in every tool. Each step is the command that a user types, in a process and a folder of its own.
"""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from source_tree import ROOT
from tiny_runs import evaluation_folder
from warm_python import run_python

PACKAGE = Path(__file__).parent / "my_package"
WRIM, ONE_STREAM = "my_package/wrim.yml", "my_package/one_stream.yml"
TEST_PIDS = (6, 7, 8)
pytestmark = pytest.mark.slow


def make_data(root):
    rng = np.random.default_rng(0)
    for folder in ("visible_1", "infrared_2"):
        (root / folder).mkdir(parents=True)
        for pid in range(1, 9):
            for number in range(3):
                pixels = rng.integers(0, 256, (48, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{pid:04d}_{number}.jpg")
    (root / "test.txt").write_text(",".join(map(str, TEST_PIDS)) + "\n")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    shutil.copytree(PACKAGE, folder / "my_package")
    make_data(folder / "data" / "MyVI")
    return folder


def tool(workspace, name, *words, code=0):
    return run_here(workspace, str(ROOT / "tools" / f"{name}.py"), *words, code=code)


def run_here(workspace, *words, code=0):
    run = run_python(*words, cwd=workspace)
    assert run.returncode == code, run.stderr[-2000:] + run.stdout[-2000:]
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def trained(workspace):
    tool(workspace, "train_net", "MODEL.DEVICE=cpu", "--config-file", WRIM, "--no-report")
    return workspace / "logs" / "MyVI" / "wrim"


@pytest.fixture(scope="module")
def other_network(workspace):
    tool(workspace, "train_net", "--config-file", ONE_STREAM, "MODEL.DEVICE", "cpu")
    return workspace / "logs" / "MyVI" / "one_stream"


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def log_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_loss_of_ones_own_is_in_the_total_and_in_the_log(trained):
    for line in log_of(trained):
        assert line["loss_centre"] == pytest.approx(0.2 * line["raw/centre"], rel=1e-5)
        terms = [v for n, v in line.items() if n.startswith("loss_")]
        assert line["total_loss"] == pytest.approx(sum(terms), rel=1e-5)


def test_backbone_of_ones_own_has_the_miims(trained):
    names = torch.load(trained / "model_final.pth", weights_only=True)["model"]
    assert any(name.startswith("backbone.network.block4.") for name in names)
    assert {name.split(".")[2] for name in names if name.startswith("backbone.miims.")} == set(
        "1234"
    )


def test_dataset_of_ones_own_is_named_with_its_protocol_and_rule(trained):
    content = results_of(trained)
    assert content["description"]["dataset"] == "MyVI"
    (whole,) = [result for result in content["results"] if result["whole"]]
    assert whole["protocol"] == "myvi_ir2vis"
    assert whole["camera_rule"] == "nothing_but_identity_zero"
    assert whole["queries"] == [9]


def test_metric_of_ones_own_is_in_every_file_and_table(workspace, trained):
    content = results_of(trained)
    (whole,) = [result for result in content["results"] if result["whole"]]
    value = whole["mean"]["FirstTier"]
    assert 0 < value < 1
    with open(trained / "queries_myvi_ir2vis.csv", newline="") as file:
        queries = [float(row["FirstTier"]) for row in csv.DictReader(file)]
    assert np.mean(queries) == pytest.approx(value)
    with open(trained / "results.csv", newline="") as file:
        assert {float(row["FirstTier"]) for row in csv.DictReader(file)} >= {value}
    assert log_of(trained)[-1]["myvi_ir2vis/FirstTier"] == value
    compared = tool(workspace, "compare_runs", str(trained), str(trained))
    for text in (compared, (trained / "log.txt").read_text()):
        assert "FirstTier" in text
        assert f"{100 * value:.2f}" in text


def test_interrupted_run_goes_on_to_the_same_weights(workspace, trained):
    half = "logs/MyVI/resumed"
    words = ("--config-file", WRIM, "--no-report", "MODEL.DEVICE=cpu", f"OUTPUT_DIR={half}")
    tool(workspace, "train_net", *words)
    (workspace / half / "checkpoint_00000004.pth").unlink()
    for name in ("model_final.pth", "results.json"):
        (workspace / half / name).unlink()
    assert "going on after iteration" in tool(workspace, "train_net", *words, "--resume")
    ours, theirs = (
        torch.load(folder / "model_final.pth", weights_only=True)["model"]
        for folder in (trained, workspace / half)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_evaluation_of_the_weights_gives_the_numbers_of_the_training(workspace, trained):
    tool(
        workspace, "train_net", "--config-file", WRIM, "--eval-only", "MODEL.DEVICE=cpu",
        f"MODEL.WEIGHTS={trained}/model_final.pth", "OUTPUT_DIR=logs/MyVI/evaluated",
    )  # fmt: skip
    evaluated = results_of(evaluation_folder(workspace / "logs" / "MyVI" / "evaluated"))
    assert evaluated["results"] == results_of(trained)["results"]


def test_another_meta_architecture_trains_and_is_exported(workspace, other_network):
    assert [set(line) >= {"loss_identity", "raw/identity"} for line in log_of(other_network)]
    (result,) = results_of(other_network)["results"]
    assert result["parts"] == ["neck"]
    assert "left out" not in (other_network / "report.html").read_text()
    tool(workspace, "export", "safetensors", str(other_network), "--out", "exported")
    weights = "MODEL.WEIGHTS=exported/wrimnet.safetensors"
    words = ("--config-file", ONE_STREAM, "--eval-only", weights, "OUTPUT_DIR=logs/MyVI/exported")
    tool(workspace, "train_net", *words, "MODEL.DEVICE=cpu")
    assert results_of(evaluation_folder(workspace / "logs/MyVI/exported"))["results"] == [result]


def test_export_to_onnx(workspace, trained):
    pytest.importorskip("onnxscript", reason="export is an optional extra")
    out = tool(workspace, "export", "onnx", "--run", str(trained), "--out", "exported")
    assert out.count("cosine distance to PyTorch") == 2


def test_report_and_figures(workspace, trained):
    tool(workspace, "report_html", str(trained), "MODEL.DEVICE=cpu")
    page = (trained / "report.html").read_text()
    for text in ("MyVI", "FirstTier", "centre <output>", "MODEL.CENTRE.WEIGHT", "(myvi_ir2vis)"):
        assert text in page


def test_doctor_finds_what_is_wrong(workspace, tmp_path):
    words = ("--dataset", "my-vi", "--plugin", "my_package.my_dataset", "--workers", "0", "--root")
    assert "SOUND" in tool(workspace, "check_dataset", *words, "data")
    make_data(tmp_path / "MyVI")
    (tmp_path / "MyVI" / "visible_1" / "0001_0.jpg").write_bytes(b"")
    (tmp_path / "MyVI" / "test.txt").write_text("1 one\n")
    found = tool(workspace, "check_dataset", *words, str(tmp_path), code=1)
    assert "test.txt:1: 'one'" in found
    assert "0001_0.jpg" in found


def test_features_of_another_code_are_scored(workspace):
    rng = np.random.default_rng(0)
    paths = [
        f"{folder}/{pid:04d}_{number}.jpg"
        for folder in ("visible_1", "infrared_2")
        for pid in TEST_PIDS
        for number in range(3)
    ]
    np.savez(workspace / "F.npz", paths=paths, features=rng.standard_normal((len(paths), 8)))
    tool(
        workspace, "evaluate_features", "--protocol", "myvi_ir2vis", "--features", "F.npz",
        "--plugin", "my_package.my_dataset", "--plugin", "my_package.my_metric",
        "--out", "scored.json",
        "--metrics", "Rank-1", "mAP", "FirstTier",
    )  # fmt: skip
    scored = json.loads((workspace / "scored.json").read_text())
    assert set(scored["mean"]) == {"cmc", "mAP", "mINP", "FirstTier"}
    assert scored["description"]["camera_rule"] == "nothing_but_identity_zero"


def test_ablations(workspace):
    table = workspace / "my_table.yml"
    no_auxiliary = {"MODEL.WRIM.AUXILIARY.ENABLED": False}
    rows = {"mine": {}, "without auxiliary level": no_auxiliary}
    table.write_text(yaml.safe_dump({"config": WRIM, "against": "mine", "rows": rows}))
    out = tool(workspace, "run_table", str(table), "--gpus", "MODEL.DEVICE=cpu", "--threads", "1")
    assert "myvi_ir2vis mAP" in out
    assert "myvi_ir2vis FirstTier" in out
    report = workspace / "logs/tables/my_table/report_my_table.md"
    assert "2 of 2 runs finished" in report.read_text()


def test_keys_of_ones_own_are_listed_checked_and_hashed(workspace, trained):
    listed = tool(workspace, "train_net", "--help-config", "--config-file", WRIM)
    assert "MODEL.CENTRE.WEIGHT = 0.0\n    weight of the hetero-centre loss; [0, 1e6]" in listed
    words = ("--config-file", WRIM, "--resume", "MODEL.DEVICE=cpu")
    wrong = tool(workspace, "train_net", *words, "MODEL.CENTRE.WEIGHT=-1", code=2)
    assert "MODEL.CENTRE.WEIGHT = -1.0: expected a number in [0, 1e6]" in wrong
    other = tool(workspace, "train_net", *words, "MODEL.CENTRE.SCALE=2", code=2)
    assert "run of another configuration" in other


def test_what_is_not_there_is_a_sentence(workspace):
    """In one process, each mistake beside the run of before."""
    program = f"""
import sys
from wrimnet.config import setup_cfg
from wrimnet.data.build import build_dataset
from wrimnet.evaluation.evaluator import build_evaluator

for word in sys.argv[1:]:
    try:
        cfg = setup_cfg({WRIM!r}, (), [word])
        build_evaluator(cfg, build_dataset(cfg))
    except (ValueError, KeyError) as error:
        print(str(error).split(chr(10))[0])
"""
    words = {
        "PLUGINS=('my_package.nothing',)": "PLUGINS names 'my_package.nothing'",
        "DATASETS.NAMES=('YourVI',)": "expected exactly one of LLCM, RegDB, SYSU-MM01, MyVI",
        "MODEL.META_ARCHITECTURE=TwoStream": "MODEL.META_ARCHITECTURE = 'TwoStream': expected one",
        "MODEL.BACKBONE.NAME=build_five": "MODEL.BACKBONE.NAME = 'build_five': expected one of",
        "TEST.PROTOCOLS=('llcm_ir2vis',)": "belongs to LLCM, the dataset is MyVI",
    }
    told = run_here(workspace, "-c", program, *words).splitlines()
    assert len(told) == len(words)
    for line, sentence in zip(told, words.values(), strict=True):
        assert sentence in line


def test_the_package_uses_public_names_only():
    for path in PACKAGE.glob("*.py"):
        text = path.read_text()
        assert " import _" not in text
        assert not re.search(r"\w\._(?!_|replace\()", text)
