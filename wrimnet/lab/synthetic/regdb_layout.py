"""The tree of RegDB."""

import itertools
from collections.abc import Iterator

from wrimnet.data.randomness import generator as seeded_generator
from wrimnet.lab.synthetic.appearance import draw_appearance
from wrimnet.lab.synthetic.plan import Plan, PlannedImage, Request, label_lines
from wrimnet.lab.synthetic.rendering import Shot
from wrimnet.modality import INFRARED, VISIBLE

SCENES = 8
TRIALS = 10
CAMERAS = {VISIBLE: 1, INFRARED: 2}


def plan_regdb(request: Request) -> Plan:
    """Return RegDB: every identity in Visible/ and Thermal/, and ten splits in idx/.

    The number of training and test identities holds in each trial; who they are changes. The same
    number of images is needed on both sides.

    Raises:
        ValueError: ``images_per_id`` and ``test_images_per_id`` differ.
    """
    if request.images_per_id != request.test_images_per_id:
        raise ValueError(
            f"{request.images_per_id} training and {request.test_images_per_id} test images per "
            "identity: in RegDB, an identity trains in one trial and tests in another; give both "
            "the same number"
        )
    pids = range(1, request.train_ids + request.test_ids + 1)
    images = [image for pid in pids for image in _identity_images(request, pid)]
    files: dict[str, bytes] = {}
    for trial in range(1, TRIALS + 1):
        files |= _trial_lists(request, trial, images)
    return Plan(images, files, frozenset(range(SCENES)), ("Visible", "Thermal"))


def _identity_images(request: Request, pid: int) -> Iterator[PlannedImage]:
    """One walk seen by both sensors, all of it from the front or all from the back."""
    draw = seeded_generator(request.seed, "regdb", pid)
    facing = bool(draw.random() < 0.5)
    gender = draw_appearance(seeded_generator(request.seed, "appearance", pid)).gender
    for modality, folder in ((VISIBLE, "Visible"), (INFRARED, "Thermal")):
        frame = int(draw.integers(1, 500))
        for number in range(request.images_per_id):
            frame += int(draw.integers(1, 12))
            side = "front" if facing else "back"
            name = f"{gender}_{side}_{folder[0].lower()}_{frame:05d}_{pid}.bmp"
            path = f"{folder}/{pid}/{name}"
            scene = int(draw.integers(SCENES))
            camid = CAMERAS[modality]
            yield PlannedImage(Shot(pid, camid, modality, number, scene, facing), (path,))


def _trial_lists(request: Request, trial: int, images: list[PlannedImage]) -> dict[str, bytes]:
    total = request.train_ids + request.test_ids
    order = seeded_generator(request.seed, "regdb trial", trial).permutation(total) + 1
    sides = {"train": order[: request.train_ids], "test": order[request.train_ids :]}
    files = {}
    for (side, pids), (modality, name) in itertools.product(
        sides.items(), ((VISIBLE, "visible"), (INFRARED, "thermal"))
    ):
        labels = {pid: label for label, pid in enumerate(sorted(pids.tolist()))}
        files[f"idx/{side}_{name}_{trial}.txt"] = label_lines(
            (image.paths[0], labels[image.shot.pid])
            for image in images
            if image.shot.modality == modality and image.shot.pid in labels
        )
    return files
