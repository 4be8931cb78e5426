"""A run's report as one HTML file that needs no network, no server and no JavaScript."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from wrimnet.analysis.curves import draw_curve
from wrimnet.analysis.report_style import STYLE


class Curve(NamedTuple):
    """Values of one logged quantity at ascending iterations."""

    iterations: Sequence[int]
    values: Sequence[float]


class ResultTable(NamedTuple):
    """A table of results with the lines that say how each row was measured."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    protocol_lines: Sequence[str]


class Figure(NamedTuple):
    """A figure as PNG bytes, its name and the sentence under it."""

    name: str
    caption: str
    png: bytes


class ReportContent(NamedTuple):
    """Everything that a report shows; a note says what is missing and why."""

    title: str
    summary: str
    notes: Sequence[str]
    results: Sequence[ResultTable]
    curves: Mapping[str, Mapping[str, Curve]]
    figures: Sequence[Figure]
    changed_keys: Sequence[tuple[str, str, str]]
    all_keys: Sequence[tuple[str, str]]
    environment: Sequence[tuple[str, str]]


def render_report(content: ReportContent) -> str:
    """Returns the page."""
    sections = [
        _section("Results", *map(_results, content.results)),
        *(_section(name, _curves(group)) for name, group in content.curves.items()),
        _section("Figures", *map(_figure, content.figures)),
        _section(
            "Configuration",
            "<p>Keys that differ from the project's defaults (<code>Base-WRIM.yml</code>).</p>",
            _table(("key", "value", "default"), content.changed_keys),
            "<details><summary>All keys</summary>"
            + _table(("key", "value"), content.all_keys)
            + "</details>",
        ),
        _section("Environment", _table(("what", "value"), content.environment)),
    ]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in content.notes)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(content.title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(content.title)}</h1><p>{escape(content.summary)}</p></header>"
        f"<main>{notes}{''.join(sections)}</main></body></html>\n"
    )


def _section(heading: str, *blocks: str) -> str:
    body = "".join(blocks)
    return f"<section><h2>{escape(heading)}</h2>{body}</section>\n" if body else ""


def _results(table: ResultTable) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in table.protocol_lines)
    heading = f"<h3>{escape(table.heading)}</h3>" if table.heading else ""
    return f'{heading}{_table(table.header, table.rows)}<ul class="lines">{lines}</ul>'


def _curves(curves: Mapping[str, Curve]) -> str:
    drawn = "".join(draw_curve(name, *curve) for name, curve in curves.items())
    return f'<div class="curves">{drawn}</div>'


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.png).decode()
    caption = escape(figure.caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(figure.name)}: {caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>" for row in rows)
    return (
        '<div class="scroll" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
