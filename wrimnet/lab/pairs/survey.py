"""What a folder of pairs holds: scenes, and the regions in them that become identities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wrimnet.lab.pairs.boxes import find_boxes
from wrimnet.lab.pairs.options import Options
from wrimnet.lab.pairs.photographs import Pair, grey, read_pair
from wrimnet.lab.pairs.places import find_places
from wrimnet.lab.pairs.same_scene import Features, find_features, group_by_look, group_by_prefix
from wrimnet.lab.pairs.views import Region

Run = Callable[..., Iterable]


@dataclass(frozen=True)
class Photograph:
    """What was found in one pair.

    Args:
        regions: places, or boxes of persons.
        left_out: number of boxes by the reason why they are none of the regions.
    """

    regions: list[Region]
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Survey:
    """What a folder of pairs holds.

    Args:
        scenes: stems of the photographs of each scene.
        regions: of each scene.
        left_out: what was left out, in words, with its number.
    """

    scenes: list[list[str]]
    regions: list[list[Region]]
    left_out: dict[str, int]


def survey(pairs: Sequence[Pair], boxes: Path | None, options: Options, run: Run) -> Survey:
    """Group the photographs into scenes and find the regions of each.

    Of the photographs of one scene only the first is used, since the same place or person would
    become several identities; boxes of a fixed camera (``scene_prefix``) are taken from all. What
    is known from its name not to be used is not opened.

    Args:
        pairs: the photographs.
        boxes: folder of label files; None looks for places.
        options: of the set.
        run: maps a function over jobs, in any order.

    Raises:
        ValueError: a photograph or a label file is not as it should be.
    """
    groups = _group(pairs, options, run)
    use_all = boxes is not None and options.scene_prefix > 0
    used = [group if use_all else group[:1] for group in groups]
    jobs = [(number, pairs[number], boxes, options) for group in used for number in group]
    found = dict(run(_look_at, jobs))
    regions = [[region for number in group for region in found[number].regions] for group in used]
    left_out = Counter({"photographs of a scene seen before": len(pairs) - len(jobs)})
    left_out[f"scenes without {options.kind}"] = sum(not of_scene for of_scene in regions)
    for number, *_ in jobs:
        left_out.update(found[number].left_out)
    scenes = [[pairs[number].stem for number in group] for group in groups]
    return Survey(scenes, regions, {reason: n for reason, n in left_out.items() if n})


def _group(pairs: Sequence[Pair], options: Options, run: Run) -> list[list[int]]:
    if options.scene_prefix:
        return group_by_prefix([pair.stem for pair in pairs], options.scene_prefix)
    features = dict(run(_features_of, list(enumerate(pairs))))
    return group_by_look([features[number] for number in range(len(pairs))], run)


def _features_of(job: tuple[int, Pair]) -> tuple[int, Features]:
    number, pair = job
    return number, find_features(read_pair(pair)[1])


def _look_at(job: tuple[int, Pair, Path | None, Options]) -> tuple[int, Photograph]:
    number, pair, boxes, options = job
    visible, infrared = read_pair(pair)
    if boxes is None:
        aspect = options.height / options.width
        places = find_places(pair.stem, grey(visible), infrared, options.min_size, aspect)
        return number, Photograph(places)
    label_file = boxes / f"{pair.stem}.txt"
    found = find_boxes(pair.stem, label_file, infrared.shape, options.min_size, options.box_class)
    left_out = {
        f"boxes lower than {options.min_size} pixels": found.too_small,
        "boxes at the photograph's edge": found.at_edge,
        "boxes of another class": found.other_class,
        "photographs without a box file": int(not label_file.exists()),
    }
    return number, Photograph(found.regions, left_out)
