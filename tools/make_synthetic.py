"""Generates synthetic pedestrians in the layout of LLCM, RegDB or SYSU-MM01.

Example:
    python tools/make_synthetic.py --layout llcm --out datasets --train-ids 200 --test-ids 80
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wrimnet.command_line import make_parser, output_folder, parse, run_tool

if TYPE_CHECKING:
    from wrimnet.lab.synthetic.plan import Request


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    from wrimnet.lab.synthetic.layouts import LAYOUTS

    parser = make_parser(__doc__)
    parser.add_argument("--layout", choices=sorted(LAYOUTS), required=True)
    parser.add_argument(
        "--out",
        type=output_folder,
        required=True,
        help="output folder of LLCM/, RegDB/ or SYSU-MM01/",
    )
    parser.add_argument(
        "--ids", type=int, help="all identities: 70%% train (RegDB half), rest test"
    )
    parser.add_argument("--train-ids", type=int, help="training identities, default 200")
    parser.add_argument("--test-ids", type=int, help="test identities, default 80")
    parser.add_argument("--images-per-id", type=int, help="per modality, default 8 (RegDB 10)")
    parser.add_argument(
        "--test-images-per-id",
        type=int,
        help="per modality in the test set, default as in training",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--camera-shift",
        type=float,
        default=0.0,
        help="stronger camera differences: gain, gamma and color cast to the power 1 + this, "
        "noise and blur times 1 + this; default 0",
    )
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument(
        "--workers", type=int, default=2, help="processes, same bytes for any number"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier generated folder")
    return parser


def read_request(arguments: argparse.Namespace) -> Request:
    """Return the counts that the command line asks for.

    Raises:
        ValueError: ``--ids`` is given with ``--train-ids`` or ``--test-ids``.
    """
    from wrimnet.lab.synthetic.plan import USUAL, Request

    is_regdb = arguments.layout == "regdb"
    train_ids, test_ids = arguments.train_ids, arguments.test_ids
    if arguments.ids is not None:
        if train_ids is not None or test_ids is not None:
            raise ValueError(
                "--ids is the sum of both splits; drop it or drop --train-ids/--test-ids"
            )
        train_ids = round(arguments.ids * (0.5 if is_regdb else 0.7))
        test_ids = arguments.ids - train_ids
    images, test_images = arguments.images_per_id, arguments.test_images_per_id
    if images is None:
        images = 10 if is_regdb else USUAL.images_per_id
    return Request(
        seed=arguments.seed,
        train_ids=USUAL.train_ids if train_ids is None else train_ids,
        test_ids=USUAL.test_ids if test_ids is None else test_ids,
        images_per_id=images,
        test_images_per_id=images if test_images is None else test_images,
    )


def main() -> int:
    """Write the dataset and print its folder."""
    arguments = parse(build_parser())

    from wrimnet.lab.synthetic.generate_synthetic import generate_synthetic

    folder = generate_synthetic(
        layout=arguments.layout,
        out=arguments.out,
        request=read_request(arguments),
        height=arguments.height,
        width=arguments.width,
        workers=arguments.workers,
        force=arguments.force,
        camera_shift=arguments.camera_shift,
    )
    print(folder)
    return 0


if __name__ == "__main__":
    run_tool(main)
