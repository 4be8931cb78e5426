"""Draws what a trained model sees: ranked lists, t-SNE, distances, gates, similarity; PNG and SVG.

python tools/visualize.py --run logs/LLCM/wrim
python tools/visualize.py --config-file F.yml --weights W.pth --out FOLDER --opts KEY VALUE ...
"""

import argparse
from pathlib import Path

from wrimnet.command_line import run_tool
from wrimnet.inspection.figures import write_figures
from wrimnet.inspection.subject import build_subject
from wrimnet.interface.arguments import add_model_arguments, setup_model_cfg


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="default: figures in the run's folder")
    arguments = parser.parse_args()
    cfg = setup_model_cfg(arguments)
    folder = Path(arguments.out or Path(arguments.run or cfg.OUTPUT_DIR, "figures"))
    for figure in write_figures(build_subject(cfg), folder):
        print(f"{folder / figure.name}.png  {figure.caption}")
    return 0


if __name__ == "__main__":
    run_tool(main)
