"""The curves of a sweep: Rank-1 and mAP over the value of a key (Fig. S1)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wrimnet.lab.experiments.row_report import Report, RowRuns, value_of
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
COLOURS = ("#1b6ca8", "#c8553d", "#4a7c59", "#8d6a9f")


def draw_sweeps(sweeps: Sequence[tuple[str, Report]], title: str) -> "Figure":
    """Draws one row of panels per metric and one column per key, the paper's setting dashed.

    Raises:
        MatplotlibMissingError: matplotlib is not installed.
        ValueError: no run of a sweep is finished.
    """
    figure = new_figure(4.2 * len(sweeps), 6, title, layout="constrained")
    metrics = list(dict.fromkeys(metric for _, report in sweeps for _, metric in report.columns))
    panels = add_axes(figure, len(metrics) or 1, len(sweeps))
    for column, (key, report) in enumerate(sweeps):
        points = [row for row in report.rows if row.finished]
        if not points:
            raise ValueError(f"no run of the sweep over {key} is finished; nothing to draw")
        for panel, metric in zip(panels[:, column], metrics, strict=True):
            _draw_panel(panel, key, points, [c for c in report.columns if c[1] == metric])
            panel.set_ylabel(f"{metric} (%)")
    panels[0, 0].legend(fontsize="small")
    return figure


def _draw_panel(
    panel: "Axes", key: str, points: Sequence[RowRuns], columns: Sequence[tuple[str, str]]
) -> None:
    values = [value_of(row.records[0], key) for row in points]
    places = range(len(values))  # evenly, as their steps are no equal ones and lists have none
    for column, colour in zip(columns, COLOURS, strict=False):
        summaries = [row.summary(column) for row in points]
        means, spreads = [s.mean for s in summaries], [s.std for s in summaries]
        bars = [float("nan") if spread is None else spread for spread in spreads]  # no bar
        panel.errorbar(places, means, bars, marker="o", capsize=3, color=colour, label=column[0])
    for place, row in zip(places, points, strict=True):
        if row.is_full:
            panel.axvline(place, color="grey", linestyle="--", zorder=0, label="WRIM-Net")
    panel.set_xticks(places, [str(value) for value in values])
    panel.set_xlabel(SYMBOLS.get(key, key))
