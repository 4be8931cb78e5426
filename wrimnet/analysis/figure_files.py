"""Figures by matplotlib, an optional extra: made without global state, the same bytes each time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
_DPI = 110
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9,
    "svg.hashsalt": "wrimnet",  # else every file has identifiers of its own
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class MatplotlibMissingError(ValueError):
    """Matplotlib is not installed."""

    def __init__(self) -> None:
        super().__init__("figures need matplotlib: pip install 'wrimnet[viz]'")


def import_matplotlib() -> Any:
    """Returns the package.

    Raises:
        MatplotlibMissingError: it is not installed.
    """
    try:
        import matplotlib
        import matplotlib.figure
    except ModuleNotFoundError as error:
        raise MatplotlibMissingError from error
    return matplotlib


def new_figure(width: float, height: float, title: str, *, layout: str | None = None) -> "Figure":
    """Makes an empty figure.

    Args:
        width: inches.
        height: inches.
        title: what is shown, then on a second line model, dataset and direction.
        layout: "constrained" lets matplotlib place the axes.

    Raises:
        MatplotlibMissingError: matplotlib is not installed.
    """
    matplotlib = import_matplotlib()
    with matplotlib.rc_context(_STYLE):
        figure = matplotlib.figure.Figure(figsize=(width, height), layout=layout)
        figure.set_facecolor("white")
        heading = figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        if layout is None:
            heading.set(y=1 - 0.08 / height, va="top")
    return figure


def add_axes(figure: "Figure", *shape: int, **options: Any) -> Any:
    """Returns ``figure.subplots(...)`` in this project's style, always a 2-D array of axes."""
    with import_matplotlib().rc_context(_STYLE):
        return figure.subplots(*shape, squeeze=False, **options)


def save_figure(figure: "Figure", folder: str | Path, name: str) -> list[Path]:
    """Writes ``name.png`` and ``name.svg`` and returns their paths; no date enters the files."""
    paths = []
    Path(folder).mkdir(parents=True, exist_ok=True)
    with import_matplotlib().rc_context(_STYLE):
        for suffix in FORMATS:
            path = Path(folder, f"{name}.{suffix}")
            metadata = {"Date": None} if suffix == "svg" else {}
            figure.savefig(path, dpi=_DPI, metadata=metadata)
            paths.append(path)
    return paths
