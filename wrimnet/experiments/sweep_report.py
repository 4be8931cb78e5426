"""A key's values beside each other, from run folders."""

from collections.abc import Iterable, Sequence
from typing import Any

from wrimnet.experiments.records import Record
from wrimnet.experiments.row_report import Report, RowRuns, by_seed, gather, result_table
from wrimnet.experiments.rows import FULL
from wrimnet.experiments.tables import Table


def swept_keys(records: Iterable[Record]) -> list[str]:
    """Names the keys that some run was made for."""
    return list(dict.fromkeys(r.about["key"] for r in records if r.about["kind"] == "sweep"))


def make_sweep(key: str, records: Sequence[Record]) -> Report:
    """Gathers the runs of a key's values; WRIM-Net's own runs are the paper's setting.

    Of WRIM-Net's runs only those with a seed of the other values' count: a mean over three seeds
    would not compare with single runs.

    Args:
        key: a swept key.
        records: of any runs.

    Raises:
        KeyError: no run was made for this key.
        ValueError: runs that must not share a table.
    """
    own = [record for record in records if record.about.get("key") == key]
    if not own:
        raise KeyError(f"no run of a sweep over {key}; there are sweeps over {swept_keys(records)}")
    seeds = {record.about["seed"] for record in own}
    full = [r for r in records if r.about.get("row") == FULL and r.about["seed"] in seeds]
    points: dict[str, list[Record]] = {}
    for record in sorted((*own, *full), key=lambda record: _order(value_of(record, key))):
        points.setdefault(str(value_of(record, key)), []).append(record)
    rows = [RowRuns(_label(text, runs), by_seed(runs), {}) for text, runs in points.items()]
    return gather(f"Sweep over {key}", rows, [*own, *full])


def sweep_table(report: Report) -> Table:
    """The sweep as a table; the figure of the paper has no legible values to put beside it."""
    table = result_table(report)
    kept = [index for index, name in enumerate(table.header) if not name.startswith("paper ")]
    return Table(
        table.title,
        ("value", *(table.header[index] for index in kept[1:])),
        tuple(tuple(row[index] for index in kept) for row in table.rows),
        table.notes,
    )


def value_of(record: Record, key: str) -> Any:
    """Returns the value that a key has in a run."""
    return record.about["settings"][key]


def is_paper_setting(row: RowRuns) -> bool:
    """Whether the point is WRIM-Net as configured for the dataset."""
    return any(record.about.get("row") == FULL for record in row.records)


def _label(text: str, records: Sequence[Record]) -> str:
    is_full = any(record.about.get("row") == FULL for record in records)
    return f"{text} (WRIM-Net)" if is_full else text


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str | list), str(value) if isinstance(value, str | list) else value
