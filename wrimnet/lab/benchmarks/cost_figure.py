"""Cost of a training step against what it grows with."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from wrimnet.visualization.drawing import add_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AXES = (("batch", "images"), ("input", "pixels of an image"), ("identities", "identities"))


def draw_costs(title: str, points: Sequence[Mapping[str, Any]]) -> "Figure":
    """Draws time and memory of a step, one column per axis that cost grows along.

    Args:
        title: what was measured, and where.
        points: "axis" ("batch", "input" or "identities"), "value" on it, "seconds" per step (one
            value per repetition), "activation_bytes" and "state_bytes".
    """
    figure = new_figure(9, 4.6, title, layout="constrained")
    panels = add_axes(figure, 2, len(_AXES), sharey="row")
    for column, (axis, unit) in enumerate(_AXES):
        line = sorted((p for p in points if p["axis"] == axis), key=lambda point: point["value"])
        values = [point["value"] for point in line]
        times = [1e3 * median(point["seconds"]) for point in line]
        panels[0][column].plot(values, times, marker="o")
        for name, label in (("activation_bytes", "activations"), ("state_bytes", "weights etc.")):
            sizes = [point[name] / 1e9 for point in line]
            panels[1][column].plot(values, sizes, marker="o", label=label)
        for panel in (panels[0][column], panels[1][column]):
            panel.set_xscale("log", base=10 if axis == "identities" else 2)
        panels[1][column].set_xlabel(unit)
    for row in panels:
        row[0].set_ylim(bottom=0)  # last: it fixes the range that all of the row share
    panels[0][0].set_ylabel("ms per step")
    panels[1][0].set_ylabel("GB")
    panels[1][0].legend(frameon=False)
    return figure
