"""What lies where in each dataset: lists of images to render and the index files beside them.

The grammar of folders, names and lists is that of the real distributions, so that their loaders
read generated data without a switch.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wrimnet.data.randomness import generator as seeded_generator
from wrimnet.data.synthetic.appearance import draw_appearance
from wrimnet.data.synthetic.permutations import write_permutations
from wrimnet.modality import INFRARED, VISIBLE


@dataclass(frozen=True)
class Request:
    """What a tree shall hold.

    Args:
        seed: all randomness comes from it.
        train_ids: number of training identities.
        test_ids: number of test identities, none of them in training.
        images_per_id: training images per identity and modality.
        test_images_per_id: the same in the test set.
    """

    seed: int
    train_ids: int
    test_ids: int
    images_per_id: int
    test_images_per_id: int

    def split(self) -> tuple[list[int], list[int]]:
        """Return the training and the test identities, ascending, from 1..train_ids + test_ids."""
        total = self.train_ids + self.test_ids
        order = seeded_generator(self.seed, "split", 0).permutation(total) + 1
        return sorted(order[: self.train_ids].tolist()), sorted(order[self.train_ids :].tolist())


@dataclass(frozen=True)
class PlannedImage:
    """One image to render; arguments as in ``Studio.render``.

    Args:
        paths: POSIX paths inside the dataset's folder; the same bytes go to each.
    """

    pid: int
    camid: int
    modality: int
    number: int
    scene: int
    paths: tuple[str, ...]
    facing: bool | None = None


@dataclass(frozen=True)
class Plan:
    """A whole tree.

    Args:
        images: what to render.
        files: content of every other file by POSIX path.
        outdoor_scenes: numbers of the scenes that lie outdoors.
    """

    images: list[PlannedImage]
    files: dict[str, bytes]
    outdoor_scenes: frozenset[int] = field(default_factory=frozenset)


LLCM_VISIBLE_CAMERAS = (1, 2, 3, 4, 5, 6, 7, 8, 9)
LLCM_INFRARED_CAMERAS = (1, 2, 4, 5, 6, 7, 8, 9)
LLCM_CAMERAS_PER_ID = 4


def plan_llcm(request: Request) -> Plan:
    """Return LLCM: vis/ and nir/ with everybody, test_vis/ and test_nir/ with the test set again.

    Each identity walks past four of the nine cameras, three of them with infrared for some, so that
    a query finds its identity in another camera.

    Raises:
        ValueError: fewer than two test images per identity and modality.
    """
    _require_test_images(request, 2)
    train, test = request.split()
    images = [image for pid in train for image in _llcm_identity(request, pid, False)]
    images += [image for pid in test for image in _llcm_identity(request, pid, True)]
    files = {"idx/test_id.txt": _id_line(test)}
    for name, pids in (("train", train), ("test", test)):
        labels = {pid: label for label, pid in enumerate(pids)}
        for modality, folder in ((VISIBLE, "vis"), (INFRARED, "nir")):
            chosen = [i for i in images if i.pid in labels and i.modality == modality]
            files[f"idx/{name}_{folder}.txt"] = _label_lines(
                (image.paths[0], labels[image.pid]) for image in chosen
            )
    return Plan(images, files, frozenset({2, 4, 5, 8}))


def _llcm_identity(request: Request, pid: int, is_test: bool) -> Iterator[PlannedImage]:
    draw = seeded_generator(request.seed, "llcm", pid)
    chosen = draw.permutation(LLCM_INFRARED_CAMERAS)[:LLCM_CAMERAS_PER_ID].tolist()
    cameras = {INFRARED: chosen, VISIBLE: [*chosen[:-1], 3] if draw.random() < 0.3 else chosen}
    count = request.test_images_per_id if is_test else request.images_per_id
    clock = int(draw.integers(8 * 3600, 20 * 3600))
    for modality, name in ((VISIBLE, "vis"), (INFRARED, "nir")):
        frame = int(draw.integers(1, 3000))
        for number in range(count):
            camid = cameras[modality][number % LLCM_CAMERAS_PER_ID]
            clock, frame = clock + int(draw.integers(5, 60)), frame + int(draw.integers(4, 40))
            time = f"{clock // 3600:02d}{clock // 60 % 60:02d}{clock % 60:02d}"
            file = f"{pid:04d}_c{camid:02d}_s{time}_f{frame}_{name}.jpg"
            paths = [f"{name}/{pid:04d}/{file}"]
            if is_test:
                paths.append(f"test_{name}/cam{camid}/{pid:04d}/{file}")
            yield PlannedImage(pid, camid, modality, number, camid, tuple(paths))


REGDB_SCENES = 8
REGDB_TRIALS = 10
REGDB_CAMERAS = {VISIBLE: 1, INFRARED: 2}


def plan_regdb(request: Request) -> Plan:
    """Return RegDB: every identity in Visible/ and Thermal/, and ten splits in idx/.

    The number of training and test identities holds in each trial; who they are changes. The same
    number of images is needed on both sides.

    Raises:
        ValueError: ``images_per_id`` and ``test_images_per_id`` differ.
    """
    if request.images_per_id != request.test_images_per_id:
        raise ValueError(
            f"RegDB's trials share their images, got {request.images_per_id} training and "
            f"{request.test_images_per_id} test images per identity; give both the same number"
        )
    pids = range(1, request.train_ids + request.test_ids + 1)
    images = [image for pid in pids for image in _regdb_identity(request, pid)]
    files: dict[str, bytes] = {}
    for trial in range(1, REGDB_TRIALS + 1):
        files |= _regdb_trial(request, trial, images)
    return Plan(images, files, frozenset(range(REGDB_SCENES)))


def _regdb_identity(request: Request, pid: int) -> Iterator[PlannedImage]:
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
            scene = int(draw.integers(REGDB_SCENES))
            camid = REGDB_CAMERAS[modality]
            yield PlannedImage(pid, camid, modality, number, scene, (path,), facing)


def _regdb_trial(request: Request, trial: int, images: list[PlannedImage]) -> dict[str, bytes]:
    total = request.train_ids + request.test_ids
    order = seeded_generator(request.seed, "regdb trial", trial).permutation(total) + 1
    sides = {"train": order[: request.train_ids], "test": order[request.train_ids :]}
    files = {}
    for (side, pids), (modality, name) in itertools.product(
        sides.items(), ((VISIBLE, "visible"), (INFRARED, "thermal"))
    ):
        labels = {pid: label for label, pid in enumerate(sorted(pids.tolist()))}
        files[f"idx/{side}_{name}_{trial}.txt"] = _label_lines(
            (image.paths[0], labels[image.pid])
            for image in images
            if image.modality == modality and image.pid in labels
        )
    return files


SYSU_SCENES = {1: 1, 2: 2, 3: 2, 4: 4, 5: 5, 6: 6}  # cameras 2 and 3 hang in the same room
SYSU_OUTDOOR_SHARE = 0.35  # of the test identities were never in the rooms of cameras 1 and 2


def plan_sysu(request: Request) -> Plan:
    """Return SYSU-MM01: cam1..cam6, the id lists of exp/ and the official gallery draws.

    A third of the test identities has no image of cameras 1 and 2, as in the real set. A quarter of
    the training identities is listed in val_id.txt.

    Raises:
        ValueError: fewer than two test images per identity and modality.
    """
    _require_test_images(request, 2)
    train, test = request.split()
    images = [image for pid in train for image in _sysu_identity(request, pid, False)]
    images += [image for pid in test for image in _sysu_identity(request, pid, True)]
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for image in images:
        counts[image.camid, image.pid] += 1
    lists = {"train": train[: -(len(train) // 4) or None], "test": test}
    lists["val"] = [pid for pid in train if pid not in set(lists["train"])]
    lists["available"] = sorted(train + test)
    files = {f"exp/{name}_id.txt": _id_line(pids) for name, pids in lists.items()}
    files["exp/rand_perm_cam.mat"] = write_permutations(
        counts, len(lists["available"]), seeded_generator(request.seed, "rand_perm_cam", 0)
    )
    return Plan(images, files, frozenset({4, 5, 6}))


def _sysu_identity(request: Request, pid: int, is_test: bool) -> Iterator[PlannedImage]:
    draw = seeded_generator(request.seed, "sysu", pid)
    outdoor_only = is_test and draw.random() < SYSU_OUTDOOR_SHARE
    cameras = {VISIBLE: (4, 5) if outdoor_only else (1, 4, 2, 5), INFRARED: (6, 3)}
    count = request.test_images_per_id if is_test else request.images_per_id
    for modality, camids in cameras.items():
        for number in range(count):
            camid, shot = camids[number % len(camids)], number // len(camids) + 1
            path = f"cam{camid}/{pid:04d}/{shot:04d}.jpg"
            yield PlannedImage(pid, camid, modality, number, SYSU_SCENES[camid], (path,))


def _require_test_images(request: Request, least: int) -> None:
    if request.test_images_per_id < least:
        raise ValueError(
            f"test_images_per_id is {request.test_images_per_id}, need at least {least} so that "
            "a query has a match in another camera"
        )


def _id_line(pids: list[int]) -> bytes:
    return (",".join(map(str, pids)) + "\n").encode()


def _label_lines(rows: Iterator[tuple[str, int]]) -> bytes:
    return "".join(f"{path} {label}\n" for path, label in rows).encode()


LAYOUTS: dict[str, tuple[str, Callable[[Request], Plan]]] = {
    "llcm": ("LLCM", plan_llcm),
    "regdb": ("RegDB", plan_regdb),
    "sysu": ("SYSU-MM01", plan_sysu),
}
