"""What the dataset doctor says: an examination in words and as JSON."""

from itertools import groupby
from typing import Any

from tabulate import tabulate

from wrimnet.data.datasets.expected_counts import Counts
from wrimnet.data.doctor import Examination
from wrimnet.modality import MODALITY_NAMES

# Kind of finding -> what it means, and what to do about it. In the order they are best mended.
ADVICE = {
    "missing": (
        "missing folders or files",
        "Unpack the archive again, completely, and compare with the tree in datasets/README.md. "
        "If the dataset lies elsewhere, give its parent folder as --root.",
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
        "images that cannot be read",
        "Take these files from the archive again; if they stay damaged, download it again.",
    ),
}


def in_words(examination: Examination) -> str:
    """Returns the whole report as text."""
    kind = " (drawn stand-in)" if examination.synthetic else ""
    lines = [f"{examination.dataset}{kind} in {examination.folder}", ""]
    if examination.counts:
        lines += [_table(examination.counts), ""]
    if examination.num_images_opened:
        lines.append(f"{examination.num_images_opened} images opened.")
    order = list(ADVICE)
    ordered = sorted(examination.findings, key=lambda finding: order.index(finding.kind))
    for kind, findings in groupby(ordered, key=lambda finding: finding.kind):
        title, advice = ADVICE[kind]
        texts = [f"  - {finding.text}" for finding in findings]
        lines += ["", f"{len(texts)} x {title}:", *texts, f"  What to do: {advice}"]
    return "\n".join([*lines, "", _verdict(examination)])


def as_json(examination: Examination) -> dict[str, Any]:
    """Returns the whole report for JSON.

    Its "counts" (for RegDB, the counts of one of its trials) can be saved as the file that --counts
    takes.
    """
    counts = examination.counts
    return {
        "dataset": examination.dataset,
        "folder": examination.folder,
        "synthetic": examination.synthetic,
        "sound": not examination.findings,
        "findings": [finding._asdict() for finding in examination.findings],
        "num_images_opened": examination.num_images_opened,
        "counts": counts.get("", counts),
    }


def _verdict(examination: Examination) -> str:
    if examination.findings:
        return f"NOT SOUND: {len(examination.findings)} findings."
    return "SOUND: all that was checked holds."


def _table(counts: dict[str, Counts]) -> str:
    rows = []
    for label, division in counts.items():
        for split, found in division.items():
            where = f"{label} {split}".strip()
            rows.append((where, "both", "all", found["identities"], found["images"]))
            for name in MODALITY_NAMES:
                rows += _modality_rows(where, name, found[name])
    headers = ("split", "modality", "camera", "identities", "images")
    return tabulate(rows, headers=headers, tablefmt="pipe")


def _modality_rows(where: str, name: str, found: Counts) -> list[tuple[Any, ...]]:
    rows = [(where, name, "all", found["identities"], found["images"])]
    return rows + [
        (where, name, camera, size["identities"], size["images"])
        for camera, size in found["cameras"].items()
    ]
