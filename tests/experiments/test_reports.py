"""Reports of complete, incomplete and mixed sets of runs, from files written by hand."""

import csv
import itertools
import re

import pytest
from fake_runs import COST, write_run
from fake_tables import plan_of

from wrimnet.lab.experiments.experiment_report import WholeReport, facts_of
from wrimnet.lab.experiments.records import check_comparable, read_record_of
from wrimnet.lab.experiments.table_report import (
    Difference,
    difference_table,
    make_report,
    paired_difference,
    result_table,
)
from wrimnet.tables import MISSING, Table, latex, markdown

FULL, NONE, BLOCK = "WRIM-Net", "no MIIM", "Block 1"
ROWS = {NONE: {"folder": "none"}, BLOCK: {"folder": "block1"}, FULL: {"folder": "full"}}
PAPER = {"source": "paper", "numbers": {NONE: "54.83/61.27", FULL: "58.38/64.75"}}
SEEDS = (0, 1, 2)


def squeezed(text):
    """Without the spaces that align the columns."""
    return re.sub(" +", " ", text)


def cells(table, row):
    names = [line[0] for line in table.rows]
    return dict(zip(table.header, table.rows[names.index(row)], strict=True))


def write_two_rows(root, *, full=(0.30, 0.32, 0.34), none=(0.24, 0.22, 0.20), **values):
    for seed, rank1 in enumerate(full):
        write_run(root, "full", seed=seed, rank1=rank1, cost=COST, **values)
    for seed, rank1 in enumerate(none):
        write_run(root, "none", seed=seed, rank1=rank1, **values)


def report(root, seeds=SEEDS, **content):
    content = {"against": FULL, "published": [PAPER], "rows": ROWS, **content}
    return make_report(plan_of(root, seeds, **content))


def whole(*reports, command=""):
    records = [record for one in reports for record in one.records]
    return WholeReport(tuple(facts_of(records, command)), reports)


def test_mean_deviation_difference_and_sign_by_hand(tmp_path):
    write_two_rows(tmp_path / "runs")
    found = report(tmp_path / "runs")
    ours = cells(result_table(found), NONE)
    assert ours["llcm_ir2vis Rank-1"] == "22.00 ± 2.00"
    assert ours["seeds"] == "3"
    assert ours["published Rank-1/mAP: paper"] == "54.83/61.27"
    full = cells(result_table(found), FULL)
    assert (full["M parameters"], full["GFLOP/image"], full["ms/image"]) == ("11.60", "0.5", "7.0")
    gap = cells(difference_table(found), NONE)
    assert gap["llcm_ir2vis Rank-1"] == "-10.00 ± 9.94, same sign"  # differences -6, -10, -14
    assert gap["published Rank-1/mAP: paper"] == "-3.55/-3.48"
    assert gap["llcm_vis2ir mAP"] == "+0.00 ± 0.00, not significant"


def test_weights_of_a_hook_are_a_row_below_the_models_own(tmp_path):
    for seed, rank1 in enumerate((0.30, 0.32)):
        write_run(tmp_path / "runs", "full", seed=seed, rank1=rank1, ema_rank1=rank1 + 0.02)
    found = report(tmp_path / "runs", seeds=(0, 1), rows={FULL: ROWS[FULL]}, published=[])
    assert [row[0] for row in result_table(found).rows] == [FULL, f"{FULL} ema"]
    assert cells(result_table(found), f"{FULL} ema")["llcm_ir2vis Rank-1"] == "33.00 ± 1.41"
    gap = cells(difference_table(found), f"{FULL} ema")
    assert gap["llcm_ir2vis Rank-1"].startswith("+2.00 ± 0.00")


def test_missing_rows_are_dashes_and_missing_seeds_are_named(tmp_path):
    write_two_rows(tmp_path / "runs", none=(0.2,))
    write_run(tmp_path / "runs", "block1", finished=False)
    found = report(tmp_path / "runs")
    table = result_table(found)
    assert cells(table, NONE)["llcm_ir2vis Rank-1"] == "20.00"
    line = cells(table, BLOCK)
    assert {line[name] for name in line if "llcm" in name} == {MISSING}
    assert line["seeds"] == line["M parameters"] == MISSING
    assert set(cells(difference_table(found), BLOCK).values()) == {BLOCK, MISSING, "—/—"}
    assert f"{NONE}: seed 1, 2 missing" in table.notes
    assert f"{BLOCK}: seed 0, 1, 2 missing" in table.notes
    assert not any(FULL in note for note in table.notes)
    assert "not significant" in cells(difference_table(found), NONE)["llcm_ir2vis Rank-1"]


def test_any_row_is_what_the_others_are_compared_with(tmp_path):
    write_two_rows(tmp_path / "runs")
    table = difference_table(report(tmp_path / "runs", against=NONE))
    assert table.header[0] == f"row minus {NONE}"
    assert cells(table, FULL)["llcm_ir2vis Rank-1"] == "+10.00 ± 9.94, same sign"
    assert len(whole(report(tmp_path / "runs", against="")).tables) == 1


def test_numbers_of_several_sources_are_shown_and_compared_with_none(tmp_path):
    write_two_rows(tmp_path / "runs")
    other = {"source": "README", "dataset": "Synthetic", "numbers": {NONE: "50.0/—"}}
    elsewhere = {"source": "theirs", "dataset": "RegDB", "numbers": {NONE: "1/2"}}
    found = report(tmp_path / "runs", published=[PAPER, other, elsewhere])
    assert cells(result_table(found), NONE)["published Rank-1/mAP: README"] == "50.0/—"
    assert not any("theirs" in name for name in result_table(found).header)
    gap = cells(difference_table(found), NONE)
    assert gap["llcm_ir2vis Rank-1"] == "-10.00 ± 9.94, lower"
    assert not any("published" in name for name in gap)


def test_metrics_and_costs_are_those_that_the_table_names(tmp_path):
    write_two_rows(tmp_path / "runs")
    log = tmp_path / "runs/none/seed0/metrics.jsonl"
    log.write_text('{"iteration": 1, "images_per_second": 61.0}\n{"iteration": 2}\n')
    found = report(
        tmp_path / "runs", metrics=["Rank-2", "mINP"], costs=["images_per_second"], published=[]
    )
    line = cells(result_table(found), NONE)
    assert (line["llcm_ir2vis Rank-2"], line["llcm_vis2ir mINP"]) == (
        "60.00 ± 0.00",
        "20.00 ± 0.00",
    )
    assert line["images/s"] == "61"
    assert "M parameters" not in line
    with pytest.raises(ValueError, match=r"no FirstTier; it has Rank-1, mAP, mINP"):
        result_table(report(tmp_path / "runs", metrics=["FirstTier"], published=[]))


def test_nothing_finished_is_a_table_of_dashes(tmp_path):
    write_run(tmp_path / "runs", "none", finished=False)
    text = whole(report(tmp_path / "runs", (0,))).markdown()
    assert "0 of 3 runs finished" in text
    assert "no MIIM: seed 0 missing" in text
    assert "| no MIIM | — | — | — | — | 54.83/61.27 |" in squeezed(text)


def test_cost_says_its_conditions(tmp_path):
    write_two_rows(tmp_path / "runs")
    text = whole(report(tmp_path / "runs")).markdown()
    assert f"- Cost measured on {COST['device']}, {COST['input']}, {COST['precision']}\n" in text


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"protocols": ("llcm_ir2vis",)}, "protocols"),
        ({"table": "swapped"}, "table of llcm_"),
        ({"num_trials": 2}, "num_trials of llcm_"),
        ({"queries": [100]}, "queries of llcm_"),
        ({"draw": "official"}, "draw of llcm_"),
        ({"cmc": "images"}, "cmc of llcm_"),
        ({"flip": True}, "flip"),
        ({"split": "train"}, "split"),
        ({"input": "96x36"}, "input"),
        ({"about": {"overrides": ["SOLVER.MAX_EPOCH", "9"]}}, "overrides"),
        ({"about": {"generated_data": {"seed": 1}}}, "generated_data"),
        ({"about": {"dataset": "LLCM"}}, "dataset"),
    ],
)
def test_mixed_runs_are_refused_and_the_difference_is_named(tmp_path, change, fact):
    write_run(tmp_path / "runs", "full")
    write_run(tmp_path / "runs", "none", **change)
    with pytest.raises(ValueError, match=f"cannot share a table: {fact}") as caught:
        report(tmp_path / "runs", (0,))
    assert "none/seed0" in str(caught.value)
    assert "full/seed0" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"MODEL.WRIM.CMKIC.WEIGHT": 0.1}, True),
        ({"DATALOADER.NUM_WORKERS": 9}, False),  # shapes no result
        ({"YOUNGER.KEY": 1}, False),
    ],
)
def test_runs_of_one_row_differ_in_nothing_that_shapes_results(tmp_path, change, refused):
    settings = {"MODEL.WRIM.CMKIC.WEIGHT": 0.5, "DATALOADER.NUM_WORKERS": 1}
    for seed, values in enumerate((settings, {**settings, **change})):
        about = {"settings": {**values, "SEED": seed}}
        write_run(tmp_path / "runs", "none", seed=seed, about=about)
    if not refused:
        report(tmp_path / "runs", (0, 1))
        return
    with pytest.raises(ValueError, match=r"MODEL.WRIM.CMKIC.WEIGHT is 0.5 in one, 0.1"):
        report(tmp_path / "runs", (0, 1))


def test_calls_may_differ_in_keys_that_shape_no_result(tmp_path):
    calls = (
        ["my.yml", "SOLVER.MAX_EPOCH", "9", "DATASETS.ROOT", "/a", "SOLVER.PRECISION", "fp32"],
        ["my.yml", "SOLVER.PRECISION=fp32", "SOLVER.MAX_EPOCH=9", "DATALOADER.NUM_WORKERS", "3"],
        ["other.yml", "SOLVER.MAX_EPOCH", "9", "SOLVER.PRECISION", "fp32"],
    )
    for seed, overrides in enumerate(calls):
        write_run(tmp_path / "runs", "none", seed=seed, about={"overrides": overrides})
    report(tmp_path / "runs", (0, 1))
    with pytest.raises(ValueError, match=r"overrides is \['my.yml', 'SOLVER.MAX_EPOCH=9', .*other"):
        report(tmp_path / "runs", (0, 1, 2))


def test_starts_are_compared_only_where_rows_declare_them(tmp_path):
    starts = {"full": "random", "none": "weights c0ffee"}
    for (name, start), seed in itertools.product(starts.items(), (0, 1)):
        write_run(tmp_path / "runs", name, seed=seed, start=start)
    rows = {FULL: {"folder": "full"}, NONE: {"folder": "none"}}
    with pytest.raises(ValueError, match=r"start is 'random' in .*MODEL.WEIGHTS of their own"):
        report(tmp_path / "runs", (0, 1), rows=rows, published=[])
    rows[NONE]["MODEL.WEIGHTS"] = "mine.pth"
    found = result_table(report(tmp_path / "runs", (0, 1), rows=rows, published=[]))
    assert found.notes == (
        "Rows start from different weights: WRIM-Net from random, no MIIM from weights c0ffee.",
    )
    write_run(tmp_path / "runs", "none", seed=2, start="weights decade")
    with pytest.raises(
        ValueError, match=r"none/seed0 and .*none/seed2 cannot share a table: start"
    ):
        report(tmp_path / "runs", (0, 1, 2), rows=rows, published=[])


def test_the_papers_numbers_are_those_of_the_rows(tmp_path):
    write_two_rows(tmp_path / "runs")
    found = report(tmp_path / "runs", published=[{"source": "paper"}])
    ours = cells(result_table(found), NONE)
    assert ours["published Rank-1/mAP: paper, LLCM, direction as printed"] == "54.83/61.27"
    found = report(tmp_path / "runs", published=[{"source": "paper", "dataset": "LLCM"}])
    assert not any("published" in name for name in result_table(found).header)


def test_facts_that_may_differ_are_not_looked_at(tmp_path):
    write_run(tmp_path / "runs", "full", regdb_trial=1, queries=[5])
    write_run(tmp_path / "runs", "none", regdb_trial=2, queries=[6])
    plan = plan_of(tmp_path / "runs", rows=["full", "none"])
    records = [read_record_of(run) for run in plan.runs]
    check_comparable(records, but=("regdb_trial", "queries"))
    with pytest.raises(ValueError, match="regdb_trial is 1 in one, 2 in the other"):
        make_report(plan)


def test_costs_of_two_devices_are_refused(tmp_path):
    write_run(tmp_path / "runs", "full", cost=COST)
    write_run(tmp_path / "runs", "none", cost={**COST, "device": "a GPU"})
    with pytest.raises(ValueError, match="costs were measured under different conditions"):
        report(tmp_path / "runs", (0,))
    counted = report(tmp_path / "runs", (0,), costs=["parameters", "gflop"])
    assert cells(result_table(counted), NONE)["M parameters"] == "11.60"


def test_results_of_another_configuration_are_refused(tmp_path):
    write_run(tmp_path / "runs", "full", config="def")
    with pytest.raises(ValueError, match="holds results of configuration def, this run has abc"):
        report(tmp_path / "runs", (0,))


def test_report_says_how_it_was_made_and_writes_three_files(tmp_path):
    write_two_rows(tmp_path / "runs")
    rows = {name: ROWS[name] for name in (NONE, FULL)}
    document = whole(report(tmp_path / "runs", rows=rows), command="python tools/run_table.py x")
    paths = document.write(tmp_path / "docs" / "results")
    assert [path.name for path in paths] == ["results.md", "results.tex", "results.csv"]
    text = paths[0].read_text()
    for words in (
        "Run with `python tools/run_table.py`",
        "Reported with `python tools/run_table.py x`",
        "6 of 6 runs finished; seeds 0, 1, 2",
        "commit c0ffee, torch 2.13.0",
        "Time of all runs together: 0:06:00",
    ):
        assert words in text
    assert paths[1].read_text().count(r"\toprule") == 2
    lines = list(csv.DictReader(paths[2].open()))
    line = next(x for x in lines if (x["row"], x["metric"]) == (NONE, "Rank-1"))
    assert float(line["mean"]) == pytest.approx(22)
    assert [float(value) for value in line["values"].split()] == pytest.approx([24, 22, 20])
    assert float(line["difference"]) == pytest.approx(-10)
    assert float(line["published_difference"]) == pytest.approx(54.83 - 58.38)
    assert (line["verdict"], line["runs"]) == ("same sign", "0 1 2")


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ({"scored_on": "held-out identities"}, "Scored on held-out identities."),
        ({"grid": {"SOLVER.BASE_LR": [0.1, 0.2]}}, "is chosen on test data"),
        ({"grid": {"SOLVER.BASE_LR": [0.1]}, "scored_on": "held-out identities"}, "held-out"),
        ({}, ""),
    ],
)
def test_a_table_says_what_it_is_scored_on(tmp_path, content, note):
    write_run(tmp_path / "runs", "full")
    table = result_table(make_report(plan_of(tmp_path / "runs", rows=["full"], **content)))
    assert note in " ".join(table.notes)
    assert bool(note) == any("Scored" in text for text in table.notes)
    write_run(tmp_path / "others", "full", split="train")
    table = result_table(make_report(plan_of(tmp_path / "others", rows=["full"], **content)))
    assert "Scored on held-out identities." in table.notes
    assert not any("test" in text for text in table.notes)


def write_split(root, split, *, rank1=0.5, setting=0.5, **values):
    settings = {"MODEL.WRIM.CMKIC.WEIGHT": setting, "DATASETS.REGDB_TRIAL": split}
    about = {"split": split, "dataset": "RegDB", "settings": settings, "seed": 0}
    about |= {"split_key": "DATASETS.REGDB_TRIAL", "described_as": "regdb_trial"}
    folder = write_run(root, "w", about=about, rank1=rank1, seed=split, **values)
    folder.rename(folder.with_name(f"split{split}"))


def test_mean_and_deviation_over_splits_by_hand(tmp_path):
    root = tmp_path / "runs"
    for split, rank1 in enumerate((0.70, 0.72, 0.74), 1):
        write_split(root, split, rank1=rank1, queries=[100 + split], regdb_trial=split)
    plan = plan_of(root, (1, 2, 3, 4), rows={"WRIM-Net": {"folder": "w"}}, splits=["all"])
    table = result_table(make_report(plan))
    assert cells(table, "WRIM-Net")["llcm_ir2vis Rank-1"] == "72.00 ± 2.00"
    assert cells(table, "WRIM-Net")["splits"] == "3"
    assert table.notes == ("WRIM-Net: split 4 missing",)
    write_split(root, 4, cmc="images")
    with pytest.raises(ValueError, match="cannot share a table: cmc of"):
        make_report(plan)


@pytest.mark.parametrize(
    ("value", "margin", "published", "verdict"),
    [
        (-2.0, 1.0, -0.5, "same sign"),
        (2.0, 1.0, -0.5, "other sign"),
        (-2.0, 2.5, -0.5, "not significant"),
        (-2.0, None, -0.5, "not significant"),
        (-2.0, 1.0, None, "lower"),
        (2.0, 1.0, None, "higher"),
    ],
)
def test_verdict(value, margin, published, verdict):
    assert Difference(value, margin).verdict(published) == verdict


def test_difference_is_paired_by_seed_with_students_interval():
    """Differences 1, 2 and 6 of the seeds of both: mean 3, deviation sqrt(7), t(2) = 4.3027."""
    row, full = {0: 11.0, 1: 22.0, 2: 36.0, 7: 90.0}, {2: 30.0, 0: 10.0, 1: 20.0, 8: 1.0}
    found = paired_difference(row, full)
    assert found.value == pytest.approx(3)
    assert found.margin == pytest.approx(4.302653 * (7 / 3) ** 0.5, abs=1e-5)
    assert found.verdict(None) == "not significant"
    assert paired_difference({0: 1.0}, {0: 4.0, 1: 5.0}) == Difference(-3.0, None)
    assert paired_difference({0: 1.0}, {1: 5.0}) is None


def test_two_forms_of_a_table():
    table = Table("A & B", ("row", "x_1"), (("a", "1.0 ± 0.5"), ("b", MISSING)), ("Note 5 %.",))
    pattern = r"\| row \| x_1 \|\n\|:-+\|-+:\|\n\| a \| 1.0 ± 0.5 \|\n\| b \| — \|\n\nNote 5 %.\n"
    assert re.search(pattern, squeezed(markdown(table)))
    text = squeezed(latex(table))
    assert r"\caption{A \& B}" in text
    assert "a & 1.0 $\\pm$ 0.5 \\\\" in text
    assert r"row & x\_1 \\" in text and "b & --- \\\\" in text
    assert r"Note 5 \%." in text
