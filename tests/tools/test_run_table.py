"""run_table.py as a user calls it, with a stand-in for the training itself."""

import importlib.util
import json
import re
import shlex
import shutil
import sys

import pytest
from fake_runs import COST, PROJECT, write_fake_train
from fake_tables import write_table
from trees import make_llcm_tree, make_regdb_tree

from wrimnet.console import open_log

DEVICE = ("MODEL.DEVICE", "cpu", "DATALOADER.CACHE", "none")
S3, S4 = "configs/tables/s3.yml", "configs/tables/s4.yml"
FIGURE = ("configs/tables/figure_s1_lambda1.yml", "configs/tables/figure_s1_lambda2.yml")
MEASURE = f"""
import json, sys
from pathlib import Path
for folder in [word for word in sys.argv[3:] if "/" in word]:
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


@pytest.fixture
def call(project, monkeypatch):
    """Calls the program in this process; returns its exit code."""
    path = PROJECT / "tools" / "run_table.py"
    spec = importlib.util.spec_from_file_location("run_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PROJECT", project)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tools/run_table.py", *map(str, words)])
        return module.main()

    return run


def squeezed(text):
    """Without the spaces that align the columns of tables."""
    return re.sub(" +", " ", text)


def count_calls(project):
    return sum(len(path.read_text().splitlines()) for path in project.rglob("calls.txt"))


def test_table_in_one_command_and_nothing_twice(project, call, capsys):
    words = (S3, "--dataset", "LLCM", "--seeds", "0", "1", "--jobs", "2", *DEVICE)
    assert call(*words) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 160 and len(printed.splitlines()) <= 60
    text = squeezed(printed)
    assert "| multiply, no sigmoid | 2 | 30.00 ± 0.00 |" in text
    assert "| 11.60 | 0.5 |" in text and "| 7.0 |" in text  # costs were measured
    assert "| 56.08/62.98 |" in text
    folder = project / "logs/experiments/LLCM"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "s1_blocks1234",
        "s3_add",
        "s3_multiply",
    ]
    assert count_calls(project) == 6
    assert call(*words) == 0
    assert count_calls(project) == 6
    record = json.loads((folder / "s3_add/seed1/run.json").read_text())
    assert record["overrides"] == list(DEVICE)
    assert record["started_by"].startswith("python tools/run_table.py configs/tables/s3.yml")
    assert record["settings"]["MODEL.WRIM.MIIM.FUSION"] == "add"
    report = (folder / "report_s3.md").read_text()
    assert "Table S3" in report and "6 of 6 runs finished" in report


def test_tables_that_share_runs_and_a_report_of_what_there_is(project, call, capsys):
    words = ("--dataset", "LLCM", *DEVICE)
    assert call(S4, *words) == 0
    assert count_calls(project) == 2
    assert call(S3, S4, *words, "--report-only", "--report", project / "docs/x") == 0
    assert count_calls(project) == 2
    text = (project / "docs/x.md").read_text()
    assert "Table S3" in text and "Table S4" in text
    assert "add: seed 0 missing" in text and "2 of 4 runs finished" in text
    assert call(S3, S4, *words) == 0
    assert count_calls(project) == 4


def test_failing_row_is_told_and_the_table_has_its_dash(project, call, capsys):
    write_fake_train(project / "tools", fail=["s3_add"])
    assert call(S3, "--dataset", "LLCM", *DEVICE) == 1
    printed = capsys.readouterr()
    assert "FAILED s3_add/seed0: exit code 1: out of luck" in printed.err
    assert "s3_add/seed0/console.log" in printed.err
    assert "| add | — |" in squeezed(printed.out)
    assert "add: seed 0 missing" in printed.out


def test_costs_that_cannot_be_measured_are_told_and_the_table_has_their_dashes(
    project, call, capsys
):
    failing = MEASURE.replace("Path(", "'s3_add' in folder and sys.exit('no such loss')\n    Path(")
    (project / "tools" / "measure_cost.py").write_text(failing)
    words = (S3, "--dataset", "LLCM", "--seeds", "0", *DEVICE)
    assert call(*words) == 0
    printed = squeezed(capsys.readouterr().out)
    assert "s3_add/seed0 could not be measured (exit code 1, the reason is above)" in printed
    assert len(re.findall(r"\| 11\.60 \| 0\.5 \|", printed)) == 2  # the two other rows
    assert re.search(r"\| add \| 1 \|.* — \| — \|", printed)
    (project / "tools" / "measure_cost.py").write_text(MEASURE)
    assert call(*words) == 0
    assert squeezed(capsys.readouterr().out).count("| 11.60 | 0.5 |") == 3


def test_missing_dataset_is_told_before_anything_starts(project, call):
    shutil.rmtree(project / "datasets" / "LLCM")
    with pytest.raises(FileNotFoundError, match=r"looked for the folder datasets.LLCM"):
        call(S3, "--dataset", "LLCM", *DEVICE)
    assert not (project / "logs").exists()


def test_reason_of_failures_alike_is_named_once(project, call, capsys):
    write_fake_train(project / "tools", fail=["s3_"])
    assert call(S3, "--dataset", "LLCM", *DEVICE) == 1
    printed = capsys.readouterr()
    assert "FAILED s3_multiply/seed0, s3_add/seed0: exit code 1: out of luck" in printed.err
    assert printed.err.count("out of luck") == 1 and "no more are started" in printed.out


def test_settings_changed_in_between_are_refused(project, call):
    call(S4, "--dataset", "LLCM", *DEVICE)
    for words in ((), ("--report-only",)):
        with pytest.raises(
            ValueError, match="the settings have changed; restore them, or choose another --out"
        ):
            call(S4, "--dataset", "LLCM", *DEVICE, "SOLVER.MAX_EPOCH", "3", *words)


def test_runs_on_other_images_are_not_taken_as_done(project, call):
    call(S4, "--dataset", "LLCM", *DEVICE)
    folder = project / "logs/experiments/LLCM/s4_no_auxiliary/seed0"
    content = json.loads((folder / "results.json").read_text())
    content["description"]["images"] = "of another"
    (folder / "results.json").write_text(json.dumps(content))
    calls = count_calls(project)
    with pytest.raises(ValueError, match="seed0 holds results on other images than"):
        call(S4, "--dataset", "LLCM", *DEVICE, "--seeds", "0", "1")
    assert count_calls(project) == calls


def test_image_cache_is_built_once_before_the_runs_start(project, call, monkeypatch):
    built = []

    class Cache:
        def close(self):
            built.append(count_calls(project))

    name = "wrimnet.lab.experiments.preparation.build_train_cache"
    monkeypatch.setattr(name, lambda *arguments: Cache())
    call(S4, "--dataset", "LLCM", "--seeds", "0", "1", *DEVICE[:2])
    call(S4, "--dataset", "LLCM", "--seeds", "0", "1", *DEVICE[:2])
    assert built == [0]


def test_figure_s1_in_one_command(project, call, capsys):
    pytest.importorskip("matplotlib")
    assert call(*FIGURE, "--dataset", "LLCM", "--jobs", "2", *DEVICE) == 0
    assert count_calls(project) == 9  # five and five values, the paper's setting once
    folder = project / "logs/experiments/LLCM"
    stem = "report_figure_s1_lambda1_figure_s1_lambda2"
    assert (folder / f"{stem}.png").is_file()
    assert (folder / f"{stem}.svg").is_file()
    assert "0.5 (WRIM-Net)" in capsys.readouterr().out


def test_figures_without_matplotlib_are_told_before_any_run(project, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"figures need matplotlib: pip install"):
        call(*FIGURE, "--dataset", "LLCM", *DEVICE)
    assert count_calls(project) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("OUTPUT_DIR=logs/mine",), r"OUTPUT_DIR in the overrides: .* give --out DIR"),
        (("SEED", "3"), r"SEED in the overrides: .* give --seeds"),
        (("--overlay", "configs/own.yml"), r"OUTPUT_DIR in configs/own.yml: .* give --out DIR"),
        (("--gpus", "9"), r"--gpus 9: PyTorch sees"),
        (("--shard", "9/8"), r"--shard 9/8: expected I/N, such as 2/8"),
    ],
)
def test_what_would_be_passed_over_is_refused(project, call, words, message):
    (project / "configs" / "own.yml").write_text("OUTPUT_DIR: logs/mine\n")
    with pytest.raises(ValueError, match=message):
        call(S3, "--dataset", "LLCM", *words)
    assert count_calls(project) == 0


@pytest.mark.parametrize("flag", ["--detach", "--cancel", "--retry"])
def test_flags_of_a_cluster_belong_to_slurm(project, call, flag, capsys):
    with pytest.raises(SystemExit):
        call(S3, "--dataset", "LLCM", flag)
    assert f"{flag} belongs to --slurm" in capsys.readouterr().err


def test_synthetic_data_are_made_nowhere_else(project, call):
    words = ("--dataset", "Synthetic", "DATASETS.ROOT", "mistyped", *DEVICE)
    with pytest.raises(
        FileNotFoundError, match=r"mistyped.LLCM does not exist; leave DATASETS.ROOT"
    ):
        call(S3, *words)
    assert not (project / "mistyped").exists()


def test_commands_are_listed_in_shards_and_nothing_starts(project, call, capsys):
    words = (S3, "--dataset", "llcm", "--seeds", "0", "1", "--list", *DEVICE)
    assert call(*words) == 0
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == 6 and not (project / "logs").exists()
    assert [shlex.split(line)[-1] for line in commands[:2]] == [
        "logs/experiments/LLCM/s3_multiply/seed0",
        "logs/experiments/LLCM/s3_add/seed0",
    ]
    assert commands[0].startswith("python tools/train_net.py --config-file configs/LLCM/wrim.yml")
    shards = []
    for shard in ("1/2", "2/2"):
        call(*words, "--shard", shard)
        shards.append(capsys.readouterr().out.splitlines())
    assert shards == [commands[::2], commands[1::2]]


def test_splits_in_one_command_without_the_last_one_first(project, call, capsys):
    write_fake_train(project / "tools", fail=["split3"], by_split=True)
    splits = {"config": "configs/RegDB/wrim.yml", "splits": [1, 2, 3], "out": "logs/splits"}
    table = write_table(project / "splits.yml", rows={"WRIM-Net": {}}, costs=[], **splits)
    assert call(table, *DEVICE) == 1
    assert "WRIM-Net: split 3 missing" in capsys.readouterr().out
    write_fake_train(project / "tools", by_split=True)
    assert call(table, *DEVICE) == 0
    assert count_calls(project) == 4
    assert "| WRIM-Net | 3 | 30.00 ± 0.00 |" in squeezed(capsys.readouterr().out)
    assert (project / "logs/splits/report_splits.tex").is_file()


def test_fair_table_in_one_command(project, call, monkeypatch, capsys):
    name = "wrimnet.evaluation.chance_level.chance_level"
    chance = type("Chance", (), {"mean": {"Rank-1": 0.0081, "mAP": 0.0259}})
    monkeypatch.setattr(name, lambda *arguments, **options: chance)
    table = "configs/tables/fair.yml"
    assert call(table, "--dataset", "LLCM", "--seeds", "0", "1", *DEVICE) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "| AGW | 2 | 30.00 ± 0.00 | 40.00 ± 0.00 |" in text
    assert "51.5/55.3" in text
    assert "| DEEN | +0.00 ± 0.00, not significant |" in text
    assert "Chance: llcm_ir2vis Rank-1 0.81, mAP 2.59;" in text


PLUGIN = """
from wrimnet.config import Key
def add_config():
    return [Key("MODEL.MMD.WEIGHT", 0.0, "weight"), Key("MODEL.MMD.WIDTH", 1.0, "width")]
"""


def test_a_users_table_with_a_plugin_two_configurations_and_a_grid_of_two_keys(
    project, call, capsys
):
    pytest.importorskip("matplotlib")
    (project / "my_mmd.py").write_text(PLUGIN)
    (project / "mmd.yml").write_text("_BASE_: configs/LLCM/wrim.yml\nPLUGINS: [my_mmd]\n")
    grid = {"MODEL.MMD.WEIGHT": [0.0, 0.5], "MODEL.MMD.WIDTH": [1, 2]}
    rows = {"WRIM-Net": {}, "mine": {"config": "mmd.yml", "grid": grid}}
    content = {"config": "configs/LLCM/wrim.yml", "against": "WRIM-Net", "rows": rows}
    table = write_table(project / "my_table.yml", title="Mine", seeds=[0, 1], **content)
    assert call(table, *DEVICE) == 0
    text = squeezed(capsys.readouterr().out)
    assert "| mine, 0.5, 2 | 2 | 30.00 ± 0.00 |" in text
    assert "Mine, differences" in text and "| mine, 0.0, 1 | +0.00 ± 0.00, not signi" in text
    assert "| 11.60 | 0.5 |" in text
    folder = project / "logs/tables/my_table"
    assert (folder / "report_my_table.png").is_file()
    name = "mmd-MODEL.MMD.WEIGHT=0.5,MODEL.MMD.WIDTH=2"
    record = json.loads((folder / name / "seed1/run.json").read_text())
    assert record["settings"]["MODEL.MMD.WIDTH"] == 2


def test_one_character_of_a_plugin_changed_trains_its_rows_again(project, call, capsys):
    file = project / "scaled_mmd.py"
    file.write_text(PLUGIN)
    (project / "mmd.yml").write_text("_BASE_: configs/LLCM/wrim.yml\nPLUGINS: [scaled_mmd]\n")
    rows = {"WRIM-Net": {}, "mine": {"config": "mmd.yml"}}
    content = {"config": "configs/LLCM/wrim.yml", "rows": rows, "costs": []}
    table = write_table(project / "my_table.yml", **content)
    assert call(table, *DEVICE) == call(table, *DEVICE) == 0
    folder = project / "logs/tables/my_table"
    assert len((folder / "mmd/seed0/calls.txt").read_text().splitlines()) == 1
    file.write_text(PLUGIN + "#")
    capsys.readouterr()
    assert call(table, *DEVICE, "--report-only") == 0
    changed = f"source of plug-ins, {file}, was changed, added or removed"
    assert f"The {changed} since these runs; without" in squeezed(capsys.readouterr().out)
    assert call(table, *DEVICE, "--list") == 0
    listed = capsys.readouterr()
    assert listed.out.count("train_net.py") == 1 and "--resume" not in listed.out
    assert f"{changed}: mmd/seed0 is trained again; what was trained" in squeezed(listed.err)
    assert call(table, *DEVICE) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"the {changed}: mmd/seed0 is trained again" in printed
    assert "2 runs, 1 of them done already" in printed and "since these runs" not in printed
    assert "Source of plug-ins: scaled_mmd " in (folder / "report_my_table.md").read_text()
    assert len(list(folder.glob("*/seed0/replaced1"))) == 1


def test_two_sources_of_a_plugin_do_not_share_a_table(project, call):
    (project / "two_mmd.py").write_text(PLUGIN)
    content = {"config": "mmd.yml", "rows": {"mine": {}}, "seeds": [0, 1], "costs": []}
    (project / "mmd.yml").write_text("_BASE_: configs/LLCM/wrim.yml\nPLUGINS: [two_mmd]\n")
    table = write_table(project / "my_table.yml", **content)
    assert call(table, *DEVICE) == 0
    path = project / "logs/tables/my_table/mine/seed1/results.json"
    results = json.loads(path.read_text())
    results["description"]["plugins"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(results))
    with pytest.raises(ValueError, match="cannot share a table: plug-in two_mmd is"):
        call(table, *DEVICE, "--report-only")
