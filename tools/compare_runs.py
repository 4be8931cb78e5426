"""Puts runs side by side: the keys in which they differ, their results, their curves.

    python tools/compare_runs.py logs/LLCM/wrim logs/LLCM/other
    python tools/compare_runs.py logs/LLCM/* --figure curves.png

Reads files only. A run that is not finished has dashes for results.
"""

from pathlib import Path
from typing import Any

from wrimnet.command_line import make_parser, parse, picture_file, run_tool
from wrimnet.config import setup_cfg
from wrimnet.config.setup import hashed_values
from wrimnet.run_folder import CONFIG, FINAL, check_run_folder, find_results, read_metrics
from wrimnet.tables import MISSING, Table, for_console

LAYOUT, STYLES = "constrained", ("-", "--", "-.", ":")
DEFAULT = "(default)"  # of a younger key, which a run leaves out


def main() -> int:
    """Prints two tables, draws if asked to; returns 0."""
    parser = make_parser(__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs")
    figure_file = picture_file(".png", ".pdf", ".svg", ".jpg")
    parser.add_argument("--figure", type=figure_file, metavar="FILE", help="draws loss and mAP")
    args = parse(parser)

    from wrimnet.evaluation.provenance import check_scored

    for run in args.runs:
        content = find_results(check_run_folder(run))
        if content:
            check_scored(content, run / FINAL)
    if len(args.runs) > 1:
        print(f"{for_console(keys_that_differ(args.runs))}\n")
    print(for_console(results_of(args.runs)))
    if args.figure:
        draw_curves(args.runs, args.figure)
        print(args.figure)
    return 0


def keys_that_differ(runs: list[Path]) -> Table:
    """One row per key, one column per run."""
    values = [
        hashed_values(setup_cfg(str(run / CONFIG), (), ["MODEL.DEVICE", "auto"])) for run in runs
    ]
    names = sorted({name for own in values for name in own})
    rows = [(name, *(str(own.get(name, DEFAULT)) for own in values)) for name in names]
    differing = tuple(row for row in rows if len(set(row[1:])) > 1)
    notes = () if differing else ("None: the runs have one configuration.",)
    return Table("Keys in which the runs differ", ("key", *map(str, runs)), differing, notes)


def results_of(runs: list[Path]) -> Table:
    """One row per run: iterations, last loss, metrics of every protocol, in percent."""
    from wrimnet.evaluation.results import mean_metrics
    from wrimnet.metrics.names import is_compared

    metrics = [mean_metrics(content) if (content := find_results(run)) else {} for run in runs]
    found = [(name, m) for own in metrics for name, values in own.items() for m in values]
    columns = [(name, m) for name, m in dict.fromkeys(found) if is_compared(m)]
    rows = []
    for run, own in zip(runs, metrics, strict=True):
        values = [own.get(name, {}).get(m) for name, m in columns]
        cells = [MISSING if value is None else f"{100 * value:.2f}" for value in values]
        rows.append((str(run), *progress_of(read_metrics(run)), *cells))
    header = ("run", "iterations", "loss", *(f"{name} {metric}" for name, metric in columns))
    return Table("Results, percent", header, tuple(rows))


def progress_of(lines: list[dict[str, Any]]) -> tuple[str, str]:
    """Iterations that are logged, and the last line's loss."""
    if not lines:
        return MISSING, MISSING
    return str(lines[-1]["iteration"] + 1), f"{lines[-1]['total_loss']:.3f}"


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
            points = [
                (line["iteration"] + 1, percent * line[name]) for line in lines if name in line
            ]
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
