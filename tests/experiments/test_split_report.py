"""Mean over RegDB's splits: complete, incomplete, and never mixed."""

import pytest
from fake_runs import PROJECT, write_run

from wrimnet.lab.experiments.plans import Setting, plan_splits
from wrimnet.lab.experiments.records import read_records
from wrimnet.lab.experiments.split_report import split_table


def setting(dataset, folder):
    configs = PROJECT / "configs"
    return Setting(
        configs / dataset, configs / "ablation", folder, overrides=("MODEL.DEVICE", "cpu")
    )


def write_split(root, split, *, tested=None, rank1=0.5, setting=0.5, **values):
    settings = {"MODEL.WRIM.CMKIC.WEIGHT": setting, "DATASETS.REGDB_TRIAL": split}
    about = {"kind": "split", "split": split, "dataset": "RegDB", "settings": settings}
    about |= {"split_key": "DATASETS.REGDB_TRIAL", "described_as": "regdb_trial"}
    trial = split if tested is None else tested
    return write_run(root, f"split{split}", about=about, rank1=rank1, regdb_trial=trial, **values)


def test_mean_and_deviation_by_hand(tmp_path):
    for split, rank1 in enumerate((0.70, 0.72, 0.74), 1):
        write_split(tmp_path, split, rank1=rank1, queries=[100 + split])
    table = split_table(read_records([tmp_path]), [1, 2, 3])
    assert [row[:2] for row in table.rows[:3]] == [("1", "70.00"), ("2", "72.00"), ("3", "74.00")]
    assert table.rows[3][1] == "72.00 ± 2.00"
    assert table.notes == ()


def test_no_mean_of_an_incomplete_set(tmp_path):
    write_split(tmp_path, 1)
    write_split(tmp_path, 2, finished=False)
    table = split_table(read_records([tmp_path]), [1, 2, 3])
    assert table.rows[-1][1:] == ("—",) * 4
    assert table.notes == ("No mean: split 2, 3 missing.",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"setting": 0.1}, "cannot be averaged: MODEL.WRIM.CMKIC.WEIGHT is 0.5 in one, 0.1"),
        ({"tested": 1}, "was trained on split 2, tested on 1"),
        ({"cmc": "images"}, "cannot share a table: cmc of"),
    ],
)
def test_mixed_splits_are_refused(tmp_path, change, message):
    write_split(tmp_path, 1)
    write_split(tmp_path, 2, **change)
    with pytest.raises(ValueError, match=message):
        split_table(read_records([tmp_path]), [1, 2])


def test_rows_of_a_table_and_twice_the_same_split_are_refused(tmp_path):
    write_split(tmp_path / "a", 1)
    write_split(tmp_path / "b", 1)
    with pytest.raises(ValueError, match="are both split 1"):
        split_table(read_records([tmp_path]), [1])
    write_run(tmp_path / "c", "s1_none")
    with pytest.raises(ValueError, match=r"is no run of run_splits\.py"):
        split_table(read_records([tmp_path / "c"]), [1])


@pytest.mark.parametrize("splits", [[0], [11], [1, 1]])
def test_unknown_splits_are_refused(tmp_path, splits):
    with pytest.raises(ValueError, match="expected some of 1 to 10, each once"):
        plan_splits(setting("RegDB", tmp_path), "wrim.yml", splits, 0)


def test_every_split_is_planned_with_what_its_report_needs(tmp_path):
    runs = plan_splits(setting("RegDB", tmp_path), "wrim.yml", [], 3)
    assert [run.about["split"] for run in runs] == list(range(1, 11))
    for run in runs:
        assert run.about["settings"][run.about["split_key"]] == run.about["split"]
        assert run.about["described_as"] == "regdb_trial"
    assert len({run.config for run in runs}) == 10


def test_dataset_of_a_single_division_has_no_splits(tmp_path):
    with pytest.raises(ValueError, match="LLCM has one division into training and test"):
        plan_splits(setting("LLCM", tmp_path), "wrim.yml", [], 0)
