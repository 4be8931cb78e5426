"""A table and the three forms in which it is written."""

import csv
import io
from typing import NamedTuple

MISSING = "—"
_LATEX = {
    "±": r"$\pm$",
    "—": "---",
    "→": r"$\rightarrow$",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}


class Table(NamedTuple):
    """Text cells under a header.

    Args:
        title: what it shows.
        header: one word per column.
        rows: as long as the header each.
        notes: sentences below it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def markdown(table: Table) -> str:
    """Writes a table as Markdown; the first column is text, the others are numbers."""
    rule = ("---", *("---:" for _ in table.header[1:]))
    lines = [f"| {' | '.join(cells)} |" for cells in (table.header, rule, *table.rows)]
    notes = [line for note in table.notes for line in ("", note)]
    return "\n".join([f"### {table.title}", "", *lines, *notes, ""])


def latex(table: Table) -> str:
    """Writes a table for LaTeX with the package booktabs."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"\toprule",
        _latex_row(table.header),
        r"\midrule",
        *(_latex_row(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {_escaped(note)}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def comma_separated(table: Table) -> str:
    """Writes a table as CSV."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([table.header, *table.rows])
    return file.getvalue()


def _latex_row(cells: tuple[str, ...]) -> str:
    return " & ".join(_escaped(cell) for cell in cells) + r" \\"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
