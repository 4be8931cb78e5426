"""The rows of the paper's tables and of ours, with the numbers the paper prints for LLCM."""

from typing import NamedTuple

FULL = "s1_blocks1234"  # WRIM-Net itself, in every table
TABLES = {
    "S1": "MIIM after which Blocks",
    "S2": "separate or shared MIIMs",
    "S3": "fusion of MIIM",
    "S4": "auxiliary information",
    "losses": "loss terms",
}


class Row(NamedTuple):
    """One row of a table.

    Args:
        name: folder of its runs; stem of its overlay in ``configs/ablation``.
        tables: where it stands.
        label: as printed.
        rank1: the paper's Rank-1 on LLCM in percent, direction as printed; None for no number.
        mean_average_precision: the paper's mAP, likewise.
        config: file in the dataset's folder of ``configs``.
        has_overlay: whether the row is an overlay; the baseline is a configuration of its own.
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
    Row(FULL, tuple(TABLES), "WRIM-Net", 58.38, 64.75),
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
