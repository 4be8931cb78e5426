"""Makes a retrieval set in LLCM's layout from aligned visible and infrared photographs.

An identity is a patch of a scene, or with --boxes a person's box: none is an identity of LLCM.

--boxes names a folder of YOLO text files with the photographs' stems. A line is a box: "class cx cy
w h", the last four as shares of the photograph. A track id, an integer, may follow as sixth column:
then all boxes of a track are one identity, whose images come from all its photographs. Track ids
count in the whole folder, and training and test share no track; with --scene-prefix they count
within a scene (a video), and training and test share no scene.

Examples:
    python tools/make_pairs.py --visible DIR --infrared DIR --out datasets/pairs
    python tools/make_pairs.py --visible DIR --infrared DIR --boxes DIR --out datasets/pairs
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wrimnet.command_line import make_parser, output_folder, parse, run_tool

if TYPE_CHECKING:
    from wrimnet.lab.pairs.options import Options


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser(__doc__)
    _add_photographs(parser)
    _add_options(parser)
    parser.add_argument(
        "--workers", type=int, default=2, help="processes, default 2; same bytes for any number"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier generated folder")
    return parser


def _add_photographs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--visible", type=Path, required=True, help="folder of color photographs")
    parser.add_argument(
        "--infrared", type=Path, required=True, help="folder of infrared ones, same stems and sizes"
    )
    parser.add_argument("--out", type=output_folder, required=True, help="gets LLCM/")
    parser.add_argument(
        "--boxes", type=Path, help="YOLO text files: persons instead of scene patches"
    )
    parser.add_argument(
        "--pad",
        action="store_true",
        help="keep boxes near the photograph's edge; the edge is repeated beyond it",
    )
    parser.add_argument(
        "--infrared-range",
        type=range_end,
        nargs="+",
        default=(),
        metavar="LOW HIGH",
        help="infrared pixels of more than 8 bits that become gray 0 and 255; or auto: 0.1 and "
        "99.9 percentile of all photographs",
    )
    parser.add_argument(
        "--box-class",
        type=int,
        default=0,
        metavar="N",
        help="class of the boxes that become identities, default 0",
    )
    parser.add_argument(
        "--scene-prefix",
        type=int,
        default=0,
        metavar="N",
        help="photographs whose stems agree in N characters are one scene; by default those that "
        "show the same scene, found by comparing all with all, a millisecond each, and remembered "
        "in OUT/scenes.json",
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    from wrimnet.lab.pairs.options import Options

    defaults = Options()
    parser.add_argument(
        "--train-share",
        type=float,
        default=defaults.train_share,
        help="share of the scenes for training, default two thirds",
    )
    parser.add_argument("--train-ids", type=int, help="default: all that the training scenes have")
    parser.add_argument("--test-ids", type=int, help="default: all that the test scenes have")
    parser.add_argument(
        "--min-contrast",
        type=int,
        default=defaults.min_contrast,
        help="least visible contrast in gray levels, default 0; 30 leaves nearly black ones out",
    )
    for name, text in (
        ("images_per_id", "per modality"),
        ("test_images_per_id", "per modality in the test set"),
        ("height", "of the images"),
        ("width", "of the images"),
        ("min_size", "least height of a patch or box in a photograph"),
        ("seed", "of all that is drawn"),
    ):
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            default=getattr(defaults, name),
            help=f"{text}, default %(default)s",
        )


def read_options(arguments: argparse.Namespace) -> Options:
    """Return what the command line asks for."""
    from wrimnet.lab.pairs.options import Options

    names = [name for name in Options.__dataclass_fields__ if name != "kind"]
    values = {name: getattr(arguments, name) for name in names}
    values["infrared_range"] = tuple(values["infrared_range"])
    return Options(kind="places" if arguments.boxes is None else "boxes", **values)


def range_end(word: str) -> float | str:
    """Read a word of --infrared-range."""
    return word if word == "auto" else float(word)


def main() -> int:
    """Write the set, say what it holds and print its folder."""
    arguments = parse(build_parser())

    from wrimnet.lab.pairs.description import in_words
    from wrimnet.lab.pairs.generate_pairs import generate_pairs

    folder, manifest = generate_pairs(
        visible=arguments.visible,
        infrared=arguments.infrared,
        boxes=arguments.boxes,
        out=arguments.out,
        options=read_options(arguments),
        workers=arguments.workers,
        force=arguments.force,
    )
    print(in_words(manifest))
    print(folder)
    return 0


if __name__ == "__main__":
    run_tool(main)
