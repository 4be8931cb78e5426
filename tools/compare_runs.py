"""Puts runs side by side: the keys in which they differ, their results, their curves.

    python tools/compare_runs.py logs/LLCM/wrim logs/LLCM/other
    python tools/compare_runs.py logs/LLCM/* --page comparison.html --csv comparison.csv
    python tools/compare_runs.py logs/LLCM/* --figure curves.png

Runs that differ in nothing but SEED and, for RegDB, the trial are one configuration; each is
compared with that of the first run, paired by seed and trial. Reads files only. A run that is not
finished has dashes for results.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wrimnet.atomic_files import write_text
from wrimnet.command_line import make_parser, output_file, parse, picture_file, run_tool
from wrimnet.run_folder import FINAL, check_run_folder, find_results, read_metrics, write_csv
from wrimnet.tables import for_console

if TYPE_CHECKING:
    from wrimnet.lab.run_comparison import Comparison

LAYOUT, STYLES = "constrained", ("-", "--", "-.", ":")


def main() -> int:
    """Prints the tables, writes page, CSV and figure if asked to; returns 0."""
    parser = make_parser(__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs")
    page_help = "writes tables and charts, HTML"
    parser.add_argument("--page", type=output_file, metavar="FILE", help=page_help)
    parser.add_argument("--csv", type=output_file, metavar="FILE", help="writes table of results")
    figure_file = picture_file(".png", ".pdf", ".svg", ".jpg")
    parser.add_argument("--figure", type=figure_file, metavar="FILE", help="draws loss and mAP")
    args = parse(parser)

    from wrimnet.lab.run_comparison import compare

    check_runs(args.runs)
    comparison = compare(args.runs)
    print("\n\n".join(for_console(table) for table in comparison.tables))
    if args.page:
        write_page(comparison, args.page)
        print(args.page)
    if args.csv:
        write_csv(args.csv, [comparison.results.header, *comparison.results.rows])
        print(args.csv)
    if args.figure:
        draw_curves(args.runs, args.figure)
        print(args.figure)
    return 0


def check_runs(runs: list[Path]) -> None:
    """Refuses what is no run, and results of other weights than the run's."""
    from wrimnet.evaluation.provenance import check_scored

    for run in runs:
        content = find_results(check_run_folder(run))
        if content:
            check_scored(content, run / FINAL)


def write_page(comparison: Comparison, file: Path) -> None:
    """Writes tables and charts as one HTML file."""
    from wrimnet.visualization.page import render_page

    names = ", ".join(row[0] for row in comparison.results.rows)
    content = {"title": f"Runs side by side: {names}", "summary": "", "notes": []}
    content |= comparison._asdict()
    write_text(file, render_page("comparison.html.j2", content))


def draw_curves(runs: list[Path], file: Path) -> None:
    """Draws the loss and each protocol's mAP in percent over the iterations, a line per run.

    Each line is thinner than those before it and dashed in its own way: equal ones are all seen.
    """
    from wrimnet.visualization.drawing import add_axes, new_figure, save_picture

    logged = {str(run): read_metrics(run) for run in runs}
    names = dict.fromkeys(name for lines in logged.values() for line in lines for name in line)
    shown = ["total_loss", *(name for name in names if name.endswith("/mAP"))]
    figure = new_figure(5 * len(shown), 4 + 0.2 * len(runs), "Runs side by side", layout=LAYOUT)
    for panel, name in zip(add_axes(figure, 1, len(shown))[0], shown, strict=True):
        percent = 100 if name.endswith("/mAP") else 1
        for number, (run, lines) in enumerate(logged.items()):
            points = [(line["iteration"], percent * line[name]) for line in lines if name in line]
            x, y = zip(*points, strict=True) if points else ((), ())
            width, dashes = 1 + 3 / (1 + number), STYLES[number % len(STYLES)]
            panel.plot(x, y, label=run, linewidth=width, linestyle=dashes, marker=".", ms=3 * width)
        panel.set_title(f"{name}, percent" if percent == 100 else name)
        panel.set_xlabel("iteration")
        panel.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize="small")
    save_picture(figure, Path(file))


if __name__ == "__main__":
    run_tool(main)
