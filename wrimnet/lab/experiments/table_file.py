"""A table as a YAML file: its rows, what they repeat over, and what its report shows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from wrimnet.config.keys import TESTED_ON
from wrimnet.config.yaml_file import load_yaml
from wrimnet.metrics.names import COMPARED
from wrimnet.published import PAPER, Published
from wrimnet.tables import MISSING

TEST, HELD_OUT = TESTED_ON.values()
COSTS = {  # name: label, format, scale
    "parameters": ("M parameters", "{:.2f}", 1e-6),
    "gflop": ("GFLOP/image", "{:.3g}", 1),
    "latency_ms": ("ms/image", "{:.1f}", 1),
    "activation_mb": ("activation MB", "{:.0f}", 1),
    "images_per_second": ("images/s", "{:.0f}", 1),
}
STARTS = ("MODEL.WEIGHTS", "MODEL.BACKBONE.PRETRAIN", "MODEL.BACKBONE.PRETRAIN_PATH")
_TABLE = {  # a table's keys with their defaults, whose types their values have
    "title": "",
    "config": "",
    "overlay": [],
    "out": "",
    "rows": {},
    "grid": {},
    "against": "",
    "seeds": [0],
    "splits": [],
    "scored_on": TEST,
    "metrics": [],
    "costs": ["parameters", "gflop", "latency_ms"],
    "published": [],
    "chance": False,
}
_ROW = {"config": "", "overlay": [], "folder": "", "grid": {}}
_PUBLISHED = {"source": "", "dataset": "", "numbers": {}}
_PUBLISHED_NUMBER = rf"(\s*\d+(\.\d+)?\s*|{MISSING})?"


class Row(NamedTuple):
    """One row of a table."""

    label: str  # as printed
    folder: str  # of its runs
    config: str  # configuration file
    overlays: tuple[str, ...]  # laid over the configuration
    options: tuple[str, ...]  # KEY VALUE words laid over both
    point: Mapping[str, Any]  # its values of a grid's keys; {} for a row that is not of a grid
    base: str  # label that the points of its grid share; "" for the table's own grid

    @property
    def start(self) -> tuple[tuple[str, str], ...]:
        """The keys by which the row itself says what its trainings start from."""
        pairs = zip(self.options[::2], self.options[1::2], strict=True)
        return tuple(pair for pair in pairs if pair[0] in STARTS)


class TableFile(NamedTuple):
    """What a table's YAML file says."""

    path: Path
    title: str
    overlays: tuple[str, ...]  # laid over every row's configuration
    out: str  # folder of the runs
    rows: tuple[Row, ...]
    grid: tuple[str, ...]  # keys that vary
    against: str  # label of the row that the others are compared with; "" for none
    seeds: tuple[int, ...]
    splits: tuple[Any, ...]  # numbers, "all", or () to repeat over seeds
    scored_on: str  # TEST or HELD_OUT
    metrics: tuple[str, ...]  # (): those that every table compares
    costs: tuple[str, ...]
    published: tuple[Published, ...]
    chance: bool  # whether the report says what embeddings without information score

    @property
    def compares_starts(self) -> bool:
        """Whether rows say by keys of their own what they start from."""
        return any(row.start for row in self.rows)


def read_table(
    path: str | Path, *, dataset: str = "", config: str = "", project: Path = Path()
) -> TableFile:
    """Reads a table; ``{dataset}`` in it is replaced by ``dataset``.

    ``config`` takes the place of the table's own configuration. Files that the working folder lacks
    are those of ``project``.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is not a table.
    """
    where = f"table {path}"
    content = _known(load_yaml(path), _TABLE, where)
    content = _filled_in({**content, "config": config or content["config"]}, dataset, project)
    rows = tuple(_rows(content, where))
    table = TableFile(
        path=Path(path),
        title=content["title"] or Path(path).stem,
        overlays=tuple(content["overlay"]),
        out=content["out"] or f"logs/tables/{Path(path).stem}",
        rows=rows,
        grid=tuple(dict.fromkeys(key for row in rows for key in row.point)),
        published=tuple(_published(one, rows, where) for one in content["published"]),
        against=content["against"],
        scored_on=content["scored_on"],
        chance=content["chance"],
        seeds=tuple(content["seeds"]),
        splits=tuple(content["splits"]),
        metrics=tuple(map(str, content["metrics"])),
        costs=tuple(content["costs"]),
    )
    _check_table(table, where)
    return table


def _published(content: Any, rows: Sequence[Row], where: str) -> Published:
    """Returns published numbers; ``source: paper`` alone means the paper's of these rows."""
    given = Published(**_known(content, _PUBLISHED, where))
    if given.source != "paper" or given.numbers:
        return given
    numbers = {row.label: PAPER.numbers[row.label] for row in rows if row.label in PAPER.numbers}
    return PAPER._replace(dataset=given.dataset, numbers=numbers)


def _known(content: Any, keys: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Returns the content with its defaults; ValueError for an unknown key or another type."""
    if not isinstance(content, dict):
        raise ValueError(f"{where}: {content!r}, expected {', '.join(keys)}")
    for name, value in content.items():
        if name not in keys:
            raise ValueError(f"{where}: unknown key {name!r}; expected {', '.join(keys)}")
        kind = type(keys[name])
        if kind is list and not isinstance(value, list | dict):
            content = {**content, name: [value]}
        elif not isinstance(value, kind):
            raise ValueError(f"{where}: {name} is {value!r}, expected a {kind.__name__}")
    return {**keys, **content}


def _filled_in(value: Any, dataset: str, project: Path) -> Any:
    if isinstance(value, dict):
        return {name: _filled_in(inner, dataset, project) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled_in(inner, dataset, project) for inner in value]
    if not isinstance(value, str):
        return value
    if "{dataset}" in value and not dataset:
        raise ValueError(f"{value}: add --dataset, a folder of configs/ such as LLCM")
    value = value.replace("{dataset}", dataset)
    elsewhere = value and not Path(value).exists() and (project / value).is_file()
    return str(project / value) if elsewhere else value


def _rows(content: Mapping[str, Any], where: str) -> Iterator[Row]:
    """Yields the rows in their order, then those of the table's grid."""
    specs = dict(content["rows"])
    if content["grid"]:
        specs[""] = {"grid": content["grid"]}
    for label, spec in specs.items():
        yield from _rows_of(str(label), spec or {}, content["config"], f"{where}, row {label!r}")


def _rows_of(label: str, spec: Any, config: str, where: str) -> Iterator[Row]:
    """Yields the row, or one for each point of its grid."""
    if not isinstance(spec, dict):
        raise ValueError(
            f"{where} is {spec!r}, expected keys, such as {{overlay: FILE}} or "
            "{SOLVER.MAX_EPOCH: 20}"
        )
    given = _known({k: v for k, v in spec.items() if not _is_key(k)}, _ROW, where)
    fixed = {key: value for key, value in spec.items() if _is_key(key)}
    if not (given["config"] or config):
        raise ValueError(f"{where}: no config; give one in the row or in the table")
    if own_of_runs := {"SEED", "OUTPUT_DIR"} & {*fixed, *given["grid"]}:
        raise ValueError(f"{where} sets {own_of_runs.pop()}; use the table's seeds and out")
    file = "" if fixed else [*given["overlay"], given["config"]][max(0, len(given["overlay"]) - 1)]
    folder = given["folder"] or path_word(Path(file).stem or label)
    for point in _points(given["grid"], where):
        named = ",".join(f"{key}={path_word(str(value))}" for key, value in point.items())
        yield Row(
            label=", ".join(text for text in (label, *map(str, point.values())) if text),
            folder="-".join(word for word in (folder, named) if word),
            config=given["config"] or config,
            overlays=tuple(given["overlay"]),
            options=tuple(str(word) for pair in {**fixed, **point}.items() for word in pair),
            point=point,
            base=label,
        )


def _is_key(name: Any) -> bool:
    """Whether a name in a row is that of a configuration key, such as SOLVER.MAX_EPOCH."""
    return str(name)[:1].isupper()


def _points(grid: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Returns every combination of a grid's values; one without any key for no grid."""
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{where}: grid has {key}: {values!r}, expected a list of values")
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _check_table(table: TableFile, where: str) -> None:
    labels = [row.label for row in table.rows]
    if not labels or not table.seeds:
        raise ValueError(f"{where} has no {'seeds' if labels else 'rows and no grid'}")
    if any(row.point and {*row.point} != {*table.grid} for row in table.rows):
        raise ValueError(
            f"{where}: its grids have different keys, {', '.join(table.grid)} in all, and one "
            "figure cannot show them; make a table of each grid"
        )
    choices = [
        ("against", [table.against] * bool(table.against), labels),
        ("scored_on", [table.scored_on], (TEST, HELD_OUT)),
        ("costs", table.costs, COSTS),
        *((f"published, {one.source!r}", one.numbers, labels) for one in table.published),
    ]
    for name, given, known in choices:
        for word in given:
            if word not in known:
                raise ValueError(f"{where}: {name}: {word!r} is not one of {', '.join(known)}")
    for text in (text for one in table.published for text in one.numbers.values()):
        if not re.fullmatch("/".join([_PUBLISHED_NUMBER] * len(COMPARED)), str(text)):
            raise ValueError(
                f"{where}: published {text!r}, expected {'/'.join(COMPARED)}, {MISSING} for "
                "what was not published"
            )


def path_word(value: str) -> str:
    """Writes a text so that it can name a folder: "(2, 2, 4, 4)" becomes "2_2_4_4"."""
    return re.sub(r"[^\w.+-]+", "_", value).strip("_")
