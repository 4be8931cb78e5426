"""The report of a run: one HTML file in its folder that needs no network."""

import base64
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config import config_hash, setup_cfg
from wrimnet.config.setup import all_keys, changed_keys
from wrimnet.config.tree import get_key
from wrimnet.evaluation.provenance import check_scored, describe_environment
from wrimnet.evaluation.results import ResultTable, describe_stand_in, result_tables
from wrimnet.run_folder import (
    CONFIG,
    ENVIRONMENT,
    FIGURE_LIST,
    FIGURES,
    FINAL,
    REPORT,
    read_json,
    read_metrics,
    read_results,
    write_json,
)
from wrimnet.visualization.charts import Chart, learning_charts, optimization_charts
from wrimnet.visualization.figures import build_subject, write_figures
from wrimnet.visualization.headlines import Headline, headlines
from wrimnet.visualization.page import render_page

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
    headlines: Sequence[Headline]
    results: Sequence[ResultTable]
    learning: Sequence[Chart]  # test metrics and losses
    optimization: Sequence[Chart]
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
    chance: dict[str, dict[str, float]] = {}
    page = ReportContent(
        title=f"{run.resolve().name}: WRIM-Net on {description['dataset']}{what and f' ({what})'}",
        summary=f"{describe_training(facts, lines)}; configuration {config_hash(cfg)}, split "
        f"{description['split']}, input {description['input']}, {description['precision']}, "
        f"commit {code['commit']}.",
        notes=notes,
        headlines=headlines(content, chance, {}),
        results=result_tables(content),
        learning=build_learning_charts(cfg, lines, chance),
        optimization=optimization_charts(lines),
        figures=figures,
        changed_keys=[
            (name, _plain(value), _plain(default)) for name, value, default in changed_keys(cfg)
        ],
        keys=[(key.name, _plain(get_key(cfg, key.name))) for key in all_keys(cfg)],
        environment=[(name, str(value)) for name, value in facts.items()],
    )
    for note in notes:
        _console.info(f"report   {note}")
    (run / REPORT).write_text(render_page("report.html.j2", page._asdict()), encoding="utf-8")
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


def build_learning_charts(
    cfg: CfgNode,
    lines: Sequence[Mapping[str, Any]],
    chance: Mapping[str, Mapping[str, float]],
) -> list[Chart]:
    """Builds the charts of a finished run's test metrics and losses."""
    last = lines[-1]["iteration"] if lines else 0
    per_epoch = last / cfg.SOLVER.MAX_EPOCH
    return learning_charts(lines, iterations_per_epoch=per_epoch, chance=chance)


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


def _plain(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)
