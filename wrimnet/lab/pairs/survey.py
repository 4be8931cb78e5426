"""What a folder of pairs holds: scenes, and the regions in them that become identities."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wrimnet.lab.pairs.boxes import count_boxes, find_boxes
from wrimnet.lab.pairs.options import Options
from wrimnet.lab.pairs.photographs import Pair, gray, read_pair
from wrimnet.lab.pairs.places import find_places
from wrimnet.lab.pairs.same_scene import Features, find_features, group_by_look, group_by_prefix
from wrimnet.lab.pairs.tracks import Tracks, has_tracks, join_tracks, tracks_in
from wrimnet.lab.pairs.views import Region

LOW_CONTRAST = 30  # gray levels of visible light between the 5th and 95th percentile: nearly black
Run = Callable[..., Iterable]
Groups = list[list[int]]
Remember = Callable[[Callable[[], Groups]], Groups]  # returns groups known, or those of the call


@dataclass(frozen=True)
class Photograph:
    """What was found in one pair.

    Args:
        regions: places, or boxes of persons.
        tracks: track id of each region; empty without track ids.
        left_out: number of regions by the reason why they are none of these.
        contrasts: visible contrast of each region found, also of those left out for it.
    """

    regions: list[Region]
    tracks: list[int]
    left_out: dict[str, int]
    contrasts: list[float]


@dataclass(frozen=True)
class Survey:
    """What a folder of pairs holds.

    Args:
        scenes: stems of the photographs of each scene.
        regions: of each scene; of a track its first.
        left_out: what was left out, in words, with its number.
        low_contrast: how many regions were "found", and how many have a "low" visible contrast.
        tracks: the boxes of each track; empty without track ids.
    """

    scenes: list[list[str]]
    regions: list[list[Region]]
    left_out: dict[str, int]
    low_contrast: dict[str, int]
    tracks: Tracks = field(default_factory=dict)


def survey(
    pairs: Sequence[Pair],
    boxes: Path | None,
    options: Options,
    run: Run,
    remember: Remember = lambda find: find(),
) -> Survey:
    """Group the photographs into scenes and find the regions of each.

    Of the photographs of one scene only one is used, since the same place or person would become
    several identities: the first, or the first of those with the most boxes. Boxes of a fixed
    camera (``scene_prefix``) and boxes with track ids are taken from all. What is known from its
    name not to be used is not opened.

    Args:
        pairs: the photographs.
        boxes: folder of label files; None looks for places.
        options: of the set.
        run: maps a function over jobs, in any order.
        remember: returns the scenes that were found earlier.

    Raises:
        ValueError: a photograph or a label file is not as it should be.
    """
    labels = [boxes / f"{pair.stem}.txt" for pair in pairs] if boxes else []
    tracked = has_tracks(file for file in labels if file.exists())
    groups = _group(pairs, tracked, options, run, remember)
    from_all = tracked or (boxes is not None and options.scene_prefix > 0)
    used = groups if from_all else _one_each(groups, labels, options)
    jobs = [(number, pairs[number], boxes, options) for group in used for number in group]
    looks = dict(run(_look_at, jobs))
    of_groups = [[looks[number] for number in group] for group in used]
    left_out = Counter({"photographs of a scene seen before": len(pairs) - len(jobs)})
    scenes = [[pairs[number].stem for number in group] for group in groups]
    regions = [[region for one in of_group for region in one.regions] for of_group in of_groups]
    joined = [join_tracks(_tracked_boxes(of_group)) for of_group in of_groups if tracked]
    tracks = {first: frames for of_group in joined for first, frames in of_group.items()}
    if tracked:
        known = [tracks_in([labels[n] for n in group], options.box_class) for group in used]
        left_out["tracks without a box that can be used"] = sum(map(len, known)) - len(tracks)
        regions = [list(of_group) for of_group in joined]
    if tracked and not options.scene_prefix:  # every track is divided by itself
        regions = [[first] for first in tracks]
        scenes = [[frame.stem for frame in frames] for frames in tracks.values()]
    left_out[f"scenes without {options.kind}"] = sum(not of_scene for of_scene in regions)
    for one in looks.values():
        left_out.update(one.left_out)
    contrasts = [contrast for one in looks.values() for contrast in one.contrasts]
    reasons = {reason: number for reason, number in left_out.items() if number}
    return Survey(scenes, regions, reasons, _count_low(contrasts), tracks)


def _tracked_boxes(photographs: Sequence[Photograph]) -> list[tuple[int, Region]]:
    return [box for one in photographs for box in zip(one.tracks, one.regions, strict=True)]


def _one_each(groups: Groups, labels: Sequence[Path], options: Options) -> Groups:
    """Choose one photograph of each scene: the first, or the one with the most boxes."""
    if not labels:
        return [group[:1] for group in groups]
    counts = [count_boxes(file, options.box_class) for file in labels]
    return [[max(group, key=lambda number: counts[number])] for group in groups]


def _count_low(contrasts: Sequence[float]) -> dict[str, int]:
    low = sum(contrast < LOW_CONTRAST for contrast in contrasts)
    return {"found": len(contrasts), "low": low}


def _group(
    pairs: Sequence[Pair], tracked: bool, options: Options, run: Run, remember: Remember
) -> Groups:
    if options.scene_prefix:
        return group_by_prefix([pair.stem for pair in pairs], options.scene_prefix)
    if tracked:
        return [list(range(len(pairs)))]
    return remember(lambda: _find_groups(pairs, options, run))


def _find_groups(pairs: Sequence[Pair], options: Options, run: Run) -> Groups:
    jobs = [(number, pair, options.infrared_range) for number, pair in enumerate(pairs)]
    features = dict(run(_features_of, jobs))
    return group_by_look([features[number] for number in range(len(pairs))], run)


def _features_of(job: tuple[int, Pair, Sequence[float]]) -> tuple[int, Features]:
    number, pair, infrared_range = job
    return number, find_features(read_pair(pair, infrared_range)[1])


def _look_at(job: tuple[int, Pair, Path | None, Options]) -> tuple[int, Photograph]:
    number, pair, boxes, options = job
    visible, infrared = read_pair(pair, options.infrared_range)
    brightness = gray(visible)
    left_out: dict[str, int] = {}
    if boxes is None:
        aspect = options.height / options.width
        regions = find_places(pair.stem, brightness, infrared, options.min_size, aspect)
        tracks: list[int] = []
    else:
        file, size = boxes / f"{pair.stem}.txt", options.min_size
        search = find_boxes(pair.stem, file, infrared.shape, size, options.box_class, options.pad)
        regions, tracks = search.regions, search.tracks
        left_out = {
            f"boxes lower than {size} pixels": search.too_small,
            "boxes at the photograph's edge (--pad keeps them)": search.at_edge,
            "boxes of another class": search.other_class,
            "photographs without a box file": int(not file.exists()),
        }
    contrasts = [visible_contrast(brightness, region) for region in regions]
    kept = [row for row, contrast in enumerate(contrasts) if contrast >= options.min_contrast]
    words = f"{options.kind} of a visible contrast below {options.min_contrast}"
    left_out[words] = len(regions) - len(kept)
    chosen = [tracks[row] for row in kept] if tracks else []
    return number, Photograph([regions[row] for row in kept], chosen, left_out, contrasts)


def visible_contrast(brightness: np.ndarray, region: Region) -> float:
    """Return the gray levels from the 5th to the 95th percentile of a region's visible pixels."""
    top, left = max(int(region.top), 0), max(int(region.left), 0)
    pixels = brightness[top : int(region.top + region.height) + 1,
                        left : int(region.left + region.width) + 1]  # fmt: skip
    low, high = np.percentile(pixels, (5, 95))
    return float(high - low)
