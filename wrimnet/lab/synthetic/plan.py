"""What a generated tree shall hold, and the list of images and files that it comes down to."""

from collections.abc import Iterable
from dataclasses import dataclass

from wrimnet.data.randomness import generator as seeded_generator
from wrimnet.lab.synthetic.rendering import Shot


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


# of the demo, of the tables on synthetic data and of make_synthetic.py where nothing else is asked
USUAL = Request(seed=0, train_ids=200, test_ids=80, images_per_id=8, test_images_per_id=8)


@dataclass(frozen=True)
class PlannedImage:
    """An image to render.

    Args:
        shot: what to render.
        paths: POSIX paths inside the dataset's folder; the same bytes go to each.
    """

    shot: Shot
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A whole tree.

    Args:
        images: what to render.
        files: content of every other file by POSIX path.
        outdoor_scenes: numbers of the scenes that lie outdoors.
        folders: folders that a tree always has, though a small one may leave them empty.
    """

    images: list[PlannedImage]
    files: dict[str, bytes]
    outdoor_scenes: frozenset[int]
    folders: tuple[str, ...]


def require_test_images(request: Request, least: int) -> None:
    """Raise ValueError below ``least`` test images per identity and modality."""
    if request.test_images_per_id < least:
        raise ValueError(
            f"test_images_per_id is {request.test_images_per_id}, expected at least {least}, so "
            "that a query has a match in another camera"
        )


def id_line(pids: list[int]) -> bytes:
    """Return identities as SYSU-MM01 and LLCM list them: one line with commas."""
    return (",".join(map(str, pids)) + "\n").encode()


def label_lines(rows: Iterable[tuple[str, int]]) -> bytes:
    """Return ``path label`` lines as LLCM and RegDB list their images."""
    return "".join(f"{path} {label}\n" for path, label in rows).encode()
