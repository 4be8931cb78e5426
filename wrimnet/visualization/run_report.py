"""The report of a run: one HTML file in its folder that needs no network."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.atomic_files import write_text
from wrimnet.config import setup_cfg
from wrimnet.config.setup import all_keys, changed_keys
from wrimnet.config.tree import get_key
from wrimnet.evaluation.chance_level import chance_level
from wrimnet.evaluation.plugin_sources import plugin_hashes
from wrimnet.evaluation.provenance import check_scored, describe_environment
from wrimnet.evaluation.results import (
    ResultTable,
    describe_stand_in,
    result_tables,
    results_by_weights,
)
from wrimnet.published import PAPER
from wrimnet.run_folder import (
    CONFIG,
    ENVIRONMENT,
    FINAL,
    REPORT,
    read_json,
    read_metrics,
    read_results,
    write_json,
)
from wrimnet.visualization.charts import Chart, learning_charts, optimization_charts
from wrimnet.visualization.figures import build_subject
from wrimnet.visualization.headlines import Headline, headlines
from wrimnet.visualization.page import render_page
from wrimnet.visualization.query_table import QueryTable, read_query_tables, thumbnails
from wrimnet.visualization.report_figures import ReportFigure, model_figures, ranked_figures

_CHANCE_EMBEDDINGS = 20  # random ones, whose mean is shown

_logger = logging.getLogger("fastreid.wrimnet.report")
_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console


class ReportContent(NamedTuple):
    """Everything that a report shows; a note says what is missing and why."""

    title: str
    summary: str  # a sentence below it
    notes: Sequence[str]
    headlines: Sequence[Headline]
    results: Sequence[ResultTable]
    learning: Sequence[Chart]  # test metrics and losses
    optimization: Sequence[Chart]
    ranked: Sequence[ReportFigure]  # by protocol
    figures: Sequence[ReportFigure]
    queries: Sequence[QueryTable]
    thumbnails: Mapping[str, str]  # data URL by path
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
    """Writes ``report.html`` into a run's folder.

    Where the model or the test images cannot be read, the report says why and shows the rest.
    ``options`` are ``KEY VALUE`` words laid over the run's configuration for the figures.

    Raises:
        FileNotFoundError: the folder holds no finished run.
    """
    run = Path(run)
    content = read_results(run)
    check_scored(content, run / FINAL)
    words = ["MODEL.DEVICE", "auto", *options, "MODEL.WEIGHTS", str(run / FINAL)]
    cfg = setup_cfg(str(run / CONFIG), options=words)
    trained = setup_cfg(str(run / CONFIG), has_device=False)  # its GPU need not be here
    page = build_report(trained, run, content, build_findings(cfg, run))
    for note in page.notes:
        _console.info(f"report   {note}")
    write_text(run / REPORT, render_page("report.html.j2", page._asdict()))
    return run / REPORT


class Findings(NamedTuple):
    """What the model and the test images show; a note says why something is missing."""

    chance: Mapping[str, Mapping[str, float]] = {}  # of every protocol, metrics as fractions
    ranked: Sequence[ReportFigure] = ()
    figures: Sequence[ReportFigure] = ()
    queries: Sequence[QueryTable] = ()  # by protocol
    thumbnails: Mapping[str, str] = {}  # of the images that they name, by path
    notes: Sequence[str] = ()


def build_findings(cfg: CfgNode, run: Path) -> Findings:
    """Builds the figures of a configuration with MODEL.WEIGHTS, and what chance reaches."""
    try:
        subject = build_subject(cfg)
        options: dict[str, Any] = {
            "num_embeddings": _CHANCE_EMBEDDINGS,
            "metrics": tuple(cfg.TEST.METRICS),
        }
        chance = {
            each.protocol.name: chance_level(
                each.protocol, subject.items, each.trials, **options
            ).mean
            for each in subject.runs
        }
        findings = Findings(chance, ranked_figures(subject), [*model_figures(subject)])
    except (ValueError, OSError, KeyError) as error:
        return Findings(notes=[f"Figures and chance level are left out: {error}"])
    try:
        tables = read_query_tables(run, subject.runs, subject.items)
    except (ValueError, OSError, KeyError) as error:
        return findings._replace(notes=[f"The queries are left out: {error}"])
    pictures = thumbnails(tables, subject.items, subject.read)
    return findings._replace(queries=tables, thumbnails=pictures)


def build_report(
    cfg: CfgNode, run: Path, content: Mapping[str, Any], findings: Findings
) -> ReportContent:
    """Builds everything that the report of a run with these results shows.

    ``cfg`` is what it was trained with.
    """
    description = content["description"]
    stand_in, code = describe_stand_in(description), description["code"]
    facts, lines = read_json(run / ENVIRONMENT) or code, read_metrics(run)
    plugins = "".join(f", {name} {sha}" for name, sha in plugin_hashes(content).items())
    network = cfg.MODEL.META_ARCHITECTURE
    dataset = f"{description['dataset']}{stand_in and f' ({stand_in})'}"
    of_the_paper = (network, dataset, description["split"]) == ("WRIMNet", "LLCM", "trainval")
    paper = PAPER.values("WRIM-Net") if of_the_paper else {}
    per_epoch = lines[-1]["iteration"] / cfg.SOLVER.MAX_EPOCH if lines else 1
    return ReportContent(
        title=f"{run.resolve().name}: {network} on {dataset}",
        summary=f"{describe_steps(facts, lines)}; configuration {description['config']}, split "
        f"{description['split']}, input {description['input']}, {description['precision']}, "
        f"commit {code['commit']}{plugins}.",
        notes=findings.notes,
        headlines=headlines(content, findings.chance, paper),
        results=[t for name in results_by_weights(content) for t in result_tables(content, name)],
        learning=learning_charts(lines, iterations_per_epoch=per_epoch, chance=findings.chance),
        optimization=optimization_charts(lines),
        ranked=findings.ranked,
        figures=findings.figures,
        queries=findings.queries,
        thumbnails=findings.thumbnails,
        changed_keys=[
            (name, _plain(value), _plain(default)) for name, value, default in changed_keys(cfg)
        ],
        keys=[(key.name, _plain(get_key(cfg, key.name))) for key in all_keys(cfg)],
        environment=[(name, str(value)) for name, value in facts.items()],
    )


def describe_steps(facts: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    """Says when the run ended, how long its steps took and on what, as far as is recorded."""
    steps = [(line["iteration"], line["time"]) for line in lines if "time" in line]
    spans = pairwise([(0, 0.0), *steps])
    seconds = round(sum((end - start) * each for (start, _), (end, each) in spans))
    device = facts.get("device", "an unrecorded device")
    device = facts["gpu"] if "cuda" in device else device
    finished = f"Finished {facts['finished']}, " if "finished" in facts else "Training: "
    return f"{finished}{timedelta(seconds=seconds)} of steps on {device}"


def _plain(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)
