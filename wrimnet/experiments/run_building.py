"""From settings to a checked run, before anything starts."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wrimnet.config import config_hash, setup_cfg
from wrimnet.config.defaults import get_key
from wrimnet.config.keys import KEYS
from wrimnet.experiments.runs import Run


def build_run(
    name: str,
    folder: str | Path,
    *,
    config_file: str,
    overlays: Sequence[str],
    options: Sequence[str],
    about: Mapping[str, Any],
) -> Run:
    """Checks the configuration of a run and describes it.

    Args:
        name: see :class:`Run`.
        folder: of the whole experiment.
        config_file: YAML file.
        overlays: YAML files laid over it, in order.
        options: ``KEY VALUE`` words laid over everything.
        about: see :class:`Run`; the configuration is added.

    Raises:
        KeyError, ValueError, FileNotFoundError: the configuration is wrong; before any run starts.
    """
    place = Path(folder, *name.split("/"))
    words = (*options, "OUTPUT_DIR", str(place))
    cfg = setup_cfg(config_file, overlays, words)
    overlay_words = [word for overlay in overlays for word in ("--overlay", overlay)]
    return Run(
        name=name,
        folder=place,
        arguments=("--config-file", config_file, *overlay_words, *words),
        config=config_hash(cfg),
        about={
            "name": name,
            **about,
            "config_file": config_file,
            "overlays": list(overlays),
            "options": list(options),
            "config": config_hash(cfg),
            "settings": {key.name: get_key(cfg, key.name) for key in KEYS},
            "generated_data": read_generator_description(cfg.DATASETS.ROOT, cfg.DATASETS.NAMES[0]),
        },
    )


def read_generator_description(root: str, dataset: str) -> dict[str, Any] | None:
    """Returns what a generated dataset says of itself; None for a real one."""
    folder = {"SYSU_MM01": "SYSU-MM01"}.get(dataset, dataset)
    place = Path(root or os.environ.get("FASTREID_DATASETS") or "datasets", folder)
    path = place / "synthetic.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
