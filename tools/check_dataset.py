"""Checks a dataset on disk: layout, counts, disjoint identities, every image.

    python tools/check_dataset.py --dataset LLCM --root /data/reid

Exit code 0: all holds. 1: findings, printed in words with what to do. 2: wrong arguments.
"""

import argparse
import json
import os
import sys
from typing import Any

from wrimnet.data.datasets.counts import check_counts
from wrimnet.data.datasets.expected_counts import Counts
from wrimnet.data.doctor import SOURCES, examine, published_counts
from wrimnet.data.doctor_report import as_json, in_words


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


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True, choices=list(SOURCES))
    parser.add_argument(
        "--root",
        default=os.environ.get("FASTREID_DATASETS") or "datasets",
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
    return parser.parse_args(arguments)


def expected_counts(arguments: argparse.Namespace) -> tuple[Counts | None, str]:
    """Returns the counts to compare with and the line that says which they are."""
    if arguments.counts is not None:
        return arguments.counts, "Counts are compared with the file of --counts."
    if arguments.skip_counts:
        return None, "Counts are not compared: --skip-counts."
    published = published_counts(arguments.dataset, arguments.root)
    if published is None:
        return None, "Counts are not compared: drawn images (synthetic.json) and no --counts."
    return published, "Counts are compared with the published ones."


def main(arguments: list[str] | None = None) -> int:
    """Examines the dataset, prints the report and returns the exit code."""
    chosen = parse_arguments(arguments)
    expected, line = expected_counts(chosen)
    examination = examine(
        chosen.dataset,
        chosen.root,
        expected=expected,
        open_images=not chosen.no_images,
        workers=chosen.workers,
        progress=sys.stderr,
    )
    print(in_words(examination))
    print(line)
    if chosen.json:
        write_json(chosen.json, as_json(examination))
    return 1 if examination.findings else 0


def write_json(path: str, report: dict[str, Any]) -> None:
    """Writes the report with sorted keys."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1, sort_keys=True)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold any bytes
    sys.exit(main())
