"""Reports of complete, incomplete and mixed sets of runs, from files written by hand."""

import csv
import re

import pytest
from fake_runs import COST, write_run
from run_splits import comma_separated

from wrimnet.lab.experiments.experiment_report import report_folders
from wrimnet.lab.experiments.plans import FULL
from wrimnet.lab.experiments.records import check_comparable, read_records
from wrimnet.lab.experiments.row_report import (
    Difference,
    difference_table,
    make_report,
    paired_difference,
    result_table,
    tables_of,
)
from wrimnet.tables import MISSING, Table, latex, markdown


def squeezed(text):
    """Without the spaces that align the columns."""
    return re.sub(" +", " ", text)


def cells(table, row):
    names = [line[0] for line in table.rows]
    return dict(zip(table.header, table.rows[names.index(row)], strict=True))


def write_two_rows(root, *, full=(0.30, 0.32, 0.34), none=(0.24, 0.22, 0.20), **values):
    for seed, rank1 in enumerate(full):
        write_run(root, FULL, seed=seed, rank1=rank1, cost=COST, **values)
    for seed, rank1 in enumerate(none):
        write_run(root, "s1_none", seed=seed, rank1=rank1, **values)


def test_mean_deviation_difference_and_sign_by_hand(tmp_path):
    write_two_rows(tmp_path)
    report = make_report("S1", read_records([tmp_path]))
    ours = cells(result_table(report), "no MIIM")
    assert ours["llcm_ir2vis Rank-1"] == "22.00 ± 2.00"
    assert ours["seeds"] == "3"
    assert ours["paper Rank-1, direction as printed"] == "54.83"
    full = cells(result_table(report), "WRIM-Net")
    assert (full["M parameters"], full["GFLOP/image"], full["ms/image"]) == ("11.60", "0.5", "7.0")
    gap = cells(difference_table(report), "no MIIM")
    assert gap["llcm_ir2vis Rank-1"] == "-10.00 ± 9.94, same sign"  # differences -6, -10, -14
    assert gap["paper Rank-1, direction as printed"] == "-3.55"
    assert gap["llcm_vis2ir mAP"] == "+0.00 ± 0.00, not shown"


def test_missing_rows_are_dashes_and_missing_seeds_are_named(tmp_path):
    write_two_rows(tmp_path, none=(0.2,))
    write_run(tmp_path, "s1_block1", finished=False)
    report = make_report("S1", read_records([tmp_path]))
    table = result_table(report)
    assert len(table.rows) == 8
    assert cells(table, "no MIIM")["llcm_ir2vis Rank-1"] == "20.00"
    for row in ("Block 1", "Block 4"):
        line = cells(table, row)
        assert {line[name] for name in line if "llcm" in name} == {MISSING}
        assert line["seeds"] == line["M parameters"] == MISSING
        assert set(cells(difference_table(report), row).values()) >= {MISSING}
    assert "no MIIM: seed 1, 2 missing" in table.notes
    assert "Block 1: seed 0, 1, 2 missing" in table.notes
    assert not any("WRIM-Net" in note for note in table.notes)
    assert "not shown" in cells(difference_table(report), "no MIIM")["llcm_ir2vis Rank-1"]


def test_nothing_finished_is_a_table_of_dashes(tmp_path):
    write_run(tmp_path, "s4_no_auxiliary", finished=False)
    report = report_folders([tmp_path])
    assert "0 of 1 runs finished" in report.markdown()
    assert "Not finished: s4_no_auxiliary/seed0" in report.markdown()
    assert "| no auxiliary information | — | 57.32 | 63.43 |" in squeezed(report.markdown())


def test_unfinished_seeds_of_a_row_share_a_line(tmp_path):
    for seed in range(3):
        write_run(tmp_path, "s3_add", seed=seed, finished=seed == 1)
    lines = report_folders([tmp_path]).markdown().splitlines()
    assert [line for line in lines if "Not finished" in line] == [
        "- Not finished: s3_add/seed0, seed2"
    ]


def test_notes_stand_between_facts_and_tables_and_cost_says_its_conditions(tmp_path):
    write_two_rows(tmp_path)
    text = report_folders([tmp_path], notes="## Look\n\nIt helps.\n").markdown()
    places = [
        text.index(part) for part in ("Code: commit", "## Look", "Percent; mean", "### Table")
    ]
    assert places == sorted(places)
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
    write_run(tmp_path, FULL)
    write_run(tmp_path, "s1_none", **change)
    with pytest.raises(ValueError, match=f"cannot share a table: {fact}") as caught:
        report_folders([tmp_path])
    assert "s1_none" in str(caught.value)
    assert FULL in str(caught.value)


def test_facts_that_may_differ_are_not_looked_at(tmp_path):
    write_run(tmp_path, FULL, regdb_trial=1, queries=[5])
    write_run(tmp_path, "s1_none", regdb_trial=2, queries=[6])
    check_comparable(read_records([tmp_path]), but=("regdb_trial", "queries"))


def test_costs_of_two_devices_are_refused(tmp_path):
    write_run(tmp_path, FULL, cost=COST)
    write_run(tmp_path, "s1_none", cost={**COST, "device": "a GPU"})
    with pytest.raises(ValueError, match="costs were measured under different conditions"):
        report_folders([tmp_path])


def test_one_row_and_seed_twice_is_refused(tmp_path):
    write_run(tmp_path / "first", "s1_none")
    write_run(tmp_path / "second", "s1_none")
    with pytest.raises(ValueError, match="are the same row and seed"):
        report_folders([tmp_path])


def test_results_of_another_configuration_are_refused(tmp_path):
    write_run(tmp_path, FULL, config="def")
    with pytest.raises(ValueError, match="holds results of configuration def"):
        read_records([tmp_path])


def test_folders_without_runs_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run below"):
        read_records([tmp_path])
    with pytest.raises(FileNotFoundError, match="is no folder"):
        read_records([tmp_path / "absent"])


def test_tables_of_which_there_is_a_row(tmp_path):
    write_two_rows(tmp_path)
    write_run(tmp_path, "no_cmkic")
    assert tables_of(read_records([tmp_path])) == ["S1", "losses"]


def test_report_says_how_it_was_made_and_writes_three_files(tmp_path):
    write_two_rows(tmp_path / "runs")
    report = report_folders([tmp_path / "runs"], command="python tools/report.py runs")
    paths = report.write(tmp_path / "docs" / "results")
    assert [path.name for path in paths] == ["results.md", "results.tex", "results.csv"]
    text = paths[0].read_text()
    for words in (
        "Run with `python tools/run_ablations.py`",
        "Reported with `python tools/report.py runs`",
        "6 of 6 runs finished; seeds 0, 1, 2",
        "commit c0ffee, torch 2.13.0",
        "Time of all runs together: 0:06:00",
    ):
        assert words in text
    assert paths[1].read_text().count(r"\toprule") == 2
    lines = list(csv.DictReader(paths[2].open()))
    line = next(x for x in lines if (x["row"], x["metric"]) == ("no MIIM", "Rank-1"))
    assert float(line["mean"]) == pytest.approx(22)
    assert float(line["difference"]) == pytest.approx(-10)
    assert float(line["paper_difference"]) == pytest.approx(54.83 - 58.38)
    assert (line["verdict"], line["seeds"]) == ("same sign", "0 1 2")


@pytest.mark.parametrize(
    ("value", "margin", "printed", "verdict"),
    [
        (-2.0, 1.0, -0.5, "same sign"),
        (2.0, 1.0, -0.5, "other sign"),
        (-2.0, 2.5, -0.5, "not shown"),
        (-2.0, None, -0.5, "not shown"),
        (-2.0, 1.0, None, "lower"),
        (2.0, 1.0, None, "higher"),
    ],
)
def test_verdict(value, margin, printed, verdict):
    assert Difference(value, margin).verdict(printed) == verdict


def test_difference_is_paired_by_seed_with_students_interval():
    """Differences 1, 2 and 6 of the seeds of both: mean 3, deviation sqrt(7), t(2) = 4.3027."""
    row, full = {0: 11.0, 1: 22.0, 2: 36.0, 7: 90.0}, {2: 30.0, 0: 10.0, 1: 20.0, 8: 1.0}
    found = paired_difference(row, full)
    assert found.value == pytest.approx(3)
    assert found.margin == pytest.approx(4.302653 * (7 / 3) ** 0.5, abs=1e-5)
    assert found.verdict(None) == "not shown"
    assert paired_difference({0: 1.0}, {0: 4.0, 1: 5.0}) == Difference(-3.0, None)
    assert paired_difference({0: 1.0}, {1: 5.0}) is None


def test_three_forms_of_a_table():
    table = Table("A & B", ("row", "x_1"), (("a", "1.0 ± 0.5"), ("b", MISSING)), ("Note 5 %.",))
    pattern = r"\| row \| x_1 \|\n\|:-+\|-+:\|\n\| a \| 1.0 ± 0.5 \|\n\| b \| — \|\n\nNote 5 %.\n"
    assert re.search(pattern, squeezed(markdown(table)))
    text = squeezed(latex(table))
    assert r"\caption{A \& B}" in text
    assert "a & 1.0 $\\pm$ 0.5 \\\\" in text
    assert r"row & x\_1 \\" in text and "b & --- \\\\" in text
    assert r"Note 5 \%." in text
    assert comma_separated(table).splitlines() == ["row,x_1", "a,1.0 ± 0.5", f"b,{MISSING}"]
