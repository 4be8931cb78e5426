"""A table's file and the runs it plans: rows, grids, splits, and what is refused."""

import itertools
from pathlib import Path

import pytest
from fake_runs import COST, PROJECT, write_run
from fake_tables import plan_of, write_table

from wrimnet.lab.experiments.grid_figure import draw_grids
from wrimnet.lab.experiments.plans import Setting, make_plan, runs_of
from wrimnet.lab.experiments.runs import is_done
from wrimnet.lab.experiments.table_file import path_word, read_table
from wrimnet.lab.experiments.table_report import difference_table, make_report, result_table
from wrimnet.visualization.drawing import save_figure

LAMBDA1, LAMBDA2 = "MODEL.WRIM.CMKIC.WEIGHT", "MODEL.WRIM.AUXILIARY.WEIGHT"
LLCM = str(PROJECT / "configs/LLCM/wrim.yml")
NO_MIIM = str(PROJECT / "configs/ablation/s1_none.yml")
CPU = ("MODEL.DEVICE", "cpu")


def plan(folder, *, seeds=(0,), overrides=CPU, **content):
    table = read_table(write_table(folder / "t.yml", **{"config": LLCM, **content}))
    return make_plan(table, Setting(folder / "runs", "LLCM", overrides=overrides), seeds)


def test_rows_are_configurations_overlays_and_keys(tmp_path):
    rows = {
        "WRIM-Net": {},
        "no MIIM": {"overlay": NO_MIIM},
        "baseline": {"config": str(PROJECT / "configs/LLCM/baseline.yml")},
        "my loss": {LAMBDA1: 0.7, "MODEL.WRIM.MIIM.REDUCTION": [4, 4, 4, 4]},
        "named": {"overlay": NO_MIIM, LAMBDA1: 0.7, "folder": "other"},
    }
    found = plan(tmp_path, seeds=(0, 3), rows=rows)
    assert [run.name for run in found.runs[:5]] == [
        "WRIM-Net/seed0",
        "s1_none/seed0",
        "baseline/seed0",
        "my_loss/seed0",
        "other/seed0",
    ]
    assert [run.name for run in found.runs[5:]] == [
        run.name.replace("seed0", "seed3") for run in found.runs[:5]
    ]
    settings = {run.name: run.about["settings"] for run in found.runs}
    assert settings["my_loss/seed0"][LAMBDA1] == 0.7
    assert settings["my_loss/seed0"]["MODEL.WRIM.MIIM.REDUCTION"] == (4, 4, 4, 4)
    assert settings["s1_none/seed3"]["MODEL.WRIM.MIIM.SHARED_STAGES"] == ()
    assert settings["s1_none/seed3"]["SEED"] == 3
    words = found.runs[1].arguments
    assert words[:4] == ("--config-file", LLCM, "--overlay", NO_MIIM)
    assert words[-2:] == ("OUTPUT_DIR", str(tmp_path / "runs/s1_none/seed0"))


def test_grid_of_two_keys_is_every_combination(tmp_path):
    grid = {LAMBDA1: [0.1, 0.9], LAMBDA2: [0.05, 0.2]}
    found = plan(tmp_path, rows={"WRIM-Net": {}}, grid=grid)
    assert [row.label for row in found.rows] == [
        "WRIM-Net", "0.1, 0.05", "0.1, 0.2", "0.9, 0.05", "0.9, 0.2",
    ]  # fmt: skip
    run = found.rows[2].runs[0]
    assert run.name == f"{LAMBDA1}=0.1,{LAMBDA2}=0.2/seed0"
    assert (run.about["settings"][LAMBDA1], run.about["settings"][LAMBDA2]) == (0.1, 0.2)


def test_point_that_is_configured_as_a_row_is_its_run(tmp_path):
    found = plan(tmp_path, seeds=(0, 1), rows={"WRIM-Net": {}}, grid={LAMBDA1: [0.1, 0.5, 0.9]})
    assert [row.label for row in found.rows] == ["0.1", "0.5 (WRIM-Net)", "0.9"]
    assert [run.name for run in found.runs[:3]] == [
        f"{LAMBDA1}=0.1/seed0",
        "WRIM-Net/seed0",
        f"{LAMBDA1}=0.9/seed0",
    ]


def test_row_has_a_grid_of_its_own(tmp_path):
    rows = {"WRIM-Net": {}, "none": {"overlay": NO_MIIM, "grid": {LAMBDA1: [0.1, 0.2]}}}
    found = plan(tmp_path, rows=rows)
    assert [row.label for row in found.rows] == ["WRIM-Net", "none, 0.1", "none, 0.2"]
    assert found.runs[1].name == f"s1_none-{LAMBDA1}=0.1/seed0"


def test_two_equal_rows_and_a_shared_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match="rows 'a' and 'b' have the same configuration"):
        plan(tmp_path, rows={"a": {}, "b": {LAMBDA1: 0.5}})
    rows = {"a": {"folder": "x"}, "b": {"folder": "x", LAMBDA1: 0.7}}
    with pytest.raises(ValueError, match="x/seed0 is the folder of runs with different config"):
        runs_of([plan(tmp_path, rows=rows)])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"overlay": "nowhere.yml"}, r"config file 'nowhere\.yml' does not exist"),
        ({"MODEL.WRIM.MIIM.FUSION": "addd"}, r"MODEL\.WRIM\.MIIM\.FUSION = 'addd'"),
        ({"MODEL.WRIM.MIIM.FUSON": "add"}, r"MODEL\.WRIM\.MIIM\.FUSON"),
    ],
)
def test_a_wrong_configuration_is_told_with_its_row(tmp_path, row, message):
    with pytest.raises(ValueError, match=rf"t\.yml, row 'mine': .*{message}"):
        plan(tmp_path, rows={"WRIM-Net": {}, "mine": row})


def test_rows_may_differ_in_what_they_start_from_alone(tmp_path):
    rows = {"random": {}, "mine": {"MODEL.WEIGHTS": "a.pth"}, "theirs": {"MODEL.WEIGHTS": "b.pth"}}
    found = plan(tmp_path, rows=rows)
    assert [row.label for row in found.rows] == ["random", "mine", "theirs"]
    assert [run.about["settings"]["MODEL.WEIGHTS"] for run in found.runs] == ["", "a.pth", "b.pth"]
    with pytest.raises(ValueError, match="rows 'mine' and 'again' have the same configuration"):
        plan(tmp_path, rows={**rows, "again": {"MODEL.WEIGHTS": "a.pth"}})


def test_results_of_another_start_are_not_those_of_a_row(tmp_path):
    (run,) = plan(tmp_path, rows={"mine": {"MODEL.WEIGHTS": "a.pth"}}).runs
    about = {"settings": {**run.about["settings"], "MODEL.WEIGHTS": "b.pth"}}
    write_run(tmp_path / "runs", "mine", config=run.config, about=about)
    with pytest.raises(
        ValueError, match=r"started from MODEL.WEIGHTS 'b.pth', this one starts from"
    ):
        is_done(run)


def test_the_same_name_with_other_weights_is_another_start(tmp_path):
    """What counts are the weights: equal ones may lie in another file."""
    (weights := tmp_path / "a.pth").write_bytes(b"first")
    rows = {"mine": {"MODEL.WEIGHTS": str(weights)}}
    run = plan(tmp_path, rows=rows).runs[0]
    about = {"start": run.about["start"], "settings": run.about["settings"]}
    write_run(tmp_path / "runs", "mine", config=run.config, about=about)
    assert is_done(run)
    weights.rename(tmp_path / "b.pth")
    assert is_done(
        plan(tmp_path, rows={"mine": {"MODEL.WEIGHTS": str(tmp_path / "b.pth")}}).runs[0]
    )
    weights.write_bytes(b"second")
    (again,) = plan(tmp_path, rows=rows).runs
    with pytest.raises(ValueError, match=r"from weights a7937b64b8ca, this one starts from weight"):
        is_done(again)
    (run.folder / "results.json").unlink()
    (run.folder / "checkpoint_00000010.pth").write_bytes(b"interrupted")
    with pytest.raises(ValueError, match=r"from weights a7937b64b8ca, this one starts from weight"):
        is_done(again)


def test_held_out_identities_are_split_off(tmp_path):
    found = plan(tmp_path, rows={"WRIM-Net": {}}, scored_on="held-out identities")
    assert found.runs[0].about["settings"]["DATASETS.SPLIT"] == "train"
    assert found.runs[0].about["overrides"] == [*CPU, "DATASETS.SPLIT", "train"]


def test_runs_for_a_gpu_that_this_machine_lacks_have_the_configuration_that_it_will_have(tmp_path):
    """The login node of a cluster has no GPU; on a CPU a run is in fp32, with another hash."""
    table = read_table(write_table(tmp_path / "t.yml", config=LLCM, rows={"WRIM-Net": {}}))
    setting = Setting(tmp_path, has_device=False)
    (run,), (on_cpu,) = (
        make_plan(table, one, [0]).runs for one in (setting, Setting(tmp_path, overrides=CPU))
    )
    assert run.about["settings"]["SOLVER.PRECISION"] == "bf16"
    assert on_cpu.about["settings"]["SOLVER.PRECISION"] == "fp32"
    assert run.config != on_cpu.config


def test_runs_of_a_gpu_are_reported_where_there_is_none(tmp_path):
    """A run is planned with the precision of the device that it was trained on."""
    table = read_table(write_table(tmp_path / "t.yml", config=LLCM, rows={"WRIM-Net": {}}))
    anywhere = Setting(tmp_path / "runs", has_device=None)
    (run,) = make_plan(table, anywhere._replace(has_device=False), [0]).runs
    (new,) = make_plan(table, anywhere._replace(overrides=CPU), [0]).runs
    write_run(tmp_path / "runs", "WRIM-Net", config=run.config, about=run.about)
    (found,) = make_plan(table, anywhere, [0]).runs
    assert found.config == run.config != new.config and is_done(found)


def test_every_split_is_planned_with_what_its_report_needs(tmp_path):
    config = str(PROJECT / "configs/RegDB/wrim.yml")
    runs = plan(tmp_path, config=config, rows={"w": {}}, splits=["all"], seeds=(3,)).runs
    assert [run.about["split"] for run in runs] == list(range(1, 11))
    assert [run.name for run in runs[:2]] == ["w/split1", "w/split2"]
    for run in runs:
        assert run.about["settings"][run.about["split_key"]] == run.about["split"]
        assert run.about["described_as"] == "regdb_trial"
    assert len({run.config for run in runs}) == 10
    for splits in ([0], [1, 11], ["some"]):
        message = f"RegDB has no split {splits[-1]!r}; give numbers from 1 to 10, or all"
        with pytest.raises(ValueError, match=message):
            plan(tmp_path, config=config, rows={"w": {}}, splits=splits, seeds=(0,))
    with pytest.raises(ValueError, match=r"2 seeds \[0, 1\] with splits; .* give one seed"):
        plan(tmp_path, config=config, rows={"w": {}}, splits=[1], seeds=(0, 1))
    with pytest.raises(ValueError, match=r"splits: \[1, 2, 1\], expected each once"):
        plan(tmp_path, config=config, rows={"w": {}}, splits=[1, 2, 1], seeds=(0,))
    with pytest.raises(ValueError, match=r"seeds: \[0, 0\], expected each once"):
        plan(tmp_path, rows={"w": {}}, seeds=(0, 0))
    with pytest.raises(ValueError, match=r"LLCM has only one split .* remove splits and use seeds"):
        plan(tmp_path, rows={"w": {}}, splits=["all"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "has no rows and no grid"),
        ({"rows": {"a": {}}, "tint": "red"}, "unknown key 'tint'; expected title, config"),
        ({"rows": [1]}, r"rows is \[1\], expected a dict"),
        (
            {"rows": {"a": {"overlays": "x.yml"}}},
            "row 'a': unknown key 'overlays'; expected",
        ),
        ({"rows": {"a": {}}, "config": ""}, "row 'a': no config; give one in"),
        ({"rows": {"a": {"SEED": 3}}}, "row 'a' sets SEED; use the table's seeds and out"),
        ({"rows": {"a": {}}, "against": "b"}, "against: 'b' is not one of a"),
        ({"rows": {"a": {}}, "costs": ["price"]}, "costs: 'price' is not one of parameters, gflop"),
        ({"rows": {"a": {}}, "scored_on": "train"}, "'train' is not one of test set, held-out"),
        (
            {"rows": {"a": {"grid": {LAMBDA1: [0.1]}}, "b": {"grid": {LAMBDA2: [0.1]}}}},
            "its grids have different keys, MODEL.WRIM.CMKIC.WEIGHT, MODEL.WRIM.AUX.* table of eac",
        ),
        ({"grid": {LAMBDA1: 0.1}}, "grid has MODEL.WRIM.CMKIC.WEIGHT: 0.1, expected a list"),
        ({"rows": {"a": {}}, "published": [{"numbers": {"b": "1/2"}}]}, "'b' is not one of a"),
        ({"rows": {"a": {}}, "published": [{"numbers": {"a": "1"}}]}, "'1', expected Rank-1/mAP"),
        ({"rows": {"a": {}}, "published": [{"numbers": {"a": "n/a"}}]}, "'n/a', expected Rank-1"),
        ({"rows": {"a": "x.yml"}}, r"row 'a' is 'x\.yml', expected keys, such as {overlay: FILE}"),
        ({"rows": {"a": {"config": "configs/{dataset}/wrim.yml"}}}, "add --dataset, a folder of"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_table(write_table(tmp_path / "t.yml", **{"config": "x.yml", **content}))


def test_files_are_those_of_the_working_folder_or_of_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"config": "configs/{dataset}/wrim.yml", "rows": {"a": {}, "b": {LAMBDA1: 0.1}}}
    write_table(tmp_path / "t.yml", **content)
    words = {"dataset": "LLCM", "project": PROJECT}
    assert read_table("t.yml", **words).rows[0].config == LLCM
    write_table(tmp_path / "configs/LLCM/wrim.yml")
    assert read_table("t.yml", **words).rows[0].config == "configs/LLCM/wrim.yml"
    assert read_table("t.yml", config="mine.yml", **words).rows[1].config == "mine.yml"


@pytest.mark.parametrize("text", ["50.1/52.3", "50 / 52.3", "50.1/—", "/52"])
def test_published_numbers_may_be_incomplete(tmp_path, text):
    file = write_table(
        tmp_path / "t.yml", config="x.yml", rows={"a": {}}, published=[{"numbers": {"a": text}}]
    )
    assert read_table(file).published[0].values("a").keys() <= {"Rank-1", "mAP"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"TEST.RERANK.ENABLED": True}, "reranking of the test is None in a/seed0, 'k1=20 k2=6 "),
        ({"TEST.FLIP.ENABLED": True}, "flip of the test is False in a/seed0, True in b/seed0"),
        ({"INPUT.SIZE_TEST": [64, 24]}, "input of the test is '384x144 "),
        ({"TEST.PROTOCOLS": ["llcm_ir2vis"]}, r"protocols of the test is \['llcm_ir2vis', "),
        ({"TEST.NUM_TRIALS": 2}, "num_trials of the test is 10 in a/seed0, 2 in b/seed0; make two"),
        ({"TEST.METRICS": ["Rank-1", "mAP"]}, r"metrics of the test is \['Rank-1', 'Rank-5', "),
    ],
)
def test_rows_that_are_tested_differently_are_refused_before_the_runs(tmp_path, row, said):
    with pytest.raises(ValueError, match=said):
        plan(tmp_path, rows={"a": {}, "b": {LAMBDA1: 0.1, **row}})


def test_rows_that_are_tested_alike_may_say_it_differently(tmp_path):
    same = {"TEST.PROTOCOLS": ["llcm_vis2ir", "llcm_ir2vis"], "TEST.RERANK.K1": 9}
    assert len(plan(tmp_path, rows={"a": {}, "b": {LAMBDA1: 0.1, **same}}).rows) == 2


def test_metrics_that_no_run_computes_are_refused_before_the_runs(tmp_path):
    rows = {"a": {"TEST.METRICS": ["Rank-1", "mAP", "Rank-3"]}}
    assert plan(tmp_path, rows=rows, metrics=["Rank-3", "Rank-20", "mINP"]).runs
    for name in ("rank1", "Rank-21", "FirstTier"):
        message = f"metrics: '{name}' is not computed by a/seed0; expected Rank-1 to Rank-20, mAP"
        with pytest.raises(ValueError, match=message):
            plan(tmp_path, rows=rows, metrics=["mAP", name])


@pytest.mark.parametrize("file", sorted((PROJECT / "configs/tables").glob("*.yml")), ids=str)
def test_every_table_of_the_project_can_be_planned(file, tmp_path):
    table = read_table(file, dataset="LLCM", project=PROJECT)
    made = make_plan(table, Setting(tmp_path, "LLCM", overrides=CPU), table.seeds[:1])
    assert len(made.rows) == len({row.runs[number].config for row in made.rows
                                  for number in list(row.runs)[:1]})  # fmt: skip


def test_a_word_names_a_folder():
    assert path_word("(2, 2, 4, 4)") == "2_2_4_4"
    assert path_word("0.05") == "0.05"


def write_points(root, seeds=(0, 1)):
    for seed in seeds:
        write_run(root, "full", seed=seed, rank1=0.5 + seed / 10, cost=COST)
        for first in (0.1, 0.9):
            for second in (1, 2):
                name = f"{LAMBDA1}={first},{LAMBDA2}={second}"
                write_run(root, name, seed=seed, rank1=0.3 * second)


def grid_report(root, values):
    content = {"rows": {"WRIM-Net": {"folder": "full"}}, "against": "WRIM-Net"}
    return make_report(plan_of(root, (0, 1), grid=values, **content))


def test_figure_has_a_curve_per_protocol_and_value_of_the_second_key(tmp_path):
    pytest.importorskip("matplotlib")
    write_points(tmp_path / "runs")
    report = grid_report(tmp_path / "runs", {LAMBDA1: [0.1, 0.9], LAMBDA2: [1, 2]})
    figure = draw_grids([report, report], "Synthetic, seeds 0, 1")
    panels = figure.get_axes()
    assert [panel.get_ylabel() for panel in panels] == ["Rank-1 (%)"] * 2 + ["mAP (%)"] * 2
    curves = {bars.get_label(): list(bars[0].get_ydata()) for bars in panels[0].containers}
    assert {name: values[0] for name, values in curves.items()} == pytest.approx(
        {f"llcm_{d}, λ2 = {v}": 30 * v for d in ("ir2vis", "vis2ir") for v in (1, 2)}
    )
    assert panels[0].get_xlabel() == "λ1"
    paths = save_figure(figure, tmp_path, "figure")
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in paths[1].read_text()


def test_figure_of_one_key_has_error_bars_and_the_marked_row(tmp_path):
    pytest.importorskip("matplotlib")
    for seed in (0, 1):
        write_run(tmp_path / "runs", "full", seed=seed, rank1=0.5 + seed / 10)
        write_run(tmp_path / "runs", f"{LAMBDA1}=0.1", seed=seed, rank1=0.3)
    plan = plan_of(tmp_path / "runs", (0, 1), rows={"WRIM-Net": {"folder": "full"}},
                   against="WRIM-Net", grid={LAMBDA1: [0.1]})  # fmt: skip
    full = plan.rows[0]
    plan.rows[0] = full._replace(row=full.row._replace(point={LAMBDA1: 0.5}, base=""))
    panel = draw_grids([make_report(plan)], "").get_axes()[0]
    curve, _, (bars,) = panel.containers[0]
    assert list(curve.get_ydata()) == pytest.approx([55, 30])
    low, high = bars.get_segments()[0][:, 1]
    assert high - low == pytest.approx(2 * 7.0711, rel=1e-4)
    marks = [line for line in panel.get_lines() if line.get_linestyle() == "--"]
    assert [mark.get_xdata()[0] for mark in marks] == [0]


def test_each_row_with_a_grid_has_a_curve_of_its_name(tmp_path):
    pytest.importorskip("matplotlib")
    for row, value in itertools.product(("full", "none"), (0.1, 0.9)):
        rank1 = value / 2 if row == "full" else 0.3
        write_run(tmp_path / "runs", f"{row}-{LAMBDA1}={value}", rank1=rank1)
    rows = {name: {"folder": name, "grid": {LAMBDA1: [0.1, 0.9]}} for name in ("full", "none")}
    panel = draw_grids([make_report(plan_of(tmp_path / "runs", rows=rows))], "").get_axes()[0]
    curves = {bars.get_label(): bars[0].get_xydata().ravel() for bars in panel.containers}
    assert curves["llcm_ir2vis, full"] == pytest.approx([0, 5, 1, 45])
    assert curves["llcm_ir2vis, none"] == pytest.approx([0, 30, 1, 30])


def test_table_of_a_grid_compares_with_the_row_it_names(tmp_path):
    write_points(tmp_path / "runs")
    report = grid_report(tmp_path / "runs", {LAMBDA1: [0.1, 0.9], LAMBDA2: [1, 2]})
    table = result_table(report)
    assert [row[:3] for row in table.rows] == [
        ("WRIM-Net", "2", "55.00 ± 7.07"),
        *((f"{a}, {b}", "2", f"{30 * b}.00 ± 0.00") for a in (0.1, 0.9) for b in (1, 2)),
    ]
    assert difference_table(report).rows[0][:2] == ("0.1, 1", "-25.00 ± 63.53, not significant")
    assert Path(report.table.path).name == "runs.yml"
