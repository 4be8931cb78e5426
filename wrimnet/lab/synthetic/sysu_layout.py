"""The tree of SYSU-MM01."""

from collections import Counter
from collections.abc import Iterator

from wrimnet.data.randomness import generator as seeded_generator
from wrimnet.lab.synthetic.permutations import write_permutations
from wrimnet.lab.synthetic.plan import Plan, PlannedImage, Request, id_line, require_test_images
from wrimnet.lab.synthetic.rendering import Shot
from wrimnet.modality import INFRARED, VISIBLE

SCENES = {1: 1, 2: 2, 3: 2, 4: 4, 5: 5, 6: 6}  # cameras 2 and 3 hang in the same room
OUTDOOR_SCENES = frozenset({4, 5, 6})
OUTDOOR_ONLY_SHARE = 0.35  # of the test identities were never in the rooms of cameras 1 and 2


def plan_sysu(request: Request) -> Plan:
    """Return SYSU-MM01: cam1..cam6, the id lists of exp/ and the official gallery samplings.

    A third of the test identities has no image of cameras 1 and 2, as in the real set. A quarter of
    the training identities is listed in val_id.txt.

    Raises:
        ValueError: fewer than two test images per identity and modality.
    """
    require_test_images(request, 2)
    train, test = request.split()
    images = [image for pid in train for image in _identity_images(request, pid, False)]
    images += [image for pid in test for image in _identity_images(request, pid, True)]
    counts = Counter((image.shot.camid, image.shot.pid) for image in images)
    num_val = max(len(train) // 4, 1)
    lists = {
        "train": train[:-num_val],
        "val": train[-num_val:],
        "test": test,
        "available": sorted(train + test),
    }
    files = {f"exp/{name}_id.txt": id_line(pids) for name, pids in lists.items()}
    files["exp/rand_perm_cam.mat"] = write_permutations(
        counts, len(lists["available"]), seeded_generator(request.seed, "rand_perm_cam", 0)
    )
    return Plan(images, files, OUTDOOR_SCENES, tuple(f"cam{camid}" for camid in range(1, 7)))


def _identity_images(request: Request, pid: int, is_test: bool) -> Iterator[PlannedImage]:
    draw = seeded_generator(request.seed, "sysu", pid)
    outdoor_only = is_test and draw.random() < OUTDOOR_ONLY_SHARE
    cameras = {VISIBLE: (4, 5) if outdoor_only else (1, 4, 2, 5), INFRARED: (6, 3)}
    count = request.test_images_per_id if is_test else request.images_per_id
    for modality, camids in cameras.items():
        for number in range(count):
            camid, shot = camids[number % len(camids)], number // len(camids) + 1
            path = f"cam{camid}/{pid:04d}/{shot:04d}.jpg"
            yield PlannedImage(Shot(pid, camid, modality, number, SCENES[camid]), (path,))
