"""What a run has left in its folder, in the form that its report shows."""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
from fastreid.config import CfgNode

from wrimnet.analysis.report_page import Curve, ResultTable
from wrimnet.config.defaults import get_cfg, get_key, leaf_names
from wrimnet.engine.metrics_file import read_metrics
from wrimnet.evaluation.provenance import describe_code
from wrimnet.evaluation.results import RANKS

RESULTS, METRICS, ENVIRONMENT = "results.json", "metrics.json", "environment.json"
_OF_THIS_MACHINE = {"OUTPUT_DIR", "MODEL.DEVICE", "MODEL.WEIGHTS"}


def describe_environment(device: str) -> dict[str, str]:
    """Says where a run takes place: versions, commit, machine."""
    code = {name: value or "unknown" for name, value in describe_code().items()}
    kind = torch.device(device).type
    name = torch.cuda.get_device_name(device) if kind == "cuda" else platform.machine()
    return {
        "commit": code["commit"],
        "wrimnet": code["wrimnet"],
        "torch": code["torch"],
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "device": f"{device}, {name}",
        "CPU cores": str(os.cpu_count()),
    }


def read_results(run: Path) -> tuple[dict[str, Any], list[ResultTable]]:
    """Returns the description of ``results.json`` and its tables; those of a table stand together.

    Raises:
        FileNotFoundError: the run has no results.
    """
    path = run / RESULTS
    if not path.is_file():
        raise FileNotFoundError(f"no {RESULTS} in {run}; the run is not finished, or no run at all")
    content = json.loads(path.read_text(encoding="utf-8"))
    header = ["protocol", "direction", "embedding", *(f"Rank-{r}" for r in RANKS), "mAP", "mINP"]
    tables = []
    for name in dict.fromkeys(result["table"] for result in content["results"]):
        results = [result for result in content["results"] if result["table"] == name]
        heading = "" if name == "main" else f"A protocol of its own, not comparable ({name})"
        lines = dict.fromkeys(_protocol_line(result) for result in results)
        tables.append(ResultTable(heading, header, [_result_row(r) for r in results], list(lines)))
    return content["description"], tables


def _result_row(result: Mapping[str, Any]) -> list[str]:
    mean, std, spread = result["mean"], result["std"], result["num_trials"] > 1
    values = [(mean["cmc"][rank - 1], std["cmc"][rank - 1]) for rank in RANKS]
    values += [(mean[name], std[name]) for name in ("mAP", "mINP")]
    numbers = [f"{100 * m:.2f}" + (f" ± {100 * s:.2f}" if spread else "") for m, s in values]
    parts = "+".join(result["parts"]) + ("" if result["whole"] else " (alone)")
    return [result["protocol"], result["direction"], parts, *numbers]


def _protocol_line(result: Mapping[str, Any]) -> str:
    queries, skipped = set(result["queries"]), max(result["queries_skipped"])
    draw = f"gallery draw {result['draw']}, {result['shots']} per identity and camera, "
    return (
        f"{result['protocol']}: {result['direction']}, {draw if result['draw'] else ''}"
        f"{result['num_trials']} trials, camera rule {result['camera_rule']}, CMC counts "
        f"{result['cmc']}, {min(queries)}"
        + (f" to {max(queries)}" if len(queries) > 1 else "")
        + f" queries, at most {skipped} without a match. Percent, mean ± standard deviation."
    )


def read_curves(run: Path) -> dict[str, dict[str, Curve]]:
    """Returns every logged quantity of ``metrics.json``, grouped as the report shows them."""
    path = run / METRICS
    lines = read_metrics(path) if path.is_file() else []
    groups: dict[str, dict[str, Curve]] = {"Losses": {}, "Test metrics": {}, "Speed and rate": {}}
    for name in sorted({name for line in lines for name in line} - {"iteration"}):
        found = [(line["iteration"], line[name]) for line in lines if name in line]
        found = [(iteration, value) for iteration, value in found if np.isfinite(value)]
        if found:
            groups[_group(name)][name] = Curve(*zip(*found, strict=True))
    return {name: curves for name, curves in groups.items() if curves}


def _group(name: str) -> str:
    if "loss" in name or name.startswith("raw/"):
        return "Losses"
    return "Test metrics" if "/" in name else "Speed and rate"


def changed_keys(cfg: CfgNode) -> list[tuple[str, str, str]]:
    """Lists key, value and default of what a configuration changes."""
    base = get_cfg()
    return [
        (name, _plain(get_key(cfg, name)), _plain(get_key(base, name)))
        for name in sorted(set(leaf_names(cfg)) - _OF_THIS_MACHINE)
        if _plain(get_key(cfg, name)) != _plain(get_key(base, name))
    ]


def all_keys(cfg: CfgNode) -> list[tuple[str, str]]:
    """Lists key and value of a whole configuration."""
    return [(name, _plain(get_key(cfg, name))) for name in sorted(leaf_names(cfg))]


def _plain(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)
