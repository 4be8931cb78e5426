"""Checks a dataset on disk: layout, counts, disjoint identities, every image.

    python tools/check_dataset.py --dataset LLCM --root /data/reid

Exit code 0: no findings. 1: findings, each printed with what to do. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from wrimnet.atomic_files import require_file, write_text
from wrimnet.command_line import (
    add_plugin_option,
    load_plugins,
    make_parser,
    output_file,
    parse,
    run_tool,
)
from wrimnet.console import without_middles
from wrimnet.modality import MODALITY_NAMES
from wrimnet.registries import find_dataset
from wrimnet.tables import counted

if TYPE_CHECKING:
    from wrimnet.data.datasets.base import Counts, CrossModalityDataset
    from wrimnet.data.datasets.dataset_check import Examination

# Kind of finding -> what it means, and what to do about it. In the order they are best mended.
ADVICE = {
    "denied": (
        "files or folders that this user has no permission to read",
        "Give the permission, as their owner with chmod -R a+rX FOLDER, then check again.",
    ),
    "missing": (
        "missing folders or files",
        "Unpack the archive again, completely, and compare with the tree in datasets/README.md. "
        "If the dataset is elsewhere, give its parent folder as --root.",
    ),
    "malformed": (
        "files or folders that are not as distributed",
        "Take the named file or folder from the archive again; move what does not belong there.",
    ),
    "overlap": (
        "identities in both training and test",
        "The index files do not belong together: take all of them from one archive.",
    ),
    "counts": (
        "counts that differ",
        "Images or identities are missing or too many: unpack the archive again. For a part of a "
        "dataset used on purpose, run with --skip-counts or --counts; its results are not "
        "comparable with published ones.",
    ),
    "unreadable": (
        "images that cannot be read, or not whole",
        "Take these files from the archive again; if they stay damaged, download it again.",
    ),
    "pictures": (
        "pictures that are equal, or in the folder of the other modality",
        "Compare the named files with the archive. A picture of two identities, or of training and "
        "test, makes results wrong; one of the wrong modality is queried as what it is not.",
    ),
}


def counts_file(path: str) -> Counts:
    """Reads the JSON file of --counts."""
    from wrimnet.data.datasets.base import check_counts

    try:
        require_file(path, "the file")
        return check_counts(json.loads(Path(path).read_bytes()))
    except (OSError, ValueError) as problem:
        raise argparse.ArgumentTypeError(f"{path!r}: {problem}") from problem


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
    json_help = "also write the report here"
    parser.add_argument("--json", type=output_file, metavar="OUT.json", help=json_help)
    parser.add_argument("--no-images", action="store_true", help="do not open the images")
    add_plugin_option(parser)
    return parse(parser)


def root_of(arguments: Any) -> str:
    """Returns the folder that holds the dataset's folder."""
    from wrimnet.data.build import default_root

    return arguments.root or default_root()


def published_counts(dataset: type[CrossModalityDataset], root: str) -> Counts | None:
    """Returns the counts published for a dataset, None for a stand-in of it."""
    from wrimnet.data.datasets.base import stand_in

    folder = str(Path(root, dataset.folder_name))
    return None if stand_in(folder) else dataset.expected_counts


def expected_counts(
    dataset: type[CrossModalityDataset], arguments: Any
) -> tuple[Counts | None, str]:
    """Returns the counts to compare with and the line that says which they are."""
    from wrimnet.data.datasets.base import DRAWN, stand_in

    if arguments.counts is not None:
        return arguments.counts, "Counts are compared with the file of --counts."
    if arguments.skip_counts:
        return None, "Counts are not compared: --skip-counts."
    published = published_counts(dataset, root_of(arguments))
    if published is not None:
        return published, "Counts are compared with the published ones."
    what = stand_in(str(Path(root_of(arguments), dataset.folder_name))) or dataset.title
    what = "drawn images" if what == DRAWN else what
    return (
        None,
        f"Counts are not compared: none are published of {what}.\n--counts FILE names some.",
    )


def main() -> int:
    """Examines the dataset, prints the report and returns the exit code."""
    arguments = parse_arguments()

    from wrimnet.data.datasets.dataset_check import examine

    load_plugins(arguments.plugin)
    dataset = find_dataset(arguments.dataset)
    expected, line = expected_counts(dataset, arguments)
    examination = examine(
        dataset,
        root_of(arguments),
        expected=expected,
        open_images=not arguments.no_images,
        workers=arguments.workers,
    )
    print(in_words(examination))
    if examination.counts:
        print(line)
    if arguments.json:
        text = json.dumps(as_json(examination), indent=1, sort_keys=True)
        write_text(Path(arguments.json), text)
    return 1 if examination.findings else 0


def in_words(examination: Examination) -> str:
    """Returns the whole report as text."""
    from wrimnet.data.datasets.base import DRAWN

    what = examination.stand_in
    kind = "drawn stand-in" if what == DRAWN else what
    kind = f" ({kind})" if kind else ""
    lines = [f"{examination.dataset}{kind} in {examination.folder}", ""]
    if examination.counts:
        lines += [_table(examination.counts), ""]
    if examination.num_images_opened:
        lines.append(f"{counted(examination.num_images_opened, 'image')} opened.")
    lines += examination.notes
    order = list(ADVICE)
    ordered = sorted(examination.findings, key=lambda finding: order.index(finding.kind))
    for kind, findings in groupby(ordered, key=lambda finding: finding.kind):
        title, advice = ADVICE[kind]
        texts = [without_middles(f"  - {finding.text}") for finding in findings]
        lines += ["", f"{len(texts)} x {title}:", *texts, f"  What to do: {advice}"]
    if examination.findings:
        return "\n".join(
            [*lines, "", f"NOT SOUND: {counted(len(examination.findings), 'finding')}."]
        )
    return "\n".join([*lines, "", "SOUND: all that was checked holds."])


def as_json(examination: Examination) -> dict[str, Any]:
    """Returns the report for JSON; "counts" (of one division) is what --counts takes as a file."""
    counts = examination.counts
    return {
        "dataset": examination.dataset,
        "folder": examination.folder,
        "synthetic": bool(examination.stand_in),
        "stand_in": examination.stand_in,
        "sound": not examination.findings,
        "findings": [finding._asdict() for finding in examination.findings],
        "num_images_opened": examination.num_images_opened,
        "notes": examination.notes,
        "counts": counts.get("", counts),
    }


def _table(counts: dict[str, Counts]) -> str:
    rows = []
    for label, division in counts.items():
        for split, total in division.items():
            where = f"{label} {split}".strip()
            rows.append((where, "both", "all", total["identities"], total["images"]))
            for name in MODALITY_NAMES:
                rows += _modality_rows(where, name, total[name])
    headers = ("split", "modality", "camera", "identities", "images")
    return tabulate(rows, headers=headers, tablefmt="pipe")


def _modality_rows(where: str, name: str, counts: Counts) -> list[tuple[Any, ...]]:
    rows = [(where, name, "all", counts["identities"], counts["images"])]
    return rows + [
        (where, name, camera, size["identities"], size["images"])
        for camera, size in counts["cameras"].items()
    ]


if __name__ == "__main__":
    run_tool(main)
