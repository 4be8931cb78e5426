"""The report at the end of training: made where it can be, never in the way."""

import re
import shutil

from wrimnet.config import setup_cfg
from wrimnet.evaluation.results import result_tables
from wrimnet.run_folder import read_results
from wrimnet.visualization import run_report
from wrimnet.visualization.run_report import (
    Findings,
    changed_keys,
    describe_steps,
    report_training,
    write_report,
)


def cfg_of(run, folder):
    return setup_cfg(str(run / "config.yaml"), options=["OUTPUT_DIR", str(folder)])


def test_report_after_training_records_the_environment(finished_run, tmp_path, monkeypatch):
    folder = tmp_path / "wrim"
    shutil.copytree(finished_run.run, folder)
    monkeypatch.setattr(run_report, "build_findings", lambda cfg, run: Findings(notes=["left out"]))
    report_training(cfg_of(finished_run.run, folder))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "left out" in page
    assert "<td>cores</td>" in page and "<td>processor</td>" in page
    assert (folder / "environment.json").is_file()


def test_a_report_that_cannot_be_made_is_one_line_in_the_log(finished_run, tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(
        run_report._logger, "warning", lambda text, *words: warnings.append(text % words)
    )
    report_training(cfg_of(finished_run.run, tmp_path))
    (line,) = warnings
    assert "no results.json in" in line
    assert "training itself is complete" in line
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "results.json").write_text('{"description": {}, "results": []}')
    report_training(cfg_of(finished_run.run, tmp_path))
    assert "results.json has no result: its dataset has no protocols" in warnings[-1]


def test_a_report_without_its_dataset_says_so_and_shows_the_rest(finished_run, tmp_path):
    folder = tmp_path / "wrim"
    shutil.copytree(finished_run.run, folder)
    page = write_report(folder, ["DATASETS.ROOT", str(tmp_path)]).read_text(encoding="utf-8")
    assert "Figures and chance level are left out: " in page
    assert "Ranked lists" not in page
    assert "total" in page


def test_a_report_on_another_device_is_of_the_configuration_that_was_trained(
    finished_run, tmp_path
):
    """On a CPU precision is fp32; the words on the command line are for the figures."""
    folder = tmp_path / "wrim"
    shutil.copytree(finished_run.run, folder)
    for name, old, new in (
        ("config.yaml", "DEVICE: cpu", "DEVICE: cuda:7"),
        ("config.yaml", "PRECISION: fp32", "PRECISION: bf16"),
        ("results.json", read_results(folder)["description"]["config"], "c0ffee123456"),
    ):
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    page = write_report(folder, ["DATASETS.ROOT", str(tmp_path)]).read_text(encoding="utf-8")
    assert "configuration c0ffee123456, " in page
    rows = re.sub(r"</td>\s*<td>", " ", page)
    for name, value in (("SOLVER.PRECISION", "bf16"), ("MODEL.DEVICE", "cuda:7")):
        assert f"{name} {value}" in rows
    assert f"DATASETS.ROOT {finished_run.data.parent}" in rows


def test_tables_hold_every_result_and_protocol(finished_run):
    content = read_results(finished_run.run)
    (table,) = result_tables(content)
    assert content["description"]["synthetic"] is True
    assert {row[0] for row in table.rows} == {"llcm_ir2vis", "llcm_vis2ir"}
    assert [row[2] for row in table.rows[:2]] == ["global+stripes+auxiliary"] * 2
    assert all(len(row) == len(table.header) for row in table.rows)
    assert len(table.lines) == 2
    assert "2 trials, camera rule llcm_same_identity_same_camera" in table.lines[0]


def test_a_deviation_stands_only_where_trials_differ(finished_run):
    content = read_results(finished_run.run)
    for number, entry in enumerate(content["results"]):
        entry["num_trials"] = 2
        entry["std"] = {"cmc": [0.0] * 20, "mAP": 1e-17 if number else 0.01, "mINP": 0.0}
    (table,) = result_tables(content)
    assert all("±" in cell for cell in table.rows[0][-6:])
    assert not any("±" in cell for row in table.rows[1:] for cell in row)


def test_top_of_the_page_says_when_how_long_and_on_what():
    lines = [{"iteration": 10, "time": 2.0}, {"iteration": 15, "time": 4.0}]
    facts = {"device": "cuda:0", "gpu": "A card", "finished": "2026-01-02 03:04+00:00"}
    said = describe_steps(facts, lines)
    assert said == "Finished 2026-01-02 03:04+00:00, 0:00:40 of steps on A card"
    assert describe_steps({"device": "cpu"}, lines) == "Training: 0:00:40 of steps on cpu"


def test_changed_keys_leave_out_what_stands_at_its_default(finished_run):
    changed = {name: value for name, value, _ in changed_keys(cfg_of(finished_run.run, "x"))}
    assert changed["INPUT.SIZE_TEST"] == [32, 16]
    assert not {"SEED", "OUTPUT_DIR", "MODEL.WRIM.EMBEDDING_PARTS"} & changed.keys()
