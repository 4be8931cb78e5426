"""The commands as a user calls them, with a stand-in for the training itself."""

import importlib.util
import json
import re
import shutil
import sys

import pytest
from fake_runs import COST, PROJECT, write_fake_train
from trees import make_llcm_tree, make_regdb_tree

from wrimnet.console import open_log

DEVICE = ("MODEL.DEVICE", "cpu")
MEASURE = f"""
import json, sys
from pathlib import Path
for folder in sys.argv[1:-2]:
    Path(folder, "cost.json").write_text({json.dumps(json.dumps(COST))})
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the configurations and stand-ins for train_net.py and measure_cost.py."""
    shutil.copytree(PROJECT / "configs", tmp_path / "configs")
    write_fake_train(tmp_path / "tools")
    (tmp_path / "tools" / "measure_cost.py").write_text(MEASURE)
    monkeypatch.chdir(tmp_path)
    make_llcm_tree(tmp_path / "datasets")
    make_regdb_tree(tmp_path / "datasets")
    open_log()
    return tmp_path


def call(name, project, monkeypatch, *words):
    """Calls main of a tool; returns its exit code."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("wrimnet.lab.experiments.experiment_command.PROJECT", project)
    monkeypatch.setattr(sys, "argv", [f"tools/{name}.py", *map(str, words)])
    return module.main()


def squeezed(text):
    """Without the spaces that align the columns of tables."""
    return re.sub(" +", " ", text)


def count_calls(project):
    return sum(len(path.read_text().splitlines()) for path in project.rglob("calls.txt"))


def test_table_in_one_command_and_nothing_twice(project, monkeypatch, capsys):
    words = ("--dataset", "LLCM", "--table", "S3", "--seeds", "0", "1", "--jobs", "2", *DEVICE)
    assert call("run_ablations", project, monkeypatch, *words) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 160 and len(printed.splitlines()) <= 60
    text = squeezed(printed)
    assert "| multiply, no sigmoid | 2 | 30.00 ± 0.00 |" in text
    assert "| 56.08 | 62.98 | — | — | — |" not in text  # costs were measured
    folder = project / "logs/experiments/LLCM"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "s1_blocks1234",
        "s3_add",
        "s3_multiply",
    ]
    assert count_calls(project) == 6
    assert call("run_ablations", project, monkeypatch, *words) == 0
    assert count_calls(project) == 6
    record = json.loads((folder / "s3_add/seed1/run.json").read_text())
    assert record["overrides"] == ["MODEL.DEVICE", "cpu"]
    assert record["started_by"].startswith("python tools/run_ablations.py --dataset LLCM")
    assert record["settings"]["MODEL.WRIM.MIIM.FUSION"] == "add"
    assert call("report", project, monkeypatch, folder, "--out", project / "docs/x") == 0
    assert "Table S3" in (project / "docs/x.md").read_text()
    chosen = ("--table", "S2", "S4", "--out", project / "docs/y")
    assert call("report", project, monkeypatch, folder, *chosen) == 0
    text = (project / "docs/y.md").read_text()
    assert "Table S2" in text and "Table S4" in text and "Table S3" not in text


def test_failing_row_is_told_and_the_table_has_its_dash(project, monkeypatch, capsys):
    write_fake_train(project / "tools", fail=["s3_add"])
    words = ("--dataset", "LLCM", "--table", "S3", *DEVICE)
    assert call("run_ablations", project, monkeypatch, *words) == 1
    printed = capsys.readouterr()
    assert "FAILED s3_add/seed0: exit code 1: out of luck" in printed.err
    assert "s3_add/seed0/console.log" in printed.err
    assert "| add | — |" in squeezed(printed.out)
    assert "Not finished: s3_add/seed0" in printed.out


def test_missing_dataset_is_told_before_anything_starts(project, monkeypatch):
    shutil.rmtree(project / "datasets" / "LLCM")
    with pytest.raises(FileNotFoundError, match=r"looked for the folder datasets.LLCM"):
        call("run_ablations", project, monkeypatch, "--dataset", "LLCM", "--table", "S3", *DEVICE)
    assert not (project / "logs").exists()


def test_reason_of_failures_alike_is_named_once(project, monkeypatch, capsys):
    write_fake_train(project / "tools", fail=["s3_"])
    words = ("--dataset", "LLCM", "--table", "S3", *DEVICE)
    assert call("run_ablations", project, monkeypatch, *words) == 1
    told = capsys.readouterr().err
    assert "FAILED s3_multiply/seed0, s3_add/seed0: exit code 1: out of luck" in told
    assert told.count("out of luck") == 1 and "the others are not tried" in told


def test_settings_changed_in_between_are_refused(project, monkeypatch):
    words = ("--dataset", "LLCM", "--table", "S4", *DEVICE)
    call("run_ablations", project, monkeypatch, *words)
    with pytest.raises(ValueError, match="the settings have changed since; choose another --out"):
        call("run_ablations", project, monkeypatch, *words, "SOLVER.MAX_EPOCH", "3")


def test_runs_on_other_images_are_not_taken_as_done(project, monkeypatch):
    words = ("--dataset", "LLCM", "--table", "S4", *DEVICE)
    call("run_ablations", project, monkeypatch, *words)
    folder = project / "logs/experiments/LLCM/s4_no_auxiliary/seed0"
    content = json.loads((folder / "results.json").read_text())
    content["description"]["images"] = "of another"
    (folder / "results.json").write_text(json.dumps(content))
    calls = count_calls(project)
    with pytest.raises(ValueError, match="seed0 holds results on other images than"):
        call("run_ablations", project, monkeypatch, *words, "--seeds", "0", "1")
    assert count_calls(project) == calls


def test_figure_s1_in_one_command(project, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    words = ("--dataset", "LLCM", "--figure", "S1", "--jobs", "2", *DEVICE)
    assert call("sweep", project, monkeypatch, *words) == 0
    assert count_calls(project) == 9  # five and five values, the paper's setting once
    folder = project / "logs/experiments/LLCM"
    assert (folder / "figure_S1.png").is_file()
    assert (folder / "figure_S1.svg").is_file()
    assert "0.5 (WRIM-Net)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("OUTPUT_DIR=logs/mine",), r"OUTPUT_DIR in the overrides: .* give --out DIR"),
        (("SEED", "3"), r"SEED in the overrides: .* give --seeds"),
        (("--overlay", "configs/own.yml"), r"OUTPUT_DIR in configs/own.yml: .* give --out DIR"),
        (("--gpus", "9"), r"--gpus 9: PyTorch sees"),
    ],
)
def test_what_would_be_passed_over_is_refused(project, monkeypatch, words, message):
    (project / "configs" / "own.yml").write_text("OUTPUT_DIR: logs/mine\n")
    with pytest.raises(ValueError, match=message):
        call("run_ablations", project, monkeypatch, "--dataset", "LLCM", "--table", "S3", *words)
    assert count_calls(project) == 0


def test_seeds_are_no_key_to_sweep(project, monkeypatch):
    pytest.importorskip("matplotlib")
    words = ("--dataset", "LLCM", "--key", "SEED", "--values", "0", "1", *DEVICE)
    with pytest.raises(ValueError, match="--key SEED: every run has its own; --seeds"):
        call("sweep", project, monkeypatch, *words)


def test_generated_data_are_drawn_nowhere_else(project, monkeypatch):
    words = ("--dataset", "Synthetic", "--table", "S3", "DATASETS.ROOT", "mistyped", *DEVICE)
    with pytest.raises(FileNotFoundError, match=r"no mistyped.LLCM; without DATASETS.ROOT"):
        call("run_ablations", project, monkeypatch, *words)
    assert not (project / "mistyped").exists()


def test_sweep_without_matplotlib_is_told_before_any_run(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"figures need matplotlib: pip install"):
        call("sweep", project, monkeypatch, "--dataset", "LLCM", "--figure", "S1", *DEVICE)
    assert count_calls(project) == 0


def test_splits_in_one_command_without_the_last_one_first(project, monkeypatch, capsys):
    write_fake_train(project / "tools", fail=["split3"], by_split=True)
    words = ("--splits", "1", "2", "3", *DEVICE)
    assert call("run_splits", project, monkeypatch, *words) == 1
    assert "No mean: split 3 missing." in capsys.readouterr().out
    write_fake_train(project / "tools", by_split=True)
    assert call("run_splits", project, monkeypatch, *words) == 0
    assert count_calls(project) == 4
    text = squeezed(capsys.readouterr().out)
    assert "| mean ± standard deviation (n - 1) | 30.00 ± 0.00 |" in text
    assert (project / "logs/splits/wrim/splits.tex").is_file()
