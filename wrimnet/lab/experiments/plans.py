"""Which runs an experiment consists of: the paper's rows, sweeps, a dataset's divisions."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config import KEYS, config_hash, setup_cfg
from wrimnet.config.setup import all_keys
from wrimnet.config.tree import get_key
from wrimnet.published import PAPER
from wrimnet.registries import only_dataset
from wrimnet.run_folder import RECORD, find_results, read_json, write_json

FULL = "s1_blocks1234"  # WRIM-Net itself, in every table
TABLES = {
    "S1": "MIIM after which Blocks",
    "S2": "separate or shared MIIMs",
    "S3": "fusion of MIIM",
    "S4": "auxiliary information",
    "losses": "loss terms",
}
DEFAULTS = {key.name: key.default for key in KEYS}


class Row(NamedTuple):
    """One row of some tables.

    Args:
        name: folder of its runs; stem of its overlay in ``configs/ablation``.
        tables: where it stands.
        label: as printed.
        rank1: the paper's Rank-1 on LLCM in percent, direction as printed; None for no number.
        mean_average_precision: likewise.
        config: file in the dataset's folder of ``configs``.
        has_overlay: False for the baseline, which is a configuration of its own.
    """

    name: str
    tables: tuple[str, ...]
    label: str
    rank1: float | None = None
    mean_average_precision: float | None = None
    config: str = "wrim.yml"
    has_overlay: bool = True


ROWS = (
    Row("s1_none", ("S1",), "no MIIM", 54.83, 61.27),
    Row("s1_block1", ("S1",), "Block 1", 56.68, 62.83),
    Row("s1_block2", ("S1",), "Block 2", 57.34, 63.53),
    Row("s1_block3", ("S1",), "Block 3", 55.26, 61.98),
    Row("s1_block4", ("S1",), "Block 4", 55.03, 61.76),
    Row("s1_blocks12", ("S1",), "Blocks 1+2", 57.82, 64.03),
    Row("s1_blocks34", ("S1",), "Blocks 3+4", 56.16, 62.72),
    Row("s2_shared", ("S2",), "all shared", 57.63, 64.15),
    Row("s2_separate", ("S2",), "all separate", 57.12, 63.53),
    Row("s3_multiply", ("S3",), "multiply, no sigmoid", 56.08, 62.98),
    Row("s3_add", ("S3",), "add", 56.74, 63.55),
    Row("s4_no_auxiliary", ("S4",), "no auxiliary information", 57.32, 63.43),
    Row("baseline", ("losses",), "baseline", config="baseline.yml", has_overlay=False),
    Row("no_cmkic", ("losses",), "no CMKIC"),
    Row("no_triplet", ("losses",), "no triplet"),
    Row("no_stripes", ("losses",), "no stripes at the main level"),
    Row("lambdas_exchanged", ("losses",), "lambda1 and lambda2 exchanged"),
    Row(FULL, tuple(TABLES), "WRIM-Net", PAPER["LLCM"]["Rank-1"], PAPER["LLCM"]["mAP"]),
)
BY_NAME = {row.name: row for row in ROWS}


def rows_of(table: str) -> list[Row]:
    """Returns the rows of a table, WRIM-Net last, or every row once for "all".

    Raises:
        KeyError: there is no such table.
    """
    if table == "all":
        return list(ROWS)
    if table not in TABLES:
        raise KeyError(f"there is no table {table!r}; choose one of {', '.join(TABLES)} or all")
    return [row for row in ROWS if table in row.tables]


# METHOD section 7: the figure's own values are not legible
FIGURE_S1 = {
    "MODEL.WRIM.CMKIC.WEIGHT": ("0.1", "0.3", "0.5", "0.7", "0.9"),
    "MODEL.WRIM.AUXILIARY.WEIGHT": ("0.01", "0.05", "0.1", "0.2", "0.5"),
}


class ExperimentRun(NamedTuple):
    """One training run of an experiment."""

    name: str  # unique within the experiment, such as "s1_none/seed0"; its place below the folder
    folder: Path  # OUTPUT_DIR
    arguments: tuple[str, ...]  # command line of ``train_net.py``
    config: str  # hash of its configuration, which its results must carry
    about: Mapping[str, Any]  # what the reports need to know of it


def is_done(run: ExperimentRun) -> bool:
    """Whether the run has complete results of its configuration.

    Raises:
        ValueError: its folder holds the results of another configuration.
    """
    results = find_results(run.folder)
    if results is None:
        return False
    found = results["description"]["config"]
    if found != run.config:
        raise ValueError(
            f"{run.folder} holds results of another configuration ({found}, this one is "
            f"{run.config}), so the settings have changed since; choose another --out"
        )
    return True


def read_record(folder: Path) -> dict[str, Any]:
    """Returns the record of a run, {} where there is none."""
    return read_json(folder / RECORD) or {}


def write_record(run: ExperimentRun, attempts: Sequence[Mapping[str, Any]]) -> None:
    """Writes what the run is and how long each attempt at it took."""
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(run.folder / RECORD, {**run.about, "attempts": list(attempts)})


class Setting(NamedTuple):
    """What all runs of an experiment share."""

    configs: Path  # folder of the dataset's configurations, such as configs/LLCM
    ablations: Path  # folder of the rows' overlays
    folder: Path  # gets one folder per run
    overlays: tuple[str, ...] = ()  # laid over the configuration, before a row's own
    overrides: tuple[str, ...] = ()  # KEY VALUE words laid over everything
    command: str = ""  # how the experiment was called, for the reports

    @property
    def dataset(self) -> str:
        """What tables call it."""
        return self.configs.name

    def setup(self, name: str = "wrim.yml") -> CfgNode:
        """The configuration that the runs start from."""
        return setup_cfg(str(self.configs / name), self.overlays, self.overrides)


def plan_rows(setting: Setting, rows: Sequence[Row], seeds: Sequence[int]) -> list[ExperimentRun]:
    """Returns the runs of some rows; all rows of one seed before the next."""
    return [_row_run(setting, row, seed) for seed in seeds for row in rows]


def _row_run(setting: Setting, row: Row, seed: int) -> ExperimentRun:
    overlay = [str(setting.ablations / f"{row.name}.yml")] if row.has_overlay else []
    about = {"kind": "row", "seed": seed, "row": row.name}
    name = f"{row.name}/seed{seed}"
    return _build_run(setting, name, about, config=row.config, overlays=overlay)


def plan_sweep(
    setting: Setting, key: str, values: Sequence[str], seeds: Sequence[int]
) -> list[ExperimentRun]:
    """Returns the runs of a key's values; at its value in WRIM-Net that row's run stands in.

    Raises:
        ValueError: a value stands twice, or every run has its own value of the key.
    """
    if key in ("SEED", "OUTPUT_DIR"):
        raise ValueError(f"--key {key}: every run has its own; --seeds repeats each value")
    if len(set(values)) < len(values):
        raise ValueError(f"--values {' '.join(values)}: a value stands twice")
    return [_sweep_run(setting, key, value, seed) for seed in seeds for value in values]


def _sweep_run(setting: Setting, key: str, value: str, seed: int) -> ExperimentRun:
    full = _row_run(setting, BY_NAME[FULL], seed)
    about = {"kind": "sweep", "seed": seed, "key": key}
    name = f"{key}={path_word(value)}/seed{seed}"
    run = _build_run(setting, name, about, options=(key, value))
    return full if run.config == full.config else run


def plan_splits(
    setting: Setting, config_name: str, splits: Sequence[int], seed: int
) -> list[ExperimentRun]:
    """Returns one run per division of a dataset that has several; () for all of them.

    Raises:
        ValueError: a single division, no such one, or one that stands twice.
    """
    dataset = only_dataset(setting.setup(config_name).DATASETS.NAMES)
    if not dataset.number_key:
        raise ValueError(f"{dataset.title} has one division into training and test; train it once")
    splits, known = splits or dataset.numbers, dataset.numbers
    if len(set(splits)) < len(splits) or not set(splits) <= set(known):
        raise ValueError(
            f"--splits {list(splits)}: expected some of {known[0]} to {known[-1]}, each once"
        )
    return [_split_run(setting, config_name, dataset, split, seed) for split in splits]


def _split_run(setting: Setting, config: str, dataset: Any, split: int, seed: int) -> ExperimentRun:
    key = dataset.number_key
    about = {"kind": "split", "seed": seed, "split": split, "split_key": key}
    about["described_as"] = next(iter(dataset.describe_number(split)))
    options = (key, str(split))
    return _build_run(setting, f"split{split}", about, config=config, options=options)


def _build_run(
    setting: Setting,
    name: str,
    about: Mapping[str, Any],
    *,
    config: str = "wrim.yml",
    overlays: Sequence[str] = (),
    options: Sequence[str] = (),
) -> ExperimentRun:
    """Checks the configuration of a run, before any run starts, and describes it."""
    from wrimnet.data.build import build_dataset_folder
    from wrimnet.data.datasets.base import SYNTHETIC_MARK

    config_file = str(setting.configs / config)
    overlays = [*setting.overlays, *overlays]
    options = [*setting.overrides, *options, "SEED", str(about["seed"])]
    words = [*options, "OUTPUT_DIR", str(setting.folder / name)]
    overlay_words = [word for overlay in overlays for word in ("--overlay", overlay)]
    cfg = setup_cfg(config_file, overlays, words)
    record = {
        "name": name,
        "dataset": setting.dataset,
        "overrides": [*setting.overlays, *setting.overrides],
        "started_by": setting.command,
        **about,
        "config_file": config_file,
        "overlays": overlays,
        "options": options,
        "config": config_hash(cfg),
        "settings": {key.name: get_key(cfg, key.name) for key in all_keys(cfg)},
        # what a generated dataset says of itself; None for a real one
        "generated_data": read_json(build_dataset_folder(cfg) / SYNTHETIC_MARK),
    }
    arguments = ("--config-file", config_file, *overlay_words, *words)
    return ExperimentRun(name, setting.folder / name, arguments, record["config"], record)


def setup_planned_cfg(about: Mapping[str, Any], *words: str) -> CfgNode:
    """Builds the configuration of a run from its record, ``KEY VALUE`` words laid over it."""
    return setup_cfg(about["config_file"], about["overlays"], (*about["options"], *words))


def path_word(value: str) -> str:
    """Writes a value so that it can name a folder: "(2, 2, 4, 4)" becomes "2_2_4_4"."""
    return re.sub(r"[^\w.+-]+", "_", value).strip("_")
