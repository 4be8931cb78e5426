"""Draws figures of a trained model: ranked lists, t-SNE, distances, gates, similarity.

python tools/visualize.py logs/LLCM/wrim
python tools/visualize.py --config-file F.yml --weights W.pth --out FOLDER KEY VALUE ...
"""

from pathlib import Path

from wrimnet.command_line import (
    add_model_options,
    make_parser,
    output_folder,
    parse,
    run_tool,
    setup_model_cfg,
)
from wrimnet.run_folder import FIGURE_LIST, FIGURES


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = make_parser(__doc__)
    add_model_options(parser)
    parser.add_argument(
        "--out", type=output_folder, metavar="DIR", help="default: figures in the run's folder"
    )
    arguments = parse(parser)

    from wrimnet.visualization.figures import build_subject, write_figures

    cfg = setup_model_cfg(arguments)
    folder = arguments.out or Path(arguments.run or cfg.OUTPUT_DIR, FIGURES)
    figures = write_figures(build_subject(cfg), folder)
    print(f"{len(figures)} figures, as PNG and SVG; what each shows: {folder / FIGURE_LIST}")
    return 0


if __name__ == "__main__":
    run_tool(main)
