"""Which quantities of a run share a chart, in which unit, and what stands beside a value."""

import math

import pytest

from wrimnet.visualization.charts import learning_charts, optimization_charts
from wrimnet.visualization.page import chart_data

TERMS = {"cls": (4.0, 1.0), "cmkic": (6.0, 0.5), "cls_aux": (3.0, 0.1)}  # raw value, weight


def line_of(iteration, **more):
    """A line of the log."""
    losses = {f"loss_{name}": raw * weight for name, (raw, weight) in TERMS.items()}
    raws = {f"raw/{name}": raw for name, (raw, _) in TERMS.items()}
    speed = {"lr": 1e-3, "time": 0.5, "data_time": 0.1, "images_per_second": 128.0}
    norms = {"grad_norm": 10.0, "grad_norm_max": 20.0, "repeated_images": 0.0}
    return {
        "iteration": iteration,
        "total_loss": 7.3,
        **losses,
        **raws,
        **speed,
        **norms,
        **more,
    }


def learning(lines, chance=None):
    return learning_charts(lines, iterations_per_epoch=50, chance=chance or {})


def evaluated(iteration, mean_average_precision):
    found = {f"{name}/{metric}": value
             for name in ("llcm_ir2vis", "llcm_vis2ir")
             for metric, value in (("Rank-1", 0.5), ("mAP", mean_average_precision),
                                   ("mINP", 0.2))}  # fmt: skip
    return line_of(iteration, **found)


def test_levels_have_a_chart_each_on_one_scale_and_raw_values_beside_weighted_ones():
    main, auxiliary = learning([line_of(10), line_of(20)])
    assert [series.name for series in main.series] == ["total", "cls", "cmkic"]
    assert [series.name for series in auxiliary.series] == ["cls_aux"]
    assert main.top == auxiliary.top == 7.3
    assert main.start == 0
    assert main.series[1].notes == ()  # its weight is 1
    assert main.series[2].notes == ["raw 6", "raw 6"]
    assert (main.series[2].x, main.series[2].y) == ([10, 20], [3.0, 3.0])


def test_both_directions_share_a_chart_per_metric_over_epochs_in_percent_with_chance():
    chance = {"llcm_ir2vis": {"Rank-1": 0.01, "mAP": 0.02}}
    rank1, precision, *_ = learning([evaluated(250, 0.1), evaluated(650, 0.4)], chance)
    assert (rank1.x_label, rank1.y_label, precision.y_label) == (
        "epoch", "Rank-1, percent", "mAP, percent",
    )  # fmt: skip
    ir2vis, vis2ir = precision.series
    assert (ir2vis.name, ir2vis.x) == ("llcm_ir2vis", [5, 13])
    assert ir2vis.y == pytest.approx([10, 40])
    assert (ir2vis.chance, vis2ir.chance) == (2.0, None)
    assert rank1.top == precision.top == 50


def test_one_evaluation_has_no_chart():
    titles = [chart.title for chart in learning([evaluated(250, 0.1), line_of(260)])]
    assert not any("test set" in title for title in titles)


def test_what_is_not_finite_is_left_out_and_zeros_have_no_chart():
    lines = [line_of(10, lr=math.nan), line_of(20, other=3.0)]
    charts = {chart.title: chart for chart in optimization_charts(lines)}
    assert list(charts) == ["Learning rate", "Training speed", "Gradient norm", "other"]
    assert charts["Learning rate"].series[0].x == [20]


def test_speed_says_how_long_it_waited_and_gradients_are_logarithmic():
    _, speed, gradient = optimization_charts([line_of(10), line_of(20)])
    assert speed.series[0].notes == ["20% of it waiting for data"] * 2
    assert gradient.log
    assert [series.name for series in gradient.series] == ["mean", "largest"]


def test_a_term_without_its_weighted_value_has_a_chart():
    charts = optimization_charts([line_of(10, **{"raw/extra": 2.0})])
    assert charts[-1].title == "raw/extra"


def test_a_run_without_a_log_has_no_chart():
    assert learning([]) == optimization_charts([]) == []


def test_page_gets_six_digits_and_whole_iterations():
    (chart, *_) = optimization_charts([line_of(1_234_567, lr=0.00123456789)])
    assert chart_data(chart)["series"][0]["x"] == [1_234_567]
    assert chart_data(chart)["series"][0]["y"] == [0.00123457]
