"""Mean and deviation over the divisions of a dataset, one model each."""

from collections.abc import Sequence

from wrimnet.lab.experiments.records import Record, check_comparable
from wrimnet.lab.experiments.row_report import Summary, columns_of
from wrimnet.tables import MISSING, Table

_MAY_DIFFER = ("queries", "generated_data")
_REGDB = {"described_as": "regdb_trial", "split_key": "DATASETS.REGDB_TRIAL"}


def split_table(records: Sequence[Record], splits: Sequence[int]) -> Table:
    """Lists the splits of ``run_splits.py`` and, if all are there, their mean and deviation.

    Raises:
        ValueError: runs that must not be averaged: of other settings, two of one split, or a
            model that was tested on another split than its own.
    """
    found = _by_split(records)
    described = {_named(record, "described_as") for record in found.values()}
    check_comparable(found.values(), but=(*_MAY_DIFFER, *described))
    _check_settings(list(found.values()))
    columns = columns_of(found.values())
    done = {split: record for split, record in found.items() if record.results is not None}
    lacking = [str(split) for split in splits if split not in done]

    def cells(splits: Sequence[int]) -> list[str]:
        there = [done[split] for split in splits if split in done]
        values = [tuple(record.value(*column) for record in there) for column in columns]
        return [str(Summary(v)) if len(v) == len(splits) else MISSING for v in values]

    rows = [(str(split), *cells([split])) for split in splits]
    return Table(
        f"{records[0].about['dataset']}, one model per split, {len(splits)} splits",
        ("split", *map(" ".join, columns)),
        (*rows, ("mean ± standard deviation (n - 1)", *cells(splits))),
        (f"No mean: split {', '.join(lacking)} missing.",) if lacking else (),
    )


def _by_split(records: Sequence[Record]) -> dict[int, Record]:
    found: dict[int, Record] = {}
    for record in records:
        if record.about["kind"] != "split":
            raise ValueError(f"{record.folder} is no run of run_splits.py; give its folder alone")
        split = record.about["split"]
        if split in found:
            raise ValueError(f"{found[split].folder} and {record.folder} are both split {split}")
        named = _named(record, "described_as")
        if record.results and (tested := record.results["description"].get(named)) != split:
            raise ValueError(f"{record.folder} was trained on split {split}, tested on {tested}")
        found[split] = record
    return found


def _named(record: Record, name: str) -> str:
    """What the run calls its division; older runs are RegDB's and do not say."""
    return str(record.about.get(name, _REGDB[name]))


def _check_settings(records: Sequence[Record]) -> None:
    """Raises ValueError if two splits were run with other settings than the split itself."""
    for record in records[1:]:
        ours, theirs = records[0].about["settings"], record.about["settings"]
        for name in ours.keys() - {_named(record, "split_key"), "OUTPUT_DIR"}:
            if ours[name] != theirs.get(name):
                raise ValueError(
                    f"{records[0].folder} and {record.folder} cannot be averaged: {name} is "
                    f"{ours[name]!r} in one, {theirs.get(name)!r} in the other"
                )
