"""The report of a run: one HTML file in its folder that needs no network and no JavaScript."""

import base64
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

import numpy as np
from fastreid.config import CfgNode
from jinja2 import Environment, PackageLoader, StrictUndefined

from wrimnet.config import config_hash, setup_cfg
from wrimnet.config.setup import all_keys, changed_keys
from wrimnet.config.tree import get_key
from wrimnet.evaluation.provenance import check_scored, describe_environment
from wrimnet.evaluation.results import METRIC_NAMES, ResultTable, describe_stand_in, result_tables
from wrimnet.run_folder import (
    CONFIG,
    ENVIRONMENT,
    FIGURE_LIST,
    FIGURES,
    FINAL,
    REPORT,
    kind_of,
    read_json,
    read_metrics,
    read_results,
    write_json,
)
from wrimnet.visualization.figures import build_subject, write_figures

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 320, 170, 68, 10, 24, 24

_logger = logging.getLogger("fastreid.wrimnet.report")
_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console


class EmbeddedFigure(NamedTuple):
    """A figure in the page."""

    name: str
    caption: str
    data: str  # its PNG in base64


class ReportContent(NamedTuple):
    """Everything that a report shows; a note says what is missing and why."""

    title: str
    summary: str  # a sentence below it
    notes: Sequence[str]
    results: Sequence[ResultTable]
    curves: Mapping[str, Mapping[str, tuple[Sequence[int], Sequence[float]]]]  # by group and name
    figures: Sequence[EmbeddedFigure]
    changed_keys: Sequence[tuple[str, str, str]]  # name, value, default
    keys: Sequence[tuple[str, str]]
    environment: Sequence[tuple[str, str]]


def report_training(cfg: CfgNode) -> None:
    """Records the environment and writes the report; a failure is one logged line, never more."""
    run, device = build_place(cfg)
    try:
        read_results(run)
        now = datetime.now(UTC).isoformat(sep=" ", timespec="minutes")
        write_json(run / ENVIRONMENT, describe_environment(device) | {"finished": now})
        _console.info(f"report   {write_report(run)}")
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        _logger.warning("no report of this run (%s); training itself is complete", error)


def build_place(cfg: CfgNode) -> tuple[Path, str]:
    """Returns the run's folder and the device that it used."""
    return Path(cfg.OUTPUT_DIR), cfg.MODEL.DEVICE


def write_report(run: str | Path, options: Sequence[str] = ()) -> Path:
    """Writes ``report.html`` into a run's folder, its figures included.

    Figures of another model, or none, are drawn anew; where that cannot be done, the report says
    why and has none. ``options`` are ``KEY VALUE`` words laid over the run's configuration.

    Raises:
        FileNotFoundError: the folder holds no finished run.
    """
    run = Path(run)
    content = read_results(run)
    check_scored(content, run / FINAL)
    words = ["MODEL.DEVICE", "auto", *options, "MODEL.WEIGHTS", str(run / FINAL)]
    cfg = setup_cfg(str(run / CONFIG), options=words)
    figures, notes = read_figures(cfg, run)
    description = content["description"]
    what, code = describe_stand_in(description), description["code"]
    facts, lines = read_json(run / ENVIRONMENT) or code, read_metrics(run)
    page = ReportContent(
        title=f"{run.resolve().name}: WRIM-Net on {description['dataset']}{what and f' ({what})'}",
        summary=f"{describe_training(facts, lines)}; configuration {config_hash(cfg)}, split "
        f"{description['split']}, input {description['input']}, {description['precision']}, "
        f"commit {code['commit']}.",
        notes=notes,
        results=result_tables(content),
        curves=group_curves(lines),
        figures=figures,
        changed_keys=[
            (name, _plain(value), _plain(default)) for name, value, default in changed_keys(cfg)
        ],
        keys=[(key.name, _plain(get_key(cfg, key.name))) for key in all_keys(cfg)],
        environment=[(name, str(value)) for name, value in facts.items()],
    )
    for note in notes:
        _console.info(f"report   {note}")
    (run / REPORT).write_text(render_report(page), encoding="utf-8")
    return run / REPORT


def describe_training(facts: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    """Says when the run ended, how long its steps took and on what, as far as is recorded."""
    steps = [(line["iteration"], line["time"]) for line in lines if "time" in line]
    spans = pairwise([(-1, 0.0), *steps])
    seconds = round(sum((end - start) * each for (start, _), (end, each) in spans))
    device = facts.get("device", "an unrecorded device")
    device = facts["gpu"] if "cuda" in device else device
    finished = f"Finished {facts['finished']}, " if "finished" in facts else "Training: "
    return f"{finished}{timedelta(seconds=seconds)} of steps on {device}"


def render_report(content: ReportContent) -> str:
    """Returns the page; every text in it is escaped by the template."""
    environment = Environment(
        loader=PackageLoader("wrimnet.visualization", ""),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    groups = {
        name: [place_curve(curve, *values) for curve, values in curves.items()]
        for name, curves in content.curves.items()
    }
    return environment.get_template("report.html.j2").render(**content._asdict(), groups=groups)


def place_curve(name: str, iterations: Sequence[int], values: Sequence[float]) -> dict[str, Any]:
    """Places a quantity's finite values at ascending iterations as a curve of the page."""
    if not values or len(values) != len(iterations):
        raise ValueError(f"curve {name!r}: {len(values)} values at {len(iterations)} iterations")
    low, high, first, last = min(values), max(values), iterations[0], iterations[-1]
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    points = [
        (_scaled(i, first, last, _LEFT, right), _scaled(v, low, high, bottom, _TOP))
        for i, v in zip(iterations, values, strict=True)
    ]
    texts = [(f"{x:.1f}", f"{y:.1f}") for x, y in points]
    return {
        "name": name,
        "points": " ".join(",".join(text) for text in texts),
        "end": texts[-1],
        "low": f"{low:.4g}",
        "high": f"{high:.4g}",
        "last_value": f"{values[-1]:.4g}",
        "first": first,
        "last": last,
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "top": _TOP,
        "right": right,
        "bottom": bottom,
    }


def _scaled(value: float, low: float, high: float, start: float, end: float) -> float:
    """Maps low..high to start..end; a range of one value to the middle."""
    share = (value - low) / (high - low) if high > low else 0.5
    return start + share * (end - start)


def read_figures(cfg: CfgNode, run: Path) -> tuple[list[EmbeddedFigure], list[str]]:
    """Returns the figures of the run's final model, drawn if need be, or none and the reason."""
    folder = run / FIGURES
    try:
        if not (folder / FIGURE_LIST).is_file() or is_outdated(folder, run / FINAL):
            write_figures(build_subject(cfg), folder)
    except (ValueError, OSError, KeyError) as error:
        return [], [f"The figures are left out: {error}"]
    figures = []
    for entry in read_json(folder / FIGURE_LIST)["figures"]:
        data = base64.b64encode((folder / f"{entry['name']}.png").read_bytes()).decode()
        figures.append(EmbeddedFigure(entry["name"], entry["caption"], data))
    return figures, []


def is_outdated(folder: Path, weights: Path) -> bool:
    """Whether the weights are newer than the figures."""
    return weights.stat().st_mtime > (folder / FIGURE_LIST).stat().st_mtime


_GROUPS = {"loss": "Losses", "test": "Test metrics", "speed": "Speed and rate"}
Curves = dict[str, tuple[list[int], list[float]]]


def group_curves(lines: Sequence[Mapping[str, Any]]) -> dict[str, Curves]:
    """Returns the quantities of ``metrics.json``, grouped as the report shows them.

    Test metrics are in percent. What is 0 throughout is left out, the raw value of a loss term
    that stands there with its weight, and a test metric of one evaluation, which is in the table.
    """
    groups: dict[str, Curves] = {title: {} for title in _GROUPS.values()}
    names = {name for line in lines for name in line} - {"iteration"}
    for name in sorted(names, key=_place_of):
        found = [(line["iteration"], line[name]) for line in lines if name in line]
        found = [(iteration, value) for iteration, value in found if np.isfinite(value)]
        kind = kind_of(name)
        repeated = name.startswith("raw/") and f"loss_{name.removeprefix('raw/')}" in names
        tabled = kind == "test" and len(found) == 1
        if repeated or tabled or not any(value for _, value in found):
            continue
        iterations, values = zip(*found, strict=True)
        shown = [100 * value if kind == "test" else value for value in values]
        groups[_GROUPS[kind]][name] = [*iterations], shown
    return {name: curves for name, curves in groups.items() if curves}


def _place_of(name: str) -> tuple[bool, str, int, str]:
    """Sorts the total loss first, and the metrics of a protocol as its table has them."""
    protocol, _, metric = name.rpartition("/")
    place = METRIC_NAMES.index(metric) if metric in METRIC_NAMES else -1
    return name != "total_loss", protocol, place, metric


def _plain(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)
