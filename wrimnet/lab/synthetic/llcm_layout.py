"""The tree of LLCM."""

from collections.abc import Iterator

from wrimnet.data.randomness import generator as seeded_generator
from wrimnet.lab.synthetic.plan import (
    Plan,
    PlannedImage,
    Request,
    id_line,
    label_lines,
    require_test_images,
)
from wrimnet.lab.synthetic.rendering import Shot
from wrimnet.modality import INFRARED, VISIBLE

VISIBLE_CAMERAS = (1, 2, 3, 4, 5, 6, 7, 8, 9)
INFRARED_CAMERAS = (1, 2, 4, 5, 6, 7, 8, 9)
FOLDERS = (
    *(f"test_vis/cam{camid}" for camid in VISIBLE_CAMERAS),
    *(f"test_nir/cam{camid}" for camid in INFRARED_CAMERAS),
)
CAMERAS_PER_ID = 4
OUTDOOR_CAMERAS = frozenset({2, 4, 5, 8})


def plan_llcm(request: Request) -> Plan:
    """Return LLCM: vis/ and nir/ with everybody, test_vis/ and test_nir/ with the test set again.

    Each identity walks past four of the nine cameras, in either modality, so that a query finds its
    identity in another camera; for some, camera 3 takes the place of one in the visible images.

    Raises:
        ValueError: fewer than two test images per identity and modality.
    """
    require_test_images(request, 2)
    train, test = request.split()
    images = [image for pid in train for image in _identity_images(request, pid, False)]
    images += [image for pid in test for image in _identity_images(request, pid, True)]
    files = {"idx/test_id.txt": id_line(test)}
    for name, pids in (("train", train), ("test", test)):
        labels = {pid: label for label, pid in enumerate(pids)}
        for modality, folder in ((VISIBLE, "vis"), (INFRARED, "nir")):
            chosen = [i for i in images if i.shot.pid in labels and i.shot.modality == modality]
            files[f"idx/{name}_{folder}.txt"] = label_lines(
                (image.paths[0], labels[image.shot.pid]) for image in chosen
            )
    return Plan(images, files, OUTDOOR_CAMERAS, FOLDERS)


def _identity_images(request: Request, pid: int, is_test: bool) -> Iterator[PlannedImage]:
    draw = seeded_generator(request.seed, "llcm", pid)
    chosen = draw.permutation(INFRARED_CAMERAS)[:CAMERAS_PER_ID].tolist()
    cameras = {INFRARED: chosen, VISIBLE: [*chosen[:-1], 3] if draw.random() < 0.3 else chosen}
    count = request.test_images_per_id if is_test else request.images_per_id
    clock = int(draw.integers(8 * 3600, 20 * 3600))
    for modality, name in ((VISIBLE, "vis"), (INFRARED, "nir")):
        frame = int(draw.integers(1, 3000))
        for number in range(count):
            camid = cameras[modality][number % CAMERAS_PER_ID]
            clock, frame = clock + int(draw.integers(5, 60)), frame + int(draw.integers(4, 40))
            time = f"{clock // 3600:02d}{clock // 60 % 60:02d}{clock % 60:02d}"
            file = f"{pid:04d}_c{camid:02d}_s{time}_f{frame}_{name}.jpg"
            paths = [f"{name}/{pid:04d}/{file}"]
            if is_test:
                paths.append(f"test_{name}/cam{camid}/{pid:04d}/{file}")
            yield PlannedImage(Shot(pid, camid, modality, number, camid), tuple(paths))
