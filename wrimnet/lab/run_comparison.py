"""Several runs side by side: short names, groups, paired differences, common charts."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config import get_key, setup_cfg
from wrimnet.config.setup import hashed_values
from wrimnet.config.tree import leaf_names
from wrimnet.evaluation.plugin_sources import OF_PLUGINS, plugin_hashes
from wrimnet.evaluation.results import mean_metrics
from wrimnet.lab.experiments.table_report import paired_difference
from wrimnet.metrics.names import is_compared
from wrimnet.registries import only_dataset
from wrimnet.run_folder import CONFIG, compared_facts, find_results, read_metrics
from wrimnet.tables import MISSING, Table
from wrimnet.visualization.charts import Chart, Series

OF_RESULTS, UNFINISHED = "results: ", "(not finished)"  # facts that a run without results lacks


class ComparedRun(NamedTuple):
    """A run as it is compared."""

    name: str  # the parts of its path in which the runs differ
    settings: Mapping[str, Any]  # keys as they are hashed, plug-ins, facts of the results
    values: Mapping[str, Any]  # of all keys, as they are shown
    lines: Sequence[Mapping[str, Any]]  # of its log
    metrics: Mapping[str, Mapping[str, float]]  # by protocol, as fractions; {} without results
    repeat: tuple[int, int]  # SEED and number of the trial: what paired runs share
    of_repeat: frozenset[str]  # the settings that seeds and trials have of their own

    @property
    def group(self) -> str:
        """The same for runs that differ in nothing but SEED and trial."""
        kept = self.settings.keys() - self.of_repeat
        return str(sorted((name, str(self.settings[name])) for name in kept))


class Comparison(NamedTuple):
    """Tables and charts of several runs."""

    tables: Sequence[Table]
    charts: Sequence[Chart]
    results: Table  # one of the tables


def compare(folders: Sequence[Path]) -> Comparison:
    """Compares runs by their files."""
    runs = read_compared(folders)
    results, tables = results_of(runs), []
    if len(runs) > 1:
        tables.append(keys_that_differ(runs))
    tables.append(results)
    if len({run.group for run in runs}) > 1:
        tables.append(differences_of(runs))
    return Comparison(tables, compared_charts(runs), results)


def read_compared(folders: Sequence[Path]) -> list[ComparedRun]:
    """Reads runs from their folders; weights of a hook, such as an EMA, follow as another run."""
    runs = []
    for name, folder in zip(short_names(folders), folders, strict=True):
        cfg = setup_cfg(str(folder / CONFIG), has_device=False)  # its GPU need not be here
        content = find_results(folder)
        metrics = mean_metrics(content) if content else {}
        facts = compared_facts(content["description"]) if content else {}
        named = {f"{OF_RESULTS}{name}": fact for name, fact in facts.items()}
        settings = {**hashed_values(cfg), **plugin_hashes(content), **named}
        values = {name: get_key(cfg, name) for name in leaf_names(cfg)}
        lines, repeat = read_metrics(folder), _repeat_of(cfg)
        compared = ComparedRun(name, settings, values, lines, metrics, *repeat)
        runs += [compared, *_of_hooks(compared, content or {})]
    return runs


def _repeat_of(cfg: CfgNode) -> tuple[tuple[int, int], frozenset[str]]:
    """SEED and trial, and the settings that say these or the images of the trial."""
    dataset = only_dataset(cfg.DATASETS.NAMES)
    if not dataset.number_key:
        return (cfg.SEED, 1), frozenset({"SEED"})
    number = get_key(cfg, dataset.number_key)
    facts = (*dataset.describe_number(number), "images", "train_images")
    named = {f"{OF_RESULTS}{name}" for name in facts}
    return (cfg.SEED, number), frozenset({"SEED", dataset.number_key, *named})


def _of_hooks(run: ComparedRun, content: Mapping[str, Any]) -> list[ComparedRun]:
    """The other weights that the run has evaluated; the curves of its log are not theirs."""
    return [
        run._replace(
            name=f"{run.name} {label}",
            settings={**run.settings, f"{OF_RESULTS}weights": label},
            lines=(),
            metrics=mean_metrics(content, label),
        )
        for label in content.get("hooks", {})
    ]


def short_names(folders: Sequence[Path]) -> list[str]:
    """Returns what is left of each path without the parts that all begin and all end with."""
    parts = [folder.resolve().parts for folder in folders]
    shortest = min(len(words) for words in parts)
    first = min(_num_common(parts), shortest - 1)
    last = min(_num_common([words[::-1] for words in parts]), shortest - first - 1)
    return ["/".join(words[first : len(words) - last]) for words in parts]


def _num_common(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all paths begin with."""
    return sum(1 for _ in takewhile(lambda words: len(set(words)) == 1, zip(*parts, strict=False)))


def keys_that_differ(runs: Sequence[ComparedRun]) -> Table:
    """One row per key, one column per run."""
    names = sorted({name for run in runs for name in run.settings})
    settings = {name: {_setting(run, name) for run in runs} for name in names}
    names = [name for name in names if len(settings[name] - {UNFINISHED}) > 1]
    differing = tuple((name, *(_shown(run, name) for run in runs)) for name in names)
    notes = () if differing else ("None: the runs have one configuration, start and images.",)
    header = ("key", *(run.name for run in runs))
    return Table("Keys in which the runs differ", header, differing, notes)


def _setting(run: ComparedRun, name: str) -> str:
    of_results = name.startswith((OF_RESULTS, OF_PLUGINS))
    return str(run.settings.get(name, UNFINISHED if of_results and not run.metrics else MISSING))


def _shown(run: ComparedRun, name: str) -> str:
    return str(run.values.get(name, _setting(run, name)))


def results_of(runs: Sequence[ComparedRun]) -> Table:
    """One row per run: iterations, last loss, metrics of every protocol, in percent."""
    columns = compared_columns(runs)
    rows = []
    for run in runs:
        values = [run.metrics.get(protocol, {}).get(metric) for protocol, metric in columns]
        cells = [MISSING if value is None else f"{100 * value:.2f}" for value in values]
        rows.append((run.name, *_progress(run.lines), *cells))
    header = ("run", "iterations", "loss", *(" ".join(column) for column in columns))
    return Table("Results, percent", header, tuple(rows))


def compared_columns(runs: Sequence[ComparedRun]) -> list[tuple[str, str]]:
    """Protocol and metric of every column: Rank-1, mAP, mINP and registered metrics."""
    columns = [(name, m) for run in runs for name, values in run.metrics.items() for m in values]
    return [(name, m) for name, m in dict.fromkeys(columns) if is_compared(m) or m == "mINP"]


def _progress(lines: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Iterations that are logged, and the last line's loss."""
    trained = [line for line in lines if "total_loss" in line]  # a hook may log lines of its own
    if not trained:
        return MISSING, MISSING
    return str(trained[-1]["iteration"]), f"{trained[-1]['total_loss']:.3f}"


def differences_of(runs: Sequence[ComparedRun]) -> Table:
    """Each configuration minus the first run's, paired by seed and trial, with 95 % intervals.

    Runs that differ in nothing but SEED and trial are one configuration.
    """
    groups: dict[str, list[ComparedRun]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run)
    for group in groups.values():
        if len({run.repeat for run in group}) < len(group):
            note = f"None: of {_group_name(group)}, two have one configuration and one seed."
            return Table("Differences", ("configuration",), (), (note,))
    first, *others = groups.values()
    columns = compared_columns(runs)
    rows = [
        (_group_name(group), *(_difference(group, first, column) for column in columns))
        for group in others
    ]
    header = ("configuration", *(" ".join(column) for column in columns))
    notes = (
        "Percentage points, mean over the seeds and trials that both have ± half of the 95 % "
        "confidence interval (Student's t). A single pair has no interval.",
        *["No difference (—): tested on other images."]
        * any(_on_other_images(group, first) for group in others),
    )
    return Table(f"Differences from {_group_name(first)}", header, tuple(rows), notes)


def _group_name(group: Sequence[ComparedRun]) -> str:
    return ", ".join(run.name for run in group)


def _on_other_images(group: Sequence[ComparedRun], first: Sequence[ComparedRun]) -> bool:
    """Whether two runs that would be paired have results of other test images."""
    names = [f"{OF_RESULTS}{name}" for name in ("dataset", "images")]
    tested, others = (
        {run.repeat: [run.settings.get(name) for name in names] for run in of if run.metrics}
        for of in (group, first)
    )
    return any(tested[repeat] != others[repeat] for repeat in tested.keys() & others.keys())


def _difference(
    group: Sequence[ComparedRun], first: Sequence[ComparedRun], column: tuple[str, str]
) -> str:
    if _on_other_images(group, first):
        return MISSING
    gap = paired_difference(_by_repeat(group, column), _by_repeat(first, column))
    if gap is None:
        return MISSING
    return f"{gap.value:+.2f}" + ("" if gap.margin is None else f" ± {gap.margin:.2f}")


def _by_repeat(group: Sequence[ComparedRun], column: tuple[str, str]) -> dict[Any, float]:
    """A metric in percent of the runs that have it."""
    protocol, metric = column
    return {
        run.repeat: 100 * run.metrics[protocol][metric]
        for run in group
        if metric in run.metrics.get(protocol, {})
    }


def compared_charts(runs: Sequence[ComparedRun]) -> list[Chart]:
    """Returns the loss and each protocol's compared metrics over the iterations, a line per run."""
    logged = dict.fromkeys(name for run in runs for line in run.lines for name in line)
    tested = [name for name in logged if "/" in name and is_compared(name.rpartition("/")[2])]
    tested = [name for name in tested if not name.startswith("raw/")]
    charts = [_chart("Total loss", "loss", "total_loss", 1, runs)]
    charts += [_chart(name.replace("/", ", "), "percent", name, 100, runs) for name in tested]
    return [chart for chart in charts if chart.series]


def _chart(title: str, unit: str, name: str, factor: float, runs: Sequence[ComparedRun]) -> Chart:
    series = []
    for run in runs:
        lines = [line for line in run.lines if name in line]
        places = [line["iteration"] for line in lines]
        series.append(Series(run.name, places, [factor * line[name] for line in lines]))
    return Chart(title, "iteration", unit, [s for s in series if s.x], start=0)
