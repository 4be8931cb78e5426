"""Sweeps: their runs, the paper's setting shared with WRIM-Net's row, tables and figures."""

import pytest
from fake_runs import COST, PROJECT, write_run

from wrimnet.lab.experiments.plans import (
    FIGURE_S1,
    FULL,
    Setting,
    path_word,
    plan_rows,
    plan_sweep,
    rows_of,
)
from wrimnet.lab.experiments.records import read_records
from wrimnet.lab.experiments.row_report import make_sweep, sweep_table
from wrimnet.lab.experiments.sweep_figure import draw_sweeps
from wrimnet.visualization.drawing import save_figure

KEY = "MODEL.WRIM.CMKIC.WEIGHT"


@pytest.fixture
def setting(tmp_path):
    overrides = ("MODEL.DEVICE", "cpu")
    configs = PROJECT / "configs"
    return Setting(configs / "LLCM", configs / "ablation", tmp_path, overrides=overrides)


def write_points(root, values=(0.1, 0.9), seeds=(0, 1)):
    for seed in seeds:
        write_run(root, FULL, seed=seed, rank1=0.5 + seed / 10, cost=COST)
        for value in values:
            settings = {KEY: value, "SEED": seed}
            about = {"kind": "sweep", "key": KEY, "row": None, "settings": settings}
            write_run(root, f"{KEY}={value}", seed=seed, about=about, rank1=0.3)


def test_paper_setting_is_the_run_of_wrim_net(setting):
    runs = plan_sweep(setting, KEY, FIGURE_S1[KEY], [0, 1])
    full = plan_rows(setting, [row for row in rows_of("S4") if row.name == FULL], [0, 1])
    assert [run.name for run in runs[:5]] == [
        f"{KEY}=0.1/seed0",
        f"{KEY}=0.3/seed0",
        f"{FULL}/seed0",
        f"{KEY}=0.7/seed0",
        f"{KEY}=0.9/seed0",
    ]
    assert runs[2].config == full[0].config
    assert len({run.config for run in runs}) == 10


def test_figure_s1_varies_both_weights_around_the_paper_values(setting):
    fixed = {key: plan_sweep(setting, key, values, [0]) for key, values in FIGURE_S1.items()}
    for key, runs in fixed.items():
        (other,) = FIGURE_S1.keys() - {key}
        assert len({run.about["settings"][other] for run in runs}) == 1
        assert sum(run.name.startswith(FULL) for run in runs) == 1


def test_wrong_sweeps_are_refused_before_anything_runs(setting):
    with pytest.raises(ValueError, match="a value stands twice"):
        plan_sweep(setting, KEY, ["0.1", "0.1"], [0])
    with pytest.raises(KeyError, match="unknown config key"):
        plan_sweep(setting, "MODEL.WRIM.CMKIC.WEIGT", ["0.1"], [0])
    with pytest.raises(ValueError, match=r"CMKIC.WEIGHT = -1.0: expected a number in \[0, "):
        plan_sweep(setting, KEY, ["-1.0"], [0])


def test_lists_name_folders():
    assert path_word("(2, 2, 4, 4)") == "2_2_4_4"
    assert path_word("0.05") == "0.05"


def test_points_stand_in_order_with_the_paper_setting_marked(tmp_path):
    write_points(tmp_path)
    report = make_sweep(KEY, read_records([tmp_path]))
    table = sweep_table(report)
    assert [row[0] for row in table.rows] == ["0.1", "0.5 (WRIM-Net)", "0.9"]
    assert table.rows[1][2] == "55.00 ± 7.07"
    assert not any("paper" in name for name in table.header)


def test_runs_of_wrim_net_with_seeds_that_no_other_value_has_do_not_count(tmp_path):
    write_points(tmp_path, seeds=(0,))
    write_run(tmp_path, FULL, seed=1, rank1=0.9)
    table = sweep_table(make_sweep(KEY, read_records([tmp_path])))
    assert [row[1:3] for row in table.rows] == [("1", "30.00"), ("1", "50.00"), ("1", "30.00")]
    assert not table.notes


def test_missing_point_is_a_dash(tmp_path):
    write_points(tmp_path, seeds=(0,))
    about = {"kind": "sweep", "key": KEY, "row": None, "settings": {KEY: 0.3}}
    write_run(tmp_path, f"{KEY}=0.3", about=about, finished=False)
    table = sweep_table(make_sweep(KEY, read_records([tmp_path])))
    assert table.rows[1][:3] == ("0.3", "—", "—")
    assert table.notes == ("0.3: seed 0 missing",)


def test_unknown_key_is_named(tmp_path):
    write_points(tmp_path)
    with pytest.raises(KeyError, match="no run of a sweep over X; there are sweeps over"):
        make_sweep("X", read_records([tmp_path]))


def test_figure_has_a_curve_per_protocol_error_bars_and_the_marked_setting(tmp_path):
    pytest.importorskip("matplotlib")
    write_points(tmp_path / "runs")
    report = make_sweep(KEY, read_records([tmp_path / "runs"]))
    figure = draw_sweeps([(KEY, report), (KEY, report)], "Synthetic, seeds 0, 1")
    panels = figure.get_axes()
    assert [panel.get_ylabel() for panel in panels] == ["Rank-1 (%)"] * 2 + ["mAP (%)"] * 2
    assert len(panels[0].containers) == 2
    curve, _, (bars,) = panels[0].containers[0]
    assert list(curve.get_ydata()) == pytest.approx([30, 55, 30])
    middle = bars.get_segments()[1]
    assert middle[1, 1] - middle[0, 1] == pytest.approx(2 * 7.0711, rel=1e-4)
    marks = [line for line in panels[0].get_lines() if line.get_linestyle() == "--"]
    assert [mark.get_xdata()[0] for mark in marks] == [1]
    assert panels[0].get_xlabel() == "λ1"
    paths = save_figure(figure, tmp_path, "figure")
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in paths[1].read_text()


def test_nothing_finished_is_not_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    about = {"kind": "sweep", "key": KEY, "row": None}
    write_run(tmp_path, "x", about=about, finished=False)
    with pytest.raises(ValueError, match="is finished; nothing to draw"):
        draw_sweeps([(KEY, make_sweep(KEY, read_records([tmp_path])))], "")


def test_a_run_older_than_the_key_had_its_default(tmp_path):
    write_run(tmp_path, FULL, seed=0)
    key = "MODEL.WRIM.MIIM.GATE_SCALE"
    about = {"kind": "sweep", "key": key, "row": None, "settings": {key: 2.0, "SEED": 0}}
    write_run(tmp_path, f"{key}=2.0", seed=0, about=about)
    report = make_sweep(key, read_records([tmp_path]))
    assert [row.label for row in report.rows] == ["1.0 (WRIM-Net)", "2.0"]
