"""A table and the forms in which it is written."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tabulate import LATEX_ESCAPE_RULES, tabulate

from wrimnet.metrics.names import is_compared

MISSING = "—"
_LATEX_SIGNS = str.maketrans({"±": r"$\pm$", "—": "---"})


class Table(NamedTuple):
    """Text cells under a header."""

    title: str  # what it shows
    header: tuple[str, ...]  # one word per column
    rows: tuple[tuple[str, ...], ...]  # as long as the header each
    notes: tuple[str, ...] = ()  # sentences below it


def counted(number: int, noun: str, several: str = "") -> str:
    """Writes "1 run" and "2 runs"."""
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"


def markdown(table: Table) -> str:
    """Writes a table as Markdown, its title a heading; the first column is text."""
    notes = [line for note in table.notes for line in ("", note)]
    body = markdown_rows(table.header, table.rows)
    return "\n".join([f"### {table.title}", "", body, *notes, ""])


def markdown_rows(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, num_words: int = 1
) -> str:
    """Writes rows as Markdown; the first ``num_words`` columns are text, the others numbers."""
    alignment = ("left",) * num_words + ("right",) * (len(header) - num_words)
    return tabulate(rows, header, "pipe", disable_numparse=True, colalign=alignment)


def for_console(table: Table, width: int = 160) -> str:
    """Writes a table in blocks of columns that fit, the first column in each."""
    columns = list(zip(table.header, *table.rows, strict=True))
    # with "| " and a space; tabulate pads a header by two
    sizes = [max([len(header) + 2, *map(len, cells)]) + 3 for header, *cells in columns]
    blocks: list[list[int]] = [[0]]
    for index in range(1, len(columns)):
        if sum(sizes[i] for i in blocks[-1]) + sizes[index] >= width and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(index)
    texts = []
    for block in blocks:
        header, *rows = zip(*(columns[index] for index in block), strict=True)
        texts += [markdown_rows(header, rows)] if rows else []
    return "\n\n".join([table.title, *texts, *table.notes])


def latex(table: Table) -> str:
    """Writes a table for LaTeX with the package booktabs."""
    alignment = ("left", *("right" for _ in table.header[1:]))
    body = tabulate(
        table.rows, table.header, "latex_booktabs", disable_numparse=True, colalign=alignment
    )
    notes = [rf"\par\footnotesize {_escaped(note)}" for note in table.notes]
    head = [r"\begin{table}", r"\centering", rf"\caption{{{_escaped(table.title)}}}"]
    text = "\n".join([*head, body, *notes, r"\end{table}", ""])
    return text.translate(_LATEX_SIGNS)


def _escaped(text: str) -> str:
    return "".join(LATEX_ESCAPE_RULES.get(character, character) for character in text)


def metric_table(
    title: str, corner: str, rows: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> Table:
    """Writes one row per evaluation, one column per protocol and metric, in percent.

    ``rows`` are, by name, the metrics of each protocol in [0, 1]; the same protocols in each.
    """
    first = next(iter(rows.values()))
    columns = [(name, metric) for name, values in first.items() for metric in values]
    columns = [(name, metric) for name, metric in columns if is_compared(metric)]
    header = (corner, *(f"{protocol} {metric}" for protocol, metric in columns))
    cells = tuple(
        (name, *(f"{100 * metrics[protocol][metric]:.2f}" for protocol, metric in columns))
        for name, metrics in rows.items()
    )
    return Table(title, header, cells)
