"""The figure of cost shows every point."""

import pytest

pytest.importorskip("matplotlib")

from wrimnet.lab.benchmarks.cost_figure import draw_costs


def test_every_point_lies_inside_of_its_panel():
    points = [
        {
            "axis": axis,
            "value": value,
            "seconds": [value, 3.0 * value, 2.0 * value],
            "activation_bytes": 1e9 * value,
            "state_bytes": 2e9,
        }
        for axis, factor in (("batch", 1), ("input", 10), ("identities", 100))
        for value in (4 * factor, factor)
    ]
    panels = draw_costs("Cost", points).axes
    lines = [(panel, line) for panel in panels for line in panel.lines]
    assert len(lines) == 3 + 3 * 2
    for panel, line in lines:
        assert panel.get_ylim()[0] == 0
        assert max(line.get_ydata()) < panel.get_ylim()[1]
        assert list(line.get_xdata()) == sorted(line.get_xdata())
    assert list(panels[0].lines[0].get_ydata()) == [2000.0, 8000.0]  # medians, milliseconds
