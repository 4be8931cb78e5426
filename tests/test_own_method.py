"""A user's project outside of wrimnet/, through registered parts alone: examples/own_method.

Eight extensions, a backbone and another network, loaded by PLUGINS, in every tool. Each step is the
command that a user types, in a process and a folder of its own.
"""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from source_tree import ROOT
from tiny_runs import evaluation_folder
from warm_python import run_python

import wrimnet

PROJECT = ROOT / "examples" / "own_method"
METHOD, ONE_STREAM = "configs/method.yml", "configs/one_stream.yml"
TEST_PIDS = (6, 7, 8)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user") / "own_method"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("data", "logs", "__pycache__"))
    run_here(folder, "make_data.py", "data")
    return folder


def tool(workspace, name, *words, code=0):
    return run_here(workspace, str(ROOT / "tools" / f"{name}.py"), *words, code=code)


def run_here(workspace, *words, code=0):
    run = run_python(*words, cwd=workspace)
    assert run.returncode == code, run.stderr[-2000:] + run.stdout[-2000:]
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def trained(workspace):
    tool(workspace, "train_net", "MODEL.DEVICE=cpu", "--config-file", METHOD, "--no-report")
    return workspace / "logs" / "method"


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def log_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights_in(path):
    return torch.load(path, weights_only=True)["model"]


def whole_result(folder):
    (whole,) = [result for result in results_of(folder)["results"] if result["whole"]]
    return whole


def test_losses_are_in_the_total_and_in_the_log(trained):
    for line in log_of(trained):
        assert line["loss_center"] == pytest.approx(0.2 * line["raw/center"], rel=1e-5)
        assert line["loss_maxpool"] > 0
        terms = [v for n, v in line.items() if n.startswith("loss_")]
        assert line["total_loss"] == pytest.approx(sum(terms), rel=1e-5)


def test_backbone_has_the_miims_and_these_the_fusion(trained):
    names = weights_in(trained / "model_final.pth")
    assert any(name.startswith("backbone.network.block4.") for name in names)
    miims = [name.split(".") for name in names if name.startswith("backbone.miims.")]
    assert {parts[2] for parts in miims if "scale" in parts} == set("1234")


def test_queries_and_gallery_are_the_lists_of_the_csv_file(trained):
    assert results_of(trained)["description"]["dataset"] == "CampusVI"
    whole = whole_result(trained)
    assert (whole["protocol"], whole["query_list"]) == ("campus_ir2vis", "query")
    assert whole["queries"] == [9]
    assert "maxpool" in whole["parts"]


def test_average_of_the_weights_is_evaluated_and_chosen_by_its_name(workspace, trained):
    average = results_of(trained)["hooks"]["ema"]
    assert average != results_of(trained)["results"]
    tool(
        workspace, "train_net", "--config-file", METHOD, "--eval-only", "MODEL.DEVICE=cpu",
        f"MODEL.WEIGHTS={trained}/model_final_ema.pth", "OUTPUT_DIR=logs/evaluated_ema",
    )  # fmt: skip
    evaluated = results_of(evaluation_folder(workspace / "logs" / "evaluated_ema"))
    assert evaluated["results"] == average
    words = ("--run", str(trained), "--weights", "ema", "--out", "exported_ema")
    tool(workspace, "export", "safetensors", *words)
    assert (workspace / "exported_ema" / "wrimnet.safetensors").is_file()


def test_average_is_in_log_table_comparison_and_records(workspace, trained):
    (average,) = [e for e in results_of(trained)["hooks"]["ema"] if e["whole"]]
    value = average["mean"]["mAP"]
    assert log_of(trained)[-1]["campus_ir2vis (ema)/mAP"] == value
    with open(trained / "results.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["weights"] == "ema"]
    assert value in [float(row["mAP"]) for row in rows if row["whole"] == "True"]
    compared = tool(workspace, "compare_runs", str(trained), str(trained))
    assert f"{100 * value:.2f}" in compared and " ema" in compared
    records = [r for r in wrimnet.read_results(trained) if r["whole"]]
    assert [r["weights"] for r in records] == ["model", "ema"]
    assert records[1]["mAP"] == pytest.approx(100 * value)


def test_evaluation_after_a_change_of_the_source_records_both(workspace, trained):
    source = workspace / "own_method" / "center.py"
    text = source.read_text()
    words = (f"MODEL.WEIGHTS={trained}/model_final.pth", "OUTPUT_DIR=logs/changed_source")
    try:
        source.write_text(text + "\n# changed\n")
        said = tool(workspace, "train_net", "--config-file", METHOD, "--eval-only",
                    "MODEL.DEVICE=cpu", *words)  # fmt: skip
    finally:
        source.write_text(text)
    assert f"trained with another source of {source}" in " ".join(said.split())
    description = results_of(evaluation_folder(workspace / "logs/changed_source"))["description"]
    now, before = (
        {one["module"]: one["sha256"] for one in description[name]}
        for name in ("plugins", "plugins_of_weights")
    )
    assert {module for module in now if now[module] != before[module]} == {"own_method.center"}


def test_metric_of_ones_own_is_in_every_file_and_table(workspace, trained):
    whole = whole_result(trained)
    value = whole["mean"]["FirstTier"]
    assert 0 < value < 1
    with open(trained / "queries_campus_ir2vis.csv", newline="") as file:
        queries = [float(row["FirstTier"]) for row in csv.DictReader(file)]
    assert np.mean(queries) == pytest.approx(value)
    with open(trained / "results.csv", newline="") as file:
        assert {float(row["FirstTier"]) for row in csv.DictReader(file)} >= {value}
    assert log_of(trained)[-1]["campus_ir2vis/FirstTier"] == value
    compared = tool(workspace, "compare_runs", str(trained), str(trained))
    for text in (compared, (trained / "log.txt").read_text()):
        assert "FirstTier" in text
        assert f"{100 * value:.2f}" in text


def test_interrupted_run_goes_on_to_the_same_weights_and_the_same_average(workspace, trained):
    half = workspace / "logs" / "resumed"
    shutil.copytree(trained, half)
    (half / "checkpoint_00000004.pth").unlink()
    for name in ("model_final.pth", "model_final_ema.pth", "results.json"):
        (half / name).unlink()
    words = ("--config-file", METHOD, "--no-report", "MODEL.DEVICE=cpu", "OUTPUT_DIR=logs/resumed")
    assert "continuing after iteration" in tool(workspace, "train_net", *words, "--resume")
    for name in ("model_final.pth", "model_final_ema.pth"):
        ours, theirs = (weights_in(folder / name) for folder in (trained, half))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_vision_transformer_of_timm_trains_with_all_of_it(workspace):
    pytest.importorskip("timm", reason="timm is an optional extra")
    words = ("--config-file", "configs/vit.yml", "MODEL.DEVICE=cpu", "--no-report")
    tool(workspace, "train_net", *words)
    assert 0 < whole_result(workspace / "logs" / "vit")["mean"]["FirstTier"] < 1


def test_evaluation_of_the_weights_gives_the_numbers_of_the_training(workspace, trained):
    tool(
        workspace, "train_net", "--config-file", METHOD, "--eval-only", "MODEL.DEVICE=cpu",
        f"MODEL.WEIGHTS={trained}/model_final.pth", "OUTPUT_DIR=logs/evaluated",
    )  # fmt: skip
    evaluated = results_of(evaluation_folder(workspace / "logs" / "evaluated"))
    assert evaluated["results"] == results_of(trained)["results"]


def test_another_meta_architecture_trains_and_is_exported(workspace):
    tool(workspace, "train_net", "--config-file", ONE_STREAM, "MODEL.DEVICE=cpu", "--no-report")
    other = workspace / "logs" / "one_stream"
    assert all(set(line) >= {"loss_identity", "raw/identity"} for line in log_of(other))
    (result,) = results_of(other)["results"]
    assert result["parts"] == ["neck"]
    tool(workspace, "export", "safetensors", str(other), "--out", "exported")
    weights = "MODEL.WEIGHTS=exported/wrimnet.safetensors"
    words = ("--config-file", ONE_STREAM, "--eval-only", weights, "OUTPUT_DIR=logs/exported")
    tool(workspace, "train_net", *words, "MODEL.DEVICE=cpu")
    assert results_of(evaluation_folder(workspace / "logs/exported"))["results"] == [result]


@pytest.mark.long
def test_export_to_onnx(workspace, trained):
    pytest.importorskip("onnxscript", reason="export is an optional extra")
    out = tool(workspace, "export", "onnx", "--run", str(trained), "--out", "exported")
    assert out.count("cosine distance to PyTorch") == 2


def test_report_and_figures(workspace, trained):
    tool(workspace, "report_html", str(trained), "MODEL.DEVICE=cpu")
    page = (trained / "report.html").read_text()
    for text in ("CampusVI", "FirstTier", "center <output>", "MODEL.CENTER.WEIGHT", "ema"):
        assert text in page


def test_dataset_check_finds_what_is_wrong(workspace, tmp_path):
    words = ("--dataset", "campus-vi", "--plugin", "own_method.campus", "--workers", "0", "--root")
    assert "SOUND" in tool(workspace, "check_dataset", *words, "data")
    run_here(workspace, "make_data.py", str(tmp_path))
    (tmp_path / "CampusVI" / "images" / "1_1_rgb_0.png").write_bytes(b"")
    found = tool(workspace, "check_dataset", *words, str(tmp_path), code=1)
    assert "1_1_rgb_0.png" in found


def test_features_of_another_code_are_scored_on_the_lists(workspace):
    rng = np.random.default_rng(0)
    paths = [
        f"images/{pid}_{side}_{number}.png"
        for side in ("1_rgb", "2_ir")
        for pid in TEST_PIDS
        for number in range(3)
    ]
    np.savez(workspace / "F.npz", paths=paths, features=rng.standard_normal((len(paths), 8)))
    words = [
        "--protocol", "campus_ir2vis", "--features", "F.npz", "--plugin", "own_method.campus",
        "--plugin", "own_method.first_tier", "--metrics", "Rank-1", "mAP", "FirstTier",
        "--out", "scored.json",
    ]  # fmt: skip
    refused = tool(workspace, "evaluate_features", *words, code=2)
    assert "--root is missing: campus_ir2vis has query and gallery lists" in refused
    assert "give the folder that contains CampusVI: python " in refused
    assert "--out scored.json --root FOLDER" in refused
    tool(workspace, "evaluate_features", *words, "--root", "data")
    scored = json.loads((workspace / "scored.json").read_text())
    assert set(scored["mean"]) == {"cmc", "mAP", "mINP", "FirstTier"}
    assert scored["description"]["gallery_list"] == "gallery"


@pytest.mark.long
def test_ablations(workspace):
    table = workspace / "my_table.yml"
    no_auxiliary = {"MODEL.WRIM.AUXILIARY.ENABLED": False}
    rows = {"mine": {}, "without auxiliary level": no_auxiliary}
    table.write_text(yaml.safe_dump({"config": METHOD, "against": "mine", "rows": rows}))
    out = tool(workspace, "run_table", str(table), "--gpus", "MODEL.DEVICE=cpu", "--threads", "1")
    assert "campus_ir2vis mAP" in out
    assert "campus_ir2vis FirstTier" in out
    report = workspace / "logs/tables/my_table/report_my_table.md"
    assert "2 of 2 runs finished" in report.read_text()


def test_keys_of_ones_own_are_listed_checked_and_hashed(workspace, trained):
    listed = tool(workspace, "train_net", "--help-config", "--config-file", METHOD)
    assert "MODEL.CENTER.WEIGHT = 0.0\n    weight of the hetero-center loss; [0, 1e6]" in listed
    words = ("--config-file", METHOD, "--resume", "MODEL.DEVICE=cpu")
    wrong = tool(workspace, "train_net", *words, "MODEL.CENTER.WEIGHT=-1", code=2)
    assert "MODEL.CENTER.WEIGHT = -1.0: expected a number in [0, 1e6]" in wrong
    other = tool(workspace, "train_net", *words, "MODEL.CENTER.SCALE=2", code=2)
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
        cfg = setup_cfg({METHOD!r}, (), [word])
        build_evaluator(cfg, build_dataset(cfg))
    except (ValueError, KeyError) as error:
        print(str(error).split(chr(10))[0])
"""
    words = {
        "PLUGINS=('own_method.nothing',)": "PLUGINS names 'own_method.nothing'",
        "DATASETS.NAMES=('YourVI',)": "expected exactly one of LLCM, RegDB, SYSU-MM01, CampusVI",
        "MODEL.META_ARCHITECTURE=TwoStream": "MODEL.META_ARCHITECTURE = 'TwoStream': expected one",
        "MODEL.BACKBONE.NAME=build_five": "MODEL.BACKBONE.NAME = 'build_five': expected one of",
        "TEST.PROTOCOLS=('llcm_ir2vis',)": "belongs to LLCM, the dataset is CampusVI",
    }
    told = run_here(workspace, "-c", program, *words).splitlines()
    assert len(told) == len(words)
    for line, sentence in zip(told, words.values(), strict=True):
        assert sentence in line


def test_the_project_uses_public_names_only():
    for path in PROJECT.rglob("*.py"):
        text = path.read_text()
        assert " import _" not in text
        assert not re.search(r"\w\._(?!_|replace\()", text)


def test_sampler_optimizer_schedule_and_writer_are_those_of_the_plugins(workspace):
    said = tool(
        workspace, "train_net", "--config-file", METHOD, "--no-report", "MODEL.DEVICE=cpu",
        "PLUGINS=['own_method.any_people', 'own_method.solver', 'own_method.loss_printer']",
        "DATALOADER.SAMPLER_TRAIN=any_people", "SOLVER.OPT=quick_adam",
        "SOLVER.SCHED=half_cosine", "WRITERS=['LossPrinter']", "OUTPUT_DIR=logs/parts",
        "TEST.EVAL_PERIOD=0",
    )  # fmt: skip
    solver = "quick_adam (Adam), learning rate 0.00035, schedule half_cosine, sampler any_people"
    assert solver in " ".join(said.split())
    lines = log_of(workspace / "logs/parts")
    printed = re.findall(r"logs/parts (\d+) (\d+\.\d+)\n", said)
    written = [(int(number), float(loss)) for number, loss in printed]
    assert written == [(line["iteration"], line["total_loss"]) for line in lines]
    rates = [line["lr"] for line in lines]
    assert rates == sorted(rates, reverse=True) and rates[-1] < rates[0]
