"""Figures by matplotlib, an optional extra: the same bytes each time; maps over images."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from wrimnet.atomic_files import write_file

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
    """Returns the package; raises MatplotlibMissingError without it."""
    try:
        import matplotlib
        import matplotlib.figure
    except ModuleNotFoundError as error:
        raise MatplotlibMissingError from error
    return matplotlib


def new_figure(width: float, height: float, title: str, *, layout: str | None = None) -> "Figure":
    """Makes an empty figure, sides in inches; layout "constrained" places the axes by itself.

    The title says what is shown, then on a second line model, dataset and direction.
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


def save_figure(figure: "Figure | Image.Image", folder: str | Path, name: str) -> list[Path]:
    """Writes ``name.png`` and ``name.svg`` and returns their paths; no date enters the files.

    A picture of photographs has no SVG.
    """
    paths = [Path(folder, f"{name}.{suffix}") for suffix in FORMATS]
    Path(folder).mkdir(parents=True, exist_ok=True)
    if isinstance(figure, Image.Image):
        save_picture(figure, paths[0])
        return paths[:1]
    with import_matplotlib().rc_context(_STYLE):
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {}
            save_picture(figure, path, dpi=_DPI, metadata=metadata)
    return paths


def save_picture(picture: "Figure | Image.Image", path: Path, **options: Any) -> None:
    """Writes a figure or an image in the format of the file's name, whole or not at all."""
    suffix = path.suffix.lower()
    if isinstance(picture, Image.Image):
        kind = Image.registered_extensions()[suffix]
        write_file(path, lambda file: picture.save(file, kind, **options))
    else:
        write_file(path, lambda file: picture.savefig(file, format=suffix[1:], **options))


def add_to_tensorboard(run: Path, pictures: Mapping[str, Path]) -> None:
    """Shows pictures, by name, beside the curves of a run; nothing where it has no event file."""
    if not any(run.glob("events.out.tfevents.*")):
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run)) as writer:
        for name, path in pictures.items():
            image = np.asarray(Image.open(path).convert("RGB"))
            writer.add_image(f"figures/{name}", image, dataformats="HWC")


def enlarge_map(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Brings a map (h, w) to (height, width), each cell a sharp rectangle of its true extent."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST))


def smooth_map(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Brings a map (h, w) to (height, width) by bilinear interpolation between cell centers."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def gray_image(image: np.ndarray) -> np.ndarray:
    """Returns an image (H, W, 3) without its colors, so that those of a map over it stand out."""
    gray = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.repeat(gray[..., None], 3, axis=2).astype(np.uint8)


def show_image(axes: Any, image: np.ndarray) -> None:
    """Draws an image (H, W, 3) uint8 without ticks and frame."""
    axes.imshow(image)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_overlay(axes: Any, image: np.ndarray, layer: np.ndarray, **options: Any) -> Any:
    """Draws ``layer`` (H, W), half transparent, over the gray image; returns what is drawn."""
    show_image(axes, gray_image(image))
    return axes.imshow(layer, alpha=0.55, **options)
