"""Which runs an experiment consists of: tables, sweeps and RegDB's splits."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wrimnet.experiments.rows import BY_NAME, FULL, Row
from wrimnet.experiments.run_building import build_run
from wrimnet.experiments.runs import Run

DATASETS = ("LLCM", "RegDB", "SYSU", "Synthetic")  # folders of configs/
REGDB_SPLITS = tuple(range(1, 11))
# METHOD section 7: the figure's own values are not legible
FIGURE_S1 = {
    "MODEL.WRIM.CMKIC.WEIGHT": ("0.1", "0.3", "0.5", "0.7", "0.9"),
    "MODEL.WRIM.AUXILIARY.WEIGHT": ("0.01", "0.05", "0.1", "0.2", "0.5"),
}


class Setting(NamedTuple):
    """What all runs of an experiment share.

    Args:
        dataset: one of ``DATASETS``.
        configs: folder of the configurations.
        folder: gets one folder per run.
        overlays: laid over the dataset's configuration, before a row's own.
        overrides: ``KEY VALUE`` words laid over everything.
        command: how the experiment was called, for the reports.
    """

    dataset: str
    configs: Path
    folder: Path
    overlays: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    command: str = ""

    def config_file(self, name: str = "wrim.yml") -> str:
        """Path of one of the dataset's configurations."""
        return str(self.configs / self.dataset / name)

    def about(self, kind: str, seed: int) -> dict[str, object]:
        """What the record of every run says."""
        return {
            "kind": kind,
            "dataset": self.dataset,
            "seed": seed,
            "overrides": [*self.overlays, *self.overrides],
            "started_by": self.command,
        }


def plan_rows(setting: Setting, rows: Sequence[Row], seeds: Sequence[int]) -> list[Run]:
    """Returns the runs of some rows; all rows of one seed before the next."""
    return [_row_run(setting, row, seed) for seed in seeds for row in rows]


def _row_run(setting: Setting, row: Row, seed: int) -> Run:
    overlay = [str(setting.configs / "ablation" / f"{row.name}.yml")] if row.has_overlay else []
    return build_run(
        f"{row.name}/seed{seed}",
        setting.folder,
        config_file=setting.config_file(row.config),
        overlays=(*setting.overlays, *overlay),
        options=(*setting.overrides, "SEED", str(seed)),
        about={**setting.about("row", seed), "row": row.name},
    )


def plan_sweep(
    setting: Setting, key: str, values: Sequence[str], seeds: Sequence[int]
) -> list[Run]:
    """Returns the runs of a key's values; at its value in WRIM-Net that row's run stands in.

    Raises:
        ValueError: a value stands twice.
    """
    if len(set(values)) < len(values):
        raise ValueError(f"--values {' '.join(values)}: a value stands twice")
    return [_sweep_run(setting, key, value, seed) for seed in seeds for value in values]


def _sweep_run(setting: Setting, key: str, value: str, seed: int) -> Run:
    full = _row_run(setting, BY_NAME[FULL], seed)
    run = build_run(
        f"{key}={path_word(value)}/seed{seed}",
        setting.folder,
        config_file=setting.config_file(),
        overlays=setting.overlays,
        options=(*setting.overrides, key, value, "SEED", str(seed)),
        about={**setting.about("sweep", seed), "key": key},
    )
    return full if run.config == full.config else run


def plan_splits(setting: Setting, config_name: str, splits: Sequence[int], seed: int) -> list[Run]:
    """Returns one run per RegDB split.

    Raises:
        ValueError: no such split, or one that stands twice.
    """
    if len(set(splits)) < len(splits) or not set(splits) <= set(REGDB_SPLITS):
        raise ValueError(f"--splits {list(splits)}: expected some of 1 to 10, each once")
    return [_split_run(setting, config_name, split, seed) for split in splits]


def _split_run(setting: Setting, config_name: str, split: int, seed: int) -> Run:
    words = (*setting.overrides, "DATASETS.REGDB_TRIAL", str(split), "SEED", str(seed))
    return build_run(
        f"split{split}",
        setting.folder,
        config_file=setting.config_file(config_name),
        overlays=setting.overlays,
        options=words,
        about={**setting.about("split", seed), "split": split},
    )


def path_word(value: str) -> str:
    """Writes a value so that it can name a folder: "(2, 2, 4, 4)" becomes "2_2_4_4"."""
    return re.sub(r"[^\w.+-]+", "_", value).strip("_")
