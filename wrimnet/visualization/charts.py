"""The charts of a run: which logged quantities share axes, in which unit, over what."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from wrimnet.metrics.names import COMPARED, is_compared
from wrimnet.run_folder import kind_of

_AUXILIARY = "_aux"  # end of the names of the auxiliary level's loss terms
_SHOWN = {
    "total_loss",
    "lr",
    "time",
    "data_time",
    "images_per_second",
    "grad_norm",
    "grad_norm_max",
}


class Series(NamedTuple):
    """One line of a chart: values over ascending places, with words beside each in the readout."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    notes: Sequence[str] = ()  # one per value, or none at all
    chance: float | None = None  # what embeddings without information reach, a dotted line


class Chart(NamedTuple):
    """Series on common axes, the vertical one from 0, or logarithmic."""

    title: str
    x_label: str
    y_label: str  # the unit
    series: Sequence[Series]
    top: float | None = None  # of the vertical axis, where several charts share it
    log: bool = False
    start: float | None = None  # of the horizontal axis; None: at the first place
    end: float | None = None
    steps: bool = False  # a histogram: each value holds for its bin


def learning_charts(
    lines: Sequence[Mapping[str, Any]],
    *,
    iterations_per_epoch: float,
    chance: Mapping[str, Mapping[str, float]],
) -> list[Chart]:
    """Returns the charts of the test metrics over epochs and of the losses over iterations.

    Args:
        lines: of the metrics file, oldest first; their iterations count from 0.
        iterations_per_epoch: of the run.
        chance: metrics of embeddings without information by protocol, as fractions; {} for none.
    """
    return [*_metric_charts(lines, iterations_per_epoch, chance), *_loss_charts(lines)]


def optimization_charts(lines: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Returns the charts of learning rate, speed and gradients, and of whatever else is logged."""
    names = _names(lines)
    others = [
        series
        for name in names
        if name not in _SHOWN and kind_of(name) != "test" and not _is_term(name, names)
        and any((series := _series(lines, name)).y)
    ]  # fmt: skip
    charts = [*_optimizer_charts(lines), *(_chart(s.name, s.name, [s]) for s in others)]
    return [chart for chart in charts if any(series.y for series in chart.series)]


def _chart(title: str, unit: str, series: Sequence[Series], **options: Any) -> Chart:
    """A chart over the iterations, from the start of the training."""
    return Chart(title, "iteration", unit, series, start=0, **options)


def _is_term(name: str, names: Sequence[str]) -> bool:
    """Whether a quantity is a weighted loss term, or the raw value of one."""
    return name.startswith("loss_") or f"loss_{name.removeprefix('raw/')}" in names


def _loss_charts(lines: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """One chart per level, with its weighted terms; all of them on one scale."""
    terms = [name for name in _names(lines) if name.startswith("loss_")]
    levels = {
        "Loss: total and main level": [
            "total_loss",
            *(name for name in terms if not name.endswith(_AUXILIARY)),
        ],
        "Loss: auxiliary level": [name for name in terms if name.endswith(_AUXILIARY)],
    }
    series_of_title = {
        title: [_term(lines, name) for name in names] for title, names in levels.items()
    }
    shown = {title: [s for s in series if s.y] for title, series in series_of_title.items()}
    top = max((max(s.y) for series in shown.values() for s in series), default=0.0)
    return [
        _chart(title, "loss, terms with their weights", series, top=top)
        for title, series in shown.items()
        if series
    ]


def _term(lines: Sequence[Mapping[str, Any]], name: str) -> Series:
    """A loss with its weight; where the weight is not 1, its raw value is shown as well."""
    raw = f"raw/{name.removeprefix('loss_')}"
    label = "total" if name == "total_loss" else name.removeprefix("loss_")
    notes = [
        f"raw {line[raw]:.4g}" if raw in line and line[raw] != line[name] else ""
        for line in lines
        if _has(line, name)
    ]
    return Series(label, *_values(lines, name), notes if any(notes) else ())


def _metric_charts(
    lines: Sequence[Mapping[str, Any]],
    iterations_per_epoch: float,
    chance: Mapping[str, Mapping[str, float]],
) -> list[Chart]:
    """Rank-1, mAP and registered metrics of every protocol over epochs, in percent, on one scale.

    Of a single evaluation there is no chart: its numbers are at the top of the page.
    """
    by_metric: dict[str, list[Series]] = {}
    for name in _names(lines):
        protocol, _, metric = name.rpartition("/")
        iterations, values = _values(lines, name)
        if kind_of(name) == "test" and is_compared(metric) and len(values) > 1:
            epochs = [iteration / iterations_per_epoch for iteration in iterations]
            level = chance.get(protocol, {}).get(metric)
            level = None if level is None else 100 * level
            series = Series(protocol, epochs, [100 * value for value in values], chance=level)
            by_metric.setdefault(metric, []).append(series)
    top = max((max(s.y) for series in by_metric.values() for s in series), default=0.0)
    in_order = sorted(by_metric, key=lambda metric: (metric not in COMPARED, metric))
    return [
        _chart(f"{metric} by epoch", f"{metric}, percent", by_metric[metric], top=top)
        ._replace(x_label="epoch")
        for metric in in_order
    ]  # fmt: skip


def _optimizer_charts(lines: Sequence[Mapping[str, Any]]) -> list[Chart]:
    norms = [("mean", "grad_norm"), ("largest", "grad_norm_max")]
    charts = [_series(lines, name)._replace(name=label) for label, name in norms]
    positive = [series for series in charts if series.y and min(series.y) > 0]
    waits = [
        f"{line['data_time'] / line['time']:.0%} of it waiting for data"
        for line in lines
        if _has(line, "images_per_second")
    ]
    speed = _series(lines, "images_per_second")._replace(name="images/s", notes=waits)
    return [
        _chart("Learning rate", "learning rate", [_series(lines, "lr")]),
        _chart("Training speed", "images per second", [speed]),
        _chart("Gradient norm", "norm, logarithmic", positive, log=True),
    ]


def _series(lines: Sequence[Mapping[str, Any]], name: str) -> Series:
    return Series(name, *_values(lines, name))


def _values(lines: Iterable[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Iterations and values of a quantity where it is finite."""
    finite_lines = [line for line in lines if _has(line, name)]
    return [line["iteration"] for line in finite_lines], [line[name] for line in finite_lines]


def _has(line: Mapping[str, Any], name: str) -> bool:
    return name in line and math.isfinite(line[name])


def _names(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every logged quantity, in alphabetical order."""
    return sorted({name for line in lines for name in line} - {"iteration"})
