"""Runs of a second: a tree of noise in LLCM's layout, ResNet-18, 32x16 pixels, batches of eight."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from trees import digests, make_llcm_tree

from wrimnet.config import setup_cfg

ROOT = Path(__file__).resolve().parent.parent
CONFIG_FILE = str(ROOT / "configs" / "LLCM" / "wrim.yml")
TINY = {
    "MODEL.BACKBONE.DEPTH": "18x",
    "MODEL.BACKBONE.PRETRAIN": "False",
    "INPUT.SIZE_TRAIN": "[32, 16]",
    "INPUT.SIZE_TEST": "[32, 16]",
    "DATALOADER.NUM_INSTANCE": "2",
    "DATALOADER.NUM_WORKERS": "1",
    "DATALOADER.CACHE": "none",
    "SOLVER.IMS_PER_BATCH": "8",
    "SOLVER.ITERS_PER_EPOCH": "2",
    "SOLVER.MAX_EPOCH": "2",
    "SOLVER.STEPS": "[1]",
    "SOLVER.LOG_PERIOD": "1",
    "SOLVER.CHECKPOINT_PERIOD": "1",
    "TEST.EVAL_PERIOD": "0",
    "TEST.NUM_TRIALS": "2",
    "TEST.IMS_PER_BATCH": "16",
}


def make_noise_tree(root: Path) -> Path:
    """root/LLCM as :func:`trees.make_llcm_tree` makes it, every image of its own noise."""
    folder = make_llcm_tree(root)
    rng = np.random.default_rng(0)
    for path in sorted(folder.rglob("*.jpg")):
        Image.fromarray(rng.integers(0, 256, (32, 16, 3), dtype=np.uint8)).save(path)
    return folder


def words(root: Path, output: Path, **overrides: str) -> list[str]:
    """KEY VALUE words of a tiny run; in the names of ``overrides`` two underscores are a dot."""
    keys = {"DATASETS.ROOT": str(root), "OUTPUT_DIR": str(output), "MODEL.DEVICE": "cpu", **TINY}
    keys |= {name.replace("__", "."): value for name, value in overrides.items()}
    return [word for pair in keys.items() for word in pair]


def tiny_cfg(root: Path, output: Path, **overrides: str):
    return setup_cfg(CONFIG_FILE, (), words(root, output, **overrides))


def make_trainer(cfg, *, resume: bool = False):
    """The trainer of a run whose folder nobody locks."""
    from wrimnet.engine.preflight import preflight
    from wrimnet.engine.trainer import WRIMTrainer

    return WRIMTrainer(preflight(cfg, resume=resume))


def read_lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def losses_of(output: Path) -> list[dict[str, float]]:
    """The loss values of each line of metrics.jsonl."""
    return [
        {name: value for name, value in line.items() if "loss" in name or name.startswith("raw/")}
        for line in read_lines(output)
    ]


def evaluation_folder(output):
    """Where the newest evaluation with this OUTPUT_DIR lies."""
    return max(Path(output, "eval").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def contents_of(run):
    """Digest of every file of a run, those of its evaluations aside."""
    return {name: d for name, d in digests(run).items() if not name.startswith("eval/")}
