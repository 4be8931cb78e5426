"""Mean and deviation over RegDB's splits, one model each."""

from collections.abc import Sequence

from wrimnet.experiments.records import METRICS, Record, check_comparable
from wrimnet.experiments.row_report import summary_text
from wrimnet.experiments.spread import Summary
from wrimnet.experiments.tables import MISSING, Table

_MAY_DIFFER = ("regdb_trial", "queries", "generated_data")


def split_table(records: Sequence[Record], splits: Sequence[int]) -> Table:
    """Lists the splits and, if all are there, their mean and deviation.

    Args:
        records: of runs of ``run_splits.py``.
        splits: which make up the mean; 1 to 10 in the published protocol.

    Raises:
        ValueError: runs that must not be averaged: of other settings, two of one split, or a
            model that was tested on another split than its own.
    """
    found = _by_split(records)
    check_comparable(found.values(), but=_MAY_DIFFER)
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
        f"RegDB, one model per split, {len(splits)} splits",
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
        if record.results and record.results["description"].get("regdb_trial") != split:
            tested = record.results["description"].get("regdb_trial")
            raise ValueError(f"{record.folder} was trained on split {split}, tested on {tested}")
        found[split] = record
    return found


def check_settings(records: Sequence[Record]) -> None:
    """Raises ValueError if two splits were run with other settings than the split itself."""
    for record in records[1:]:
        ours, theirs = records[0].about["settings"], record.about["settings"]
        for name in ours.keys() - {"DATASETS.REGDB_TRIAL", "OUTPUT_DIR"}:
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
