"""Mean and deviation over the divisions of a dataset, one model each."""

from collections.abc import Sequence

from wrimnet.experiments.records import Record, check_comparable
from wrimnet.experiments.row_report import Summary, summary_text
from wrimnet.tables import METRICS, MISSING, Table

_MAY_DIFFER = ("queries", "generated_data")
_REGDB = {"described_as": "regdb_trial", "split_key": "DATASETS.REGDB_TRIAL"}


def split_table(records: Sequence[Record], splits: Sequence[int]) -> Table:
    """Lists the splits and, if all are there, their mean and deviation.

    Args:
        records: of runs of ``run_splits.py``.
        splits: which make up the mean; all of them in a published protocol.

    Raises:
        ValueError: runs that must not be averaged: of other settings, two of one split, or a
            model that was tested on another split than its own.
    """
    found = _by_split(records)
    described = {_named(record, "described_as") for record in found.values()}
    check_comparable(found.values(), but=(*_MAY_DIFFER, *described))
    check_settings(list(found.values()))
    protocols = dict.fromkeys(name for record in found.values() for name in record.whole)
    columns = [(protocol, metric) for protocol in protocols for metric in METRICS]
    done = {split: record for split, record in found.items() if record.results is not None}
    rows = [_split_cells(split, done.get(split), columns) for split in splits]
    lacking = [split for split in splits if split not in done]
    mean = (
        (MISSING,) * len(columns)
        if lacking
        else tuple(
            summary_text(Summary(tuple(done[split].value(*column) for split in splits)))
            for column in columns
        )
    )
    header = ("split", *(f"{protocol} {metric}" for protocol, metric in columns))
    return Table(
        f"{records[0].about['dataset']}, one model per split, {len(splits)} splits",
        header,
        (*rows, ("mean ± standard deviation (n - 1)", *mean)),
        (f"No mean: split {', '.join(map(str, lacking))} missing.",) if lacking else (),
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


def check_settings(records: Sequence[Record]) -> None:
    """Raises ValueError if two splits were run with other settings than the split itself."""
    for record in records[1:]:
        ours, theirs = records[0].about["settings"], record.about["settings"]
        for name in ours.keys() - {_named(record, "split_key"), "OUTPUT_DIR"}:
            if ours[name] != theirs.get(name):
                raise ValueError(
                    f"{records[0].folder} and {record.folder} cannot be averaged: {name} is "
                    f"{ours[name]!r} in one, {theirs.get(name)!r} in the other"
                )


def _split_cells(
    split: int, record: Record | None, columns: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    if record is None:
        return (str(split), *(MISSING for _ in columns))
    return (str(split), *(f"{record.value(*column):.2f}" for column in columns))
