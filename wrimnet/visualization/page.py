"""A page in one HTML file that needs no network: templates, style, script, data of its charts."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wrimnet.visualization.charts import Chart

_FOLDER = "wrimnet.visualization"


def render_page(template: str, content: Mapping[str, Any]) -> str:
    """Returns the page of a template of this folder; every text of ``content`` is escaped."""
    environment = Environment(
        loader=PackageLoader(_FOLDER, ""),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    environment.globals.update(asset=_asset, data=chart_data)
    return environment.get_template(template).render(content)


def _asset(name: str) -> Markup:
    """A file of this folder as it is: style and scripts."""
    return Markup((files(_FOLDER) / name).read_text(encoding="utf-8"))


def chart_data(chart: Chart) -> dict[str, Any]:
    """Returns a chart as the page's script reads it, values with six digits."""
    series = [
        {**s._asdict(), "x": _rounded(s.x), "y": _rounded(s.y), "notes": list(s.notes)}
        for s in chart.series
    ]
    return {**chart._asdict(), "series": series}


def _rounded(values: Any) -> list[float]:
    return [value if isinstance(value, int) else float(f"{value:.6g}") for value in values]
