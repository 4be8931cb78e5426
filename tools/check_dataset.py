"""Checks a dataset on disk: layout, counts, disjoint identities, every image.

    python tools/check_dataset.py --dataset LLCM --root /data/reid

Exit code 0: all holds. 1: findings, printed in words with what to do. 2: wrong arguments.
"""

import argparse
import json
import os
import sys
from typing import Any

from wrimnet.command_line import add_plugin_option, load_plugins, make_parser, parse, run_tool
from wrimnet.data.build import default_root
from wrimnet.data.datasets.base import Counts, CrossModalityDataset, check_counts
from wrimnet.data.datasets.doctor import as_json, examine, in_words, published_counts
from wrimnet.registries import find_dataset


def counts_file(path: str) -> Counts:
    """Reads the JSON file of --counts."""
    try:
        with open(path, encoding="utf-8") as file:
            return check_counts(json.load(file))
    except (OSError, ValueError) as problem:
        raise argparse.ArgumentTypeError(f"{path}: {problem}") from problem


def number_of_processes(text: str) -> int:
    """Reads --workers."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} processes; give 0 or more")
    return int(text)


def parse_arguments() -> Any:
    """Reads the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", required=True, help="LLCM, RegDB, SYSU-MM01 or your own")
    parser.add_argument(
        "--root",
        default=default_root(),
        metavar="DIR",
        help="folder that holds the dataset's folder (default: FASTREID_DATASETS, else datasets)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--counts", type=counts_file, help="JSON file of expected counts instead of the published"
    )
    which.add_argument("--skip-counts", action="store_true", help="compare no counts")
    parser.add_argument(
        "--workers",
        type=number_of_processes,
        default=min(os.cpu_count() or 1, 16),
        help="processes that open images (default: as many as cores, at most 16); 0: this one",
    )
    parser.add_argument("--json", metavar="OUT.json", help="also write the report here")
    parser.add_argument("--no-images", action="store_true", help="do not open the images")
    add_plugin_option(parser)
    return parse(parser)


def expected_counts(
    dataset: type[CrossModalityDataset], arguments: Any
) -> tuple[Counts | None, str]:
    """Returns the counts to compare with and the line that says which they are."""
    if arguments.counts is not None:
        return arguments.counts, "Counts are compared with the file of --counts."
    if arguments.skip_counts:
        return None, "Counts are not compared: --skip-counts."
    published = published_counts(dataset, arguments.root)
    if published is None:
        return None, "Counts are not compared: none are published, or drawn images; no --counts."
    return published, "Counts are compared with the published ones."


def main() -> int:
    """Examines the dataset, prints the report and returns the exit code."""
    arguments = parse_arguments()
    load_plugins(arguments.plugin)
    dataset = find_dataset(arguments.dataset)
    expected, line = expected_counts(dataset, arguments)
    examination = examine(
        dataset,
        arguments.root,
        expected=expected,
        open_images=not arguments.no_images,
        workers=arguments.workers,
    )
    print(in_words(examination))
    print(line)
    if arguments.json:
        write_json(arguments.json, as_json(examination))
    return 1 if examination.findings else 0


def write_json(path: str, report: dict[str, Any]) -> None:
    """Writes the report with sorted keys."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1, sort_keys=True)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold any bytes
    run_tool(main)
