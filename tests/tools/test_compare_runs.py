"""Runs side by side: what differs in their configurations, their results, their curves."""

import importlib.util
import json
import sys
from types import SimpleNamespace

import wrimnet.compat  # noqa: F401

import pytest
from fake_runs import PROJECT, results
from fastreid.data.datasets import DATASET_REGISTRY
from tiny_runs import tiny_cfg

from wrimnet.config import IF_SET, NEVER, Key
from wrimnet.data.datasets.base import CrossModalityDataset


def write_run(folder, *, finished=True, rank1=0.3, about=None, **keys):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(tiny_cfg(folder, folder, **keys).dump())
    if finished:
        content = results(**(about or {}))
        for entry in content["results"]:
            entry["mean"] |= {"cmc": [rank1] * 20, "mINP": 0.2}
        for entry in content.get("hooks", {}).get("ema", ()):
            entry["mean"]["cmc"] *= 10
        (folder / "results.json").write_text(json.dumps(content))
    line = {"iteration": 10, "total_loss": 4.5, "llcm_ir2vis/mAP": 0.4}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    return folder


def compare(monkeypatch, *words):
    spec = importlib.util.spec_from_file_location("compare", PROJECT / "tools/compare_runs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["tools/compare_runs.py", *map(str, words)])
    return module.main()


def test_keys_results_and_curves_of_two_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", finished=False, SOLVER__BASE_LR="0.001")
    assert compare(monkeypatch, "a", "b", "--figure", "curves.png", "--csv", "runs.csv") == 0
    rows = [line.replace(" ", "") for line in capsys.readouterr().out.splitlines()]
    assert rows[4:6] == ["|SOLVER.BASE_LR|0.00035|0.001|", ""]  # the one key, not OUTPUT_DIR
    assert any(row.startswith("|a|10|4.500|30.00|40.00|20.00|30.00|") for row in rows)
    assert (tmp_path / "runs.csv").read_text(encoding="utf-8").splitlines()[1:] == [
        "a,10,4.500,30.00,40.00,20.00,30.00,40.00,20.00", "b,10,4.500,—,—,—,—,—,—",
    ]  # fmt: skip
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_keys_are_shown_as_they_are_set_and_compared_as_they_are_hashed(
    tmp_path, monkeypatch, capsys
):
    """The hash has none as an absent key, and auto and never as one."""
    write_run(tmp_path / "a", MODEL__WRIM__MIIM__NORM="none", SOLVER__COMPILE="always")
    write_run(tmp_path / "b", SOLVER__COMPILE="auto")
    compare(monkeypatch, tmp_path / "a", tmp_path / "b")
    rows = [line.replace(" ", "") for line in capsys.readouterr().out.splitlines()]
    assert rows[4:7] == ["|MODEL.WRIM.MIIM.NORM|none|entrance|", "|SOLVER.COMPILE|always|auto|", ""]
    write_run(tmp_path / "c", SOLVER__COMPILE="never")
    compare(monkeypatch, tmp_path / "b", tmp_path / "c")
    assert "None: the runs have one configuration" in capsys.readouterr().out


def test_precision_of_runs_on_a_gpu_is_seen_on_another_machine(tmp_path, monkeypatch, capsys):
    for name, precision in (("a", "bf16"), ("b", "fp32")):
        config = write_run(tmp_path / name, finished=False) / "config.yaml"
        text = config.read_text().replace("DEVICE: cpu", "DEVICE: cuda:7")
        config.write_text(text.replace("PRECISION: fp32", f"PRECISION: {precision}"))
    compare(monkeypatch, tmp_path / "a", tmp_path / "b")
    assert "|SOLVER.PRECISION|bf16|fp32|" in capsys.readouterr().out.replace(" ", "")


def test_weights_of_a_hook_are_compared_as_another_run(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "a", about={"ema_rank1": 0.35}, rank1=0.3)
    compare(monkeypatch, tmp_path / "a")
    rows = [line.replace(" ", "") for line in capsys.readouterr().out.splitlines()]
    assert any(row.startswith("|aema|—|—|35.00|40.00|20.00|") for row in rows)
    assert any(row.startswith("|aema|+5.00|+0.00|+0.00|") for row in rows)


def test_another_source_of_a_plugin_is_named(tmp_path, monkeypatch, capsys):
    for name in "abc":
        about = {"plugins": [{"module": "my_loss", "sha256": name * 64}]} if name != "c" else {}
        write_run(tmp_path / name, about=about)
    write_run(tmp_path / "d", finished=False)
    compare(monkeypatch, *(tmp_path / name for name in "abcd"))
    rows = [line.replace(" ", "") for line in capsys.readouterr().out.splitlines()]
    assert f"|plug-inmy_loss|{'a' * 12}|{'b' * 12}|—|(notfinished)|" in rows


def test_one_run_and_equal_ones_have_no_table_of_differences(tmp_path, monkeypatch, capsys):
    for name in ("a", "b"):
        write_run(tmp_path / name)
    compare(monkeypatch, tmp_path / "a")
    assert "Keys in which" not in capsys.readouterr().out
    compare(monkeypatch, tmp_path / "a", tmp_path / "b")
    first, _, second = capsys.readouterr().out.splitlines()[:3]
    assert (first, second) == (
        "Keys in which the runs differ", "None: the runs have one configuration, start and images.",
    )  # fmt: skip


def test_configurations_are_compared_by_seed_and_named_by_what_differs(
    tmp_path, monkeypatch, capsys
):
    """Differences of 10, 20 and 30 points: mean 20, t(2, 0.975) * 10 / sqrt(3) = 24.84."""
    runs = []
    for seed in range(3):
        keys = {"SEED": str(seed)}
        runs.append(write_run(tmp_path / "a" / f"seed{seed}" / "run", rank1=0.3, **keys))
        rank1, keys = 0.4 + 0.1 * seed, {**keys, "SOLVER__BASE_LR": "0.001"}
        runs.append(write_run(tmp_path / "b" / f"seed{seed}" / "run", rank1=rank1, **keys))
    assert (
        compare(monkeypatch, *runs, "--page", tmp_path / "x.html", "--csv", tmp_path / "x.csv") == 0
    )
    out = capsys.readouterr().out
    assert "Differences from a/seed0, a/seed1, a/seed2" in out
    assert "+20.00 ± 24.84" in out
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert lines[0].startswith("run,iterations,loss,llcm_ir2vis Rank-1,llcm_ir2vis mAP")
    assert [line.partition(",")[0] for line in lines[1:3]] == ["a/seed0", "b/seed0"]
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert page.count('<figure class="chart">') == 2
    assert "+20.00 ± 24.84" in page
    assert '"x": [10]' in page  # iterations count from 1, as in the table


def test_results_on_other_images_have_no_difference(tmp_path, monkeypatch, capsys):
    for name, images in (("a", "c0ffee"), ("b", "decade")):
        write_run(tmp_path / name, about={"images": images}, SOLVER__BASE_LR=f"0.{len(images)}")
    write_run(tmp_path / "c", rank1=0.5, about={"images": "c0ffee"}, SOLVER__BASE_LR="0.001")
    compare(monkeypatch, *(tmp_path / name for name in "abc"))
    _, differences = capsys.readouterr().out.split("Differences from a")
    rows = [line.replace(" ", "") for line in differences.splitlines()]
    assert any(row.startswith("|b|—|—|") for row in rows)
    assert any(row.startswith("|c|+20.00|") for row in rows)
    assert "tested on other images" in differences
    write_run(tmp_path / "d", finished=False, SOLVER__BASE_LR="0.002")
    compare(monkeypatch, tmp_path / "c", tmp_path / "d")
    assert "tested on other images" not in capsys.readouterr().out


def write_trials(folder, dataset, key, fact, **keys):
    """Two runs of two trials each, the second better by 10 and 20 points."""
    keys |= {"DATASETS__NAMES": f"('{dataset}',)", "TEST__PROTOCOLS": "()"}
    runs = []
    for trial in (1, 2):
        about = {"images": f"of {trial}", "train_images": f"of {trial}", fact: trial}
        of_trial = {**keys, key: str(trial)}
        for name, rank1, rate in (("a", 0.3, "0.002"), ("b", 0.3 + 0.1 * trial, "0.001")):
            path = folder / name / f"trial{trial}"
            of_run = {**of_trial, "SOLVER__BASE_LR": rate}
            runs.append(write_run(path, rank1=rank1, about=about, **of_run))
    return runs


def test_trials_of_regdb_are_paired(tmp_path, monkeypatch, capsys):
    """Each trial has test images of its own."""
    compare(monkeypatch, *write_trials(tmp_path, "RegDB", "DATASETS__REGDB_TRIAL", "regdb_trial"))
    out = capsys.readouterr().out
    assert "Differences from a/trial1, a/trial2" in out
    assert "b/trial1, b/trial2" in out and "+15.00 ± 63.53" in out


class Folds(CrossModalityDataset):
    name = title = folder_name = "Folds"
    protocols, numbers, number_key = (), (1, 2), "DATASETS.FOLD"


@pytest.mark.parametrize("hashed", [IF_SET, NEVER])
def test_trials_of_a_plugin_are_paired_however_their_key_is_hashed(
    tmp_path, monkeypatch, capsys, hashed
):
    keys = [Key("DATASETS.FOLD", 1, "which fold", hashed=hashed)]
    monkeypatch.setitem(sys.modules, "folds", SimpleNamespace(add_config=lambda: keys))
    monkeypatch.setitem(DATASET_REGISTRY._obj_map, "Folds", Folds)
    words = ("Folds", "DATASETS__FOLD", "folds_trial")
    compare(monkeypatch, *write_trials(tmp_path, *words, PLUGINS="['folds']"))
    out = capsys.readouterr().out
    assert "Differences from a/trial1, a/trial2" in out and "+15.00 ± 63.53" in out


def test_two_runs_of_one_configuration_and_seed_are_not_paired(tmp_path, monkeypatch, capsys):
    runs = [write_run(tmp_path / name) for name in "ab"]
    runs.append(write_run(tmp_path / "c", SOLVER__BASE_LR="0.001"))
    compare(monkeypatch, *runs)
    assert "None: of a, b, two have one configuration and one seed." in capsys.readouterr().out


def test_results_of_other_weights_are_refused(tmp_path, monkeypatch):
    run = write_run(tmp_path / "a")
    content = json.loads((run / "results.json").read_text())
    (run / "model_final.pth").write_bytes(b"weights")
    content["description"]["weights"] = {"path": "b/model_final.pth", "sha256": "0" * 64}
    (run / "results.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"results\.json is from other weights \(b/model_final"):
        compare(monkeypatch, run)


def test_files_of_a_run_are_not_replaced(tmp_path, monkeypatch, capsys):
    run = write_run(tmp_path / "a")
    before = (run / "results.json").read_text()
    for flag in ("--csv", "--page"):
        with pytest.raises(SystemExit):
            compare(monkeypatch, run, flag, run / "results.json")
        assert "is a file of a run; give another one" in capsys.readouterr().err
    assert (run / "results.json").read_text() == before


def test_what_is_no_run_is_told(tmp_path, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match=r"is not the folder of a run: it has no config\.yaml"
    ):
        compare(monkeypatch, tmp_path)
