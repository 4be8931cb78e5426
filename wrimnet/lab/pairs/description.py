"""What a set says of itself: sources, options, counts, and which region is which identity."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wrimnet.data.datasets.base import Counts
from wrimnet.data.images import SYNTHETIC_MARK
from wrimnet.evaluation.provenance import file_sha256
from wrimnet.lab.pairs.options import Options
from wrimnet.lab.pairs.photographs import Pair
from wrimnet.lab.pairs.split import Scenes
from wrimnet.lab.pairs.survey import LOW_CONTRAST, Survey
from wrimnet.lab.pairs.views import Region
from wrimnet.modality import MODALITY_NAMES

GENERATOR_VERSION = 1  # raise it whenever an image changes
MANIFEST = "pairs.json"
COUNTS = "counts.json"
WHAT = {
    "places": "places of photographs, not identities of LLCM",
    "boxes": "boxes of persons in photographs, not identities of LLCM",
}
Sources = dict[str, dict[str, dict[str, str]]]  # stem -> which file -> its name and sha256


def hash_sources(pairs: Sequence[Pair], boxes: Path | None) -> Sources:
    """Return name and sha256 of every file that goes into the set.

    Raises:
        FileNotFoundError: the folder of label files is not there.
        ValueError: it has no file for any photograph.
    """
    sources = {}
    for pair in pairs:
        files = dict(zip(MODALITY_NAMES, (pair.visible, pair.infrared), strict=True))
        if boxes is not None and (label_file := boxes / f"{pair.stem}.txt").exists():
            files["boxes"] = label_file
        sources[pair.stem] = {
            kind: {"name": path.name, "sha256": file_sha256(path)} for kind, path in files.items()
        }
    if boxes is not None and not any("boxes" in files for files in sources.values()):
        _refuse_boxes(boxes, pairs[0])
    return sources


def _refuse_boxes(boxes: Path, pair: Pair) -> None:
    if not boxes.is_dir():
        raise FileNotFoundError(f"looked for the folder {boxes}, which does not exist")
    raise ValueError(
        f"{boxes} has no label file of a photograph's stem, such as {pair.stem}.txt; give the "
        "folder of YOLO text files"
    )


def describe_options(options: Options, sources: Sources) -> dict[str, Any]:
    """Return what makes one set differ from another: version, options and sources.

    Run records copy it, so the many sources are one hash here and listed in the manifest.
    """
    listed = json.dumps(sources, sort_keys=True).encode()
    return {
        "what": WHAT[options.kind],
        "generator": "tools/make_pairs.py",
        "generator_version": GENERATOR_VERSION,
        "layout": "llcm",
        **dataclasses.asdict(options),
        "infrared_range": list(options.infrared_range),
        "pairs": len(sources),
        "sources_sha256": hashlib.sha256(listed).hexdigest(),
    }


def make_manifest(
    description: dict[str, Any],
    counts: Counts,
    surveyed: Survey,
    splits: tuple[Scenes, Scenes],
    regions: dict[int, Region],
    sources: Sources,
) -> dict[str, Any]:
    """Return all that is known of a set: the content of its MANIFEST."""
    split_of = {
        region: name
        for name, scenes in zip(("train", "test"), splits, strict=True)
        for scene in scenes
        for region in scene
    }
    identities = {
        f"{pid:04d}": {
            "split": split_of[region],
            **dataclasses.asdict(region),
            **_describe_frames(surveyed.tracks.get(region, ())),
        }
        for pid, region in sorted(regions.items())
    }
    return {
        **description,
        "counts": counts,
        "scenes": {
            name: len(scenes) for name, scenes in zip(("train", "test"), splits, strict=True)
        },
        "left_out": surveyed.left_out,
        "low_contrast": surveyed.low_contrast,
        **({"tracked": True} if surveyed.tracks else {}),
        "photographs_of_scenes": surveyed.scenes,
        "identities": identities,
        "sources": sources,
    }


def _describe_frames(frames: Sequence[Region]) -> dict[str, Any]:
    """Return the boxes of a track; nothing where an identity has one region."""
    return {"frames": [dataclasses.asdict(frame) for frame in frames]} if frames else {}


def manifest_files(manifest: dict[str, Any], description: dict[str, Any]) -> dict[str, bytes]:
    """Return the content of the three files that describe a set, by name."""
    counts = manifest["counts"]
    short = {**description, "scenes": manifest["scenes"], "counts": _short(counts)}
    files = {MANIFEST: manifest, COUNTS: counts, SYNTHETIC_MARK: short}
    return {name: (json.dumps(file, indent=1) + "\n").encode() for name, file in files.items()}


def _short(counts: Counts) -> dict[str, dict[str, int]]:
    return {
        split: {
            "identities": of_split["identities"],
            **{f"{name}_images": of_split[name]["images"] for name in MODALITY_NAMES},
        }
        for split, of_split in counts.items()
    }


def in_words(manifest: dict[str, Any]) -> str:
    """Say what a set holds, and that it is no person re-identification dataset."""
    counts = manifest["counts"]
    lines = [
        f"{manifest['what']}:",
        *(
            f"  {name}: {counts[name]['identities']} {_origin(manifest, name)}, "
            f"{counts[name]['visible']['images']} visible and "
            f"{counts[name]['infrared']['images']} infrared images"
            for name in ("train", "test")
        ),
        *(f"  left out: {number} {reason}" for reason, number in manifest["left_out"].items()),
        *_contrast_in_words(manifest),
    ]
    return "\n".join(lines)


def _origin(manifest: dict[str, Any], split: str) -> str:
    """Say what a split's identities are."""
    if manifest.get("tracked") and not manifest["scene_prefix"]:
        return "tracks of persons (both splits show the same places)"
    kind = "tracks of persons" if manifest.get("tracked") else manifest["kind"]
    return f"{kind} of {manifest['scenes'][split]} scenes"


def _contrast_in_words(manifest: dict[str, Any]) -> list[str]:
    number, low = manifest["low_contrast"]["found"], manifest["low_contrast"]["low"]
    if not low:
        return []
    return [
        f"  nearly black: {low} of {number} {manifest['kind']} found ({low / number:.0%}) have a "
        f"visible contrast below {LOW_CONTRAST} gray levels (--min-contrast {LOW_CONTRAST} leaves "
        "them out)"
    ]
