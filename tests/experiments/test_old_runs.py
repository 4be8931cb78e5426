"""S1 and the fair table from run folders of the programs before run_table.py: the same numbers.

The fixture was made by run_ablations.py and fair_table.py of commit d9f8585 on a stand-in for the
training whose results were drawn at random; two runs had failed.
"""

import json

import pytest
from fake_runs import PROJECT, results

from wrimnet.lab.experiments.experiment_report import CSV_HEADER, csv_line
from wrimnet.lab.experiments.plans import Setting, make_plan
from wrimnet.lab.experiments.table_file import read_table
from wrimnet.lab.experiments.table_report import difference_table, make_report, result_table

OLD = json.loads((PROJECT / "tests/fixtures/experiments/old_runs.json").read_text())
OVERRIDES = ("MODEL.DEVICE", "cpu", "MODEL.WRIM.MIIM.NORM", "none")  # the default then
WORDS = {"not shown": "not significant"}  # what the report calls it now


@pytest.fixture(scope="module")
def old_runs(tmp_path_factory):
    """The run folders, as the old programs left them."""
    root = tmp_path_factory.mktemp("old")
    for name, run in OLD["runs"].items():
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(run["run"]))
        if run["means"]:
            content = results(run["run"]["config"])
            for entry in content["results"]:
                entry["mean"] = run["means"][entry["protocol"]]
            (folder / "results.json").write_text(json.dumps(content))
        if "cost" in run:
            (folder / "cost.json").write_text(json.dumps(run["cost"]))
        lines = run.get("images_per_second", [])
        text = [
            json.dumps({"iteration": i, "images_per_second": s}) for i, s in enumerate(lines, 1)
        ]
        (folder / "metrics.jsonl").write_text("".join(line + "\n" for line in text))
    return root


def report(name, root):
    file = PROJECT / f"configs/tables/{name}.yml"
    table = read_table(file, dataset="LLCM", project=PROJECT)
    setting = Setting(root / table.out, "LLCM", overrides=OVERRIDES)
    plan = make_plan(table, setting, [0, 1, 2])
    for run in plan.runs:  # the same configuration, so that none is trained again
        assert run.config == OLD["runs"][f"{table.out}/{run.name}"]["run"]["config"]
    return make_report(plan)


@pytest.mark.parametrize("name", ["s1", "fair"])
def test_numbers_are_the_same_to_the_last_bit(name, old_runs):
    found = report(name, old_runs)
    lines = [csv_line(found, row, column) for row in found.rows for column in found.columns]
    new = [dict(zip(CSV_HEADER, line, strict=True)) for line in lines]
    shared = ("table", "row", "protocol", "metric", "mean", "std", "difference", "margin")
    shared += ("parameters", "gflop", "latency_ms")
    assert [[line[key] for key in shared] for line in new] == [
        [line[key] for key in shared] for line in OLD[name]
    ]
    assert [(line["runs"], line["verdict"]) for line in new] == [
        (line["seeds"], WORDS.get(line["verdict"], line["verdict"])) for line in OLD[name]
    ]
    if name == "s1":
        published = [line["paper_difference"] for line in OLD[name]]
        assert [line["published_difference"] or 0.0 for line in new] == published


def test_s1_is_printed_with_the_same_numbers(old_runs):
    found = report("s1", old_runs)
    old, differences = OLD["s1_tables"]
    table = result_table(found)
    assert (table.title, list(table.notes)) == (old["title"], old["notes"])
    num_own = 2 + len(found.columns)
    for new, row in zip(table.rows, old["rows"], strict=True):
        old_own, old_paper, old_costs = row[:num_own], row[num_own : num_own + 2], row[-3:]
        assert list(new[:num_own]) == old_own
        assert list(new[num_own : num_own + 3]) == old_costs
        assert new[-1].split("/") == old_paper
    for new, old in zip(difference_table(found).rows, differences["rows"], strict=True):
        assert [cell.replace("not significant", "not shown") for cell in new[:5]] == old[:5]
        assert new[5].split("/") == old[5:]


def test_fair_table_is_printed_with_the_same_numbers(old_runs):
    found = report("fair", old_runs)
    table, old = result_table(found), OLD["fair_tables"][0]
    kept = list(table.header).index("activation MB")  # the old program counted it for each report
    assert [row[:kept] + row[kept + 1 :] for row in table.rows] == [
        tuple(row[:kept] + row[kept + 1 :]) for row in old["rows"]
    ]
    sources = [name.partition(": ")[2] for name in old["header"][kept + 2 :]]
    assert sources.pop() == "direction not stated, WRIM-Net's supplement"  # by its name of now:
    sources.append("paper, LLCM, direction as printed")
    assert [name.partition(": ")[2] for name in table.header[kept + 2 :]] == sources
    for new, row in zip(difference_table(found).rows, OLD["fair_tables"][1]["rows"], strict=True):
        assert [cell.replace("not significant", "not shown") for cell in new] == row
