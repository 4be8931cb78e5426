"""The report of a run: one HTML file in its folder."""

import json
import logging
from pathlib import Path

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.analysis.report_page import Figure, ReportContent, render_report
from wrimnet.config import config_hash, setup_cfg
from wrimnet.engine.checkpointing import FINAL
from wrimnet.inspection.figures import LIST_FILE, write_figures
from wrimnet.inspection.run_files import (
    ENVIRONMENT,
    all_keys,
    changed_keys,
    describe_environment,
    read_curves,
    read_results,
)
from wrimnet.inspection.subject import build_subject
from wrimnet.interface.arguments import CONFIG

REPORT, FIGURES = "report.html", "figures"
_logger = logging.getLogger("fastreid.wrimnet.report")


def report_training(cfg: CfgNode) -> None:
    """Records the environment and writes the report; a failure is one logged line, never more."""
    try:
        run = check_finished_run(cfg)
        environment = describe_environment(build_device(cfg))
        (run / ENVIRONMENT).write_text(json.dumps(environment, indent=1) + "\n", encoding="utf-8")
        _logger.info("report: %s", write_report(run))
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        _logger.warning("no report of this run (%s); training itself is complete", error)


def check_finished_run(cfg: CfgNode) -> Path:
    """Returns the run's folder; FileNotFoundError if it has no results yet."""
    read_results(Path(cfg.OUTPUT_DIR))
    return Path(cfg.OUTPUT_DIR)


def build_device(cfg: CfgNode) -> str:
    """Returns the name of the device that the run used."""
    return cfg.MODEL.DEVICE


def write_report(run: str | Path, options: list[str] | None = None) -> Path:
    """Writes ``report.html`` into a run's folder, its figures included.

    Figures of another model, or none, are drawn anew; where that cannot be done, the report says
    why and has none.

    Args:
        run: folder with config.yaml, results.json, metrics.json and model_final.pth.
        options: ``KEY VALUE`` words laid over the run's configuration, such as DATASETS.ROOT.

    Raises:
        FileNotFoundError: the folder holds no finished run.
    """
    run = Path(run)
    description, results = read_results(run)
    words = ["MODEL.DEVICE", "auto", *(options or []), "MODEL.WEIGHTS", str(run / FINAL)]
    cfg = setup_cfg(str(run / CONFIG), options=words)
    figures, notes = read_figures(cfg, run)
    synthetic = " (synthetic)" if description["synthetic"] else ""
    code = description["code"]
    content = ReportContent(
        title=f"{run.resolve().name}: WRIM-Net on {description['dataset']}{synthetic}",
        summary=f"Configuration {config_hash(cfg)}, split {description['split']}, input "
        f"{description['input']}, {description['precision']}, commit {code['commit']}.",
        notes=notes,
        results=results,
        curves=read_curves(run),
        figures=figures,
        changed_keys=changed_keys(cfg),
        all_keys=all_keys(cfg),
        environment=read_environment(run, code),
    )
    path = run / REPORT
    path.write_text(render_report(content), encoding="utf-8")
    return path


def read_figures(cfg: CfgNode, run: Path) -> tuple[list[Figure], list[str]]:
    """Returns the figures of the run's final model, drawn if need be, or none and the reason."""
    folder = run / FIGURES
    try:
        if not (folder / LIST_FILE).is_file() or is_outdated(folder, run / FINAL):
            write_figures(build_subject(cfg), folder)
    except (ValueError, OSError, KeyError) as error:
        return [], [f"The figures are left out: {error}"]
    listed = json.loads((folder / LIST_FILE).read_text(encoding="utf-8"))["figures"]
    figures = [
        Figure(entry["name"], entry["caption"], (folder / f"{entry['name']}.png").read_bytes())
        for entry in listed
    ]
    return figures, []


def is_outdated(folder: Path, weights: Path) -> bool:
    """Whether the weights are newer than the figures."""
    return weights.stat().st_mtime > (folder / LIST_FILE).stat().st_mtime


def read_environment(run: Path, code: dict[str, str | None]) -> list[tuple[str, str]]:
    """Returns what was recorded when training ended, else what the results say of the code."""
    path = run / ENVIRONMENT
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else code
    return [(name, str(value)) for name, value in facts.items()]
