"""The runs that a table consists of, each with a checked configuration, before any starts."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.command_line import describe_mistake
from wrimnet.config import config_hash, setup_cfg
from wrimnet.config.setup import all_keys
from wrimnet.config.tree import get_key
from wrimnet.evaluation.plugin_sources import list_sources
from wrimnet.lab.experiments.runs import ExperimentRun, read_record
from wrimnet.lab.experiments.table_file import HELD_OUT, Row, TableFile
from wrimnet.metrics.names import CMC_LENGTH, is_computed_always
from wrimnet.registries import only_dataset
from wrimnet.run_folder import read_json


class Setting(NamedTuple):
    """What all runs of a call share."""

    folder: Path  # gets the runs
    dataset: str = ""  # as it was asked for; "" for the one of the configurations
    overlays: tuple[str, ...] = ()  # laid over the configuration, before a row's own
    overrides: tuple[str, ...] = ()  # KEY VALUE words laid over everything
    command: str = ""  # how the program was called, for the reports
    # whether this machine has the device of the runs; None: it need not have it, nothing is trained
    has_device: bool | None = True


class PlannedRow(NamedTuple):
    """A row and its runs."""

    label: str  # as printed
    row: Row
    runs: dict[int, ExperimentRun]  # by seed or split


class TablePlan(NamedTuple):
    """A table and all of its runs."""

    table: TableFile
    rows: list[PlannedRow]

    @property
    def runs(self) -> list[ExperimentRun]:
        """All runs; those of one seed or split before the next."""
        repeats = dict.fromkeys(repeat for row in self.rows for repeat in row.runs)
        return [row.runs[repeat] for repeat in repeats for row in self.rows]


def make_plan(table: TableFile, setting: Setting, seeds: Sequence[int]) -> TablePlan:
    """Plans every run of a table.

    A point of a grid that is configured as a row is that row's run, and takes its place.

    Raises:
        ValueError: a row's configuration or a metric is wrong, or two rows are the same.
    """
    repeats = _repeats(table, setting, seeds)
    held_out = ("DATASETS.SPLIT", "train") if table.scored_on == HELD_OUT else ()
    setting = setting._replace(
        overlays=(*table.overlays, *setting.overlays), overrides=(*setting.overrides, *held_out)
    )
    planned = [_planned(setting, table.path, row, repeats) for row in table.rows]
    plan = TablePlan(table, _merged(planned))
    _check_tests(plan)
    _check_metrics(plan)
    return plan


def _planned(
    setting: Setting, path: Path, row: Row, repeats: Mapping[int, Mapping[str, Any]]
) -> PlannedRow:
    """Plans the runs of a row; ValueError names the row whose configuration is wrong."""
    try:
        runs = {number: _run(setting, row, about) for number, about in repeats.items()}
    except (ValueError, KeyError, OSError) as error:
        what = describe_mistake(error)
        raise ValueError(f"table {path}, row {row.label!r}: {what}") from error
    return PlannedRow(row.label, row, runs)


def _check_tests(plan: TablePlan) -> None:
    """Raises ValueError for runs that are tested differently; one table cannot compare these."""
    first, *others = plan.runs
    for run in others:
        for name in {**first.test, **run.test}:
            pair = first.test.get(name), run.test.get(name)
            if pair[0] != pair[1]:
                raise ValueError(
                    f"table {plan.table.path}: {name} of the test is {pair[0]!r} in {first.name}, "
                    f"{pair[1]!r} in {run.name}; make two tables of these rows"
                )


def _check_metrics(plan: TablePlan) -> None:
    """Raises ValueError for a metric of the table that a run does not compute."""
    for run, name in product(plan.runs, plan.table.metrics):
        computed = run.about["settings"]["TEST.METRICS"]
        if name not in computed and not is_computed_always(name):
            raise ValueError(
                f"table {plan.table.path}: metrics: {name!r} is not computed by {run.name}; "
                f"expected Rank-1 to Rank-{CMC_LENGTH}, mAP, mINP or a name in TEST.METRICS, "
                f"{list(computed)}"
            )


def runs_of(plans: Sequence[TablePlan]) -> list[ExperimentRun]:
    """Returns the runs of some tables, each once.

    Raises:
        ValueError: runs of two tables have one folder and different configurations.
    """
    run_of_folder: dict[Path, ExperimentRun] = {}
    for run in (run for plan in plans for run in plan.runs):
        if run_of_folder.setdefault(run.folder, run).config != run.config:
            raise ValueError(
                f"{run.folder} is the folder of runs with different configurations; give a row "
                "another folder, or its table another out"
            )
    return list(run_of_folder.values())


def first_cfg(table: TableFile, setting: Setting) -> CfgNode:
    """Builds the configuration of a table's first row, without what is the row's own."""
    words = (*setting.overrides, "MODEL.DEVICE", "cpu")
    return setup_cfg(table.rows[0].config, (*table.overlays, *setting.overlays), words)


def _repeats(table: TableFile, setting: Setting, seeds: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Returns what a run says of its seed or split, by its number."""
    for name, numbers in {"seeds": seeds, "splits": table.splits}.items():
        if len(set(map(str, numbers))) < len(numbers):
            raise ValueError(f"table {table.path}: {name}: {list(numbers)}, expected each once")
    if not table.splits:
        return {seed: {"seed": seed} for seed in seeds}
    dataset, where = only_dataset(first_cfg(table, setting).DATASETS.NAMES), f"table {table.path}"
    splits, known = table.splits, dataset.numbers
    if not dataset.number_key:
        raise ValueError(
            f"{where}: splits: {dataset.title} has only one split into training and test "
            "identities; remove splits and use seeds"
        )
    if splits == ("all",):
        splits = known
    if unknown := [split for split in splits if split not in known]:
        raise ValueError(
            f"{where}: splits: {dataset.title} has no split {unknown[0]!r}; give numbers from "
            f"{known[0]} to {known[-1]}, or all"
        )
    if len(seeds) > 1:
        raise ValueError(
            f"{where}: {len(seeds)} seeds {list(seeds)} with splits; every split is trained with "
            "the same seed: give one seed"
        )
    about = {"seed": seeds[0], "split_key": dataset.number_key}
    about["described_as"] = next(iter(dataset.describe_number(splits[0])))
    return {split: {**about, "split": split} for split in splits}


def _merged(planned: Sequence[PlannedRow]) -> list[PlannedRow]:
    """Lets a grid's point that is configured as another row stand for that row."""
    rows: dict[Any, PlannedRow] = {}
    for one in planned:
        config = next(iter(one.runs.values())).config, one.row.start
        same = rows.pop(config, None)
        if same and (same.row.point or not one.row.point):
            raise ValueError(
                f"rows {same.label!r} and {one.label!r} have the same configuration; leave one out"
            )
        if same:
            row = same.row._replace(point=one.row.point, base=one.row.base)
            one = PlannedRow(f"{one.label} ({same.label})", row, same.runs)
        rows[config] = one
    return list(rows.values())


def _run(setting: Setting, row: Row, about: Mapping[str, Any]) -> ExperimentRun:
    """Checks the configuration of a run and describes it."""
    from wrimnet.data.build import build_dataset_folder
    from wrimnet.data.images import SYNTHETIC_MARK

    what = "split" if "split" in about else "seed"
    name, overlays = f"{row.folder}/{what}{about[what]}", [*setting.overlays, *row.overlays]
    split = [about["split_key"], str(about["split"])] if what == "split" else []
    options = [*setting.overrides, *row.options, *split, "SEED", str(about["seed"])]
    words = [*options, "OUTPUT_DIR", str(setting.folder / name)]
    folder = setting.folder / name
    cfg = setup_cfg(row.config, overlays, words, has_device=_has_device(setting, folder))
    record = {
        "name": name,
        "dataset": setting.dataset or _dataset_name(cfg, Path(row.config)),
        "overrides": [*setting.overlays, *setting.overrides],
        "started_by": setting.command,
        **about,
        "config_file": row.config,
        "overlays": overlays,
        "options": options,
        "config": config_hash(cfg),
        "settings": {key.name: get_key(cfg, key.name) for key in all_keys(cfg)},
        "plugins": list_sources(cfg.PLUGINS),
        "start": _start_of(cfg),
        # what a generated dataset says of itself; None for a real one
        "generated_data": read_json(build_dataset_folder(cfg) / SYNTHETIC_MARK),
    }
    overlay_words = [word for overlay in overlays for word in ("--overlay", overlay)]
    arguments = ("--config-file", row.config, *overlay_words, *words)
    return ExperimentRun(name, folder, arguments, record["config"], record, _test_facts(cfg))


def _has_device(setting: Setting, folder: Path) -> bool:
    """Whether a run's device is here; one that was trained on a GPU keeps its precision."""
    if setting.has_device is not None:
        return setting.has_device
    return read_record(folder).get("settings", {}).get("MODEL.DEVICE", "cpu") == "cpu"


def _start_of(cfg: CfgNode) -> str | None:
    """What the training will start from, as results say it; None while its file is missing."""
    from wrimnet.evaluation.origin import build_start_origin

    try:
        return build_start_origin(cfg)
    except FileNotFoundError:
        return None


def _test_facts(cfg: CfgNode) -> dict[str, Any]:
    """Returns what the results of all runs of a table share, as far as their files say it."""
    from wrimnet.data.protocols import dataset_protocols
    from wrimnet.evaluation.evaluator import build_test_facts

    protocols = dataset_protocols(only_dataset(cfg.DATASETS.NAMES), tuple(cfg.TEST.PROTOCOLS))
    return {
        "dataset": cfg.DATASETS.NAMES[0],
        "protocols": sorted(protocol.name for protocol in protocols),
        **{name.lower(): cfg.TEST[name] for name in ("GALLERY_DRAW", "NUM_TRIALS", "UNIQUE_IDS")},
        **build_test_facts(cfg),
        "metrics": list(cfg.TEST.METRICS),
    }


def _dataset_name(cfg: CfgNode, config_file: Path) -> str:
    """What the report calls the dataset: the folder of configs/, if the configuration is in one."""
    folder = config_file.parent
    named = folder.name if folder.parent.name == "configs" else ""
    return named or only_dataset(cfg.DATASETS.NAMES).name


def setup_planned_cfg(about: Mapping[str, Any], *words: str) -> CfgNode:
    """Builds the configuration of a run from its record, ``KEY VALUE`` words laid over it."""
    return setup_cfg(about["config_file"], about["overlays"], (*about["options"], *words))
