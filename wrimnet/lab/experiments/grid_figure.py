"""The curves of tables with a grid of one or two keys: each metric over a key's values."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from wrimnet.lab.experiments.table_report import Column, RowRuns, TableReport
from wrimnet.visualization.drawing import add_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SYMBOLS = {
    "MODEL.WRIM.CMKIC.WEIGHT": "λ1",
    "MODEL.WRIM.AUXILIARY.WEIGHT": "λ2",
    "MODEL.WRIM.CMKIC.TEMPERATURE": "τ",
    "MODEL.WRIM.CMKIC.TOP_K": "K",
    "MODEL.WRIM.MAIN.STRIPES": "N",
    "MODEL.WRIM.AUXILIARY.STRIPES": "M",
    "MODEL.WRIM.MIIM.REGION_SIZE": "g",
    "MODEL.WRIM.MIIM.NUM_HEADS": "heads",
    "MODEL.WRIM.MIIM.REDUCTION": "r",
}
COLORS = ("#1b6ca8", "#c8553d", "#4a7c59", "#8d6a9f", "#b8860b", "#444444")


def draw_grids(reports: Sequence[TableReport], title: str) -> "Figure":
    """Draws one row of panels per metric and one column per table.

    The first key of a grid is the abscissa; each value of the second, and each row with a grid of
    its own, has curves of its own. The row that the others are compared with is dashed.

    Raises:
        MatplotlibMissingError: matplotlib is not installed.
    """
    metrics = list(dict.fromkeys(metric for report in reports for _, metric in report.columns))
    figure = new_figure(4.2 * len(reports), 3 * len(metrics), title, layout="constrained")
    panels = add_axes(figure, len(metrics), len(reports))
    for column, report in enumerate(reports):
        for panel, metric in zip(panels[:, column], metrics, strict=True):
            _draw_panel(panel, report, [c for c in report.columns if c[1] == metric])
            panel.set_ylabel(f"{metric} (%)")
    panels[0, 0].legend(fontsize="small")
    return figure


def _draw_panel(panel: "Axes", report: TableReport, columns: Sequence[Column]) -> None:
    first, *others = report.table.grid
    values = list(dict.fromkeys(str(row.point[first]) for row in report.points))
    curves: dict[str, list[RowRuns]] = {}
    for row in report.points:
        parts = [row.base, *(f"{SYMBOLS.get(key, key)} = {row.point[key]}" for key in others)]
        curves.setdefault(", ".join(filter(None, parts)), []).append(row)
        if row is report.against:
            place = values.index(str(row.point[first]))
            panel.axvline(place, color="gray", linestyle="--", zorder=0, label=row.name)
    colors = iter(COLORS * len(curves) * len(columns))
    for (name, rows), column in product(curves.items(), columns):
        summaries = [summary for row in rows if (summary := row.summary(column))]
        panel.errorbar(
            [values.index(str(row.point[first])) for row in rows],  # evenly: steps may differ
            [summary.mean for summary in summaries],
            [float("nan") if summary.std is None else summary.std for summary in summaries],
            marker="o",
            capsize=3,
            label=", ".join(word for word in (column[0], name) if word),
            color=next(colors),
        )
    panel.set_xticks(range(len(values)), values)
    panel.set_xlabel(SYMBOLS.get(first, first))
