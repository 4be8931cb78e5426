"""What the three datasets share: splits, identities held out, query and gallery, summaries."""

import hashlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence

from tabulate import tabulate

from wrimnet.data.datasets.counts import count_differences, count_items
from wrimnet.data.datasets.expected_counts import EXPECTED_COUNTS
from wrimnet.data.datasets.layout import HELP, require_folder, stop
from wrimnet.data.items import ImageItem
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE

SPLITS = ("trainval", "train")
SYNTHETIC_MARK = "synthetic.json"  # written by the generator of drawn data, read by nobody else
HELD_OUT_SEED = 0

logger = logging.getLogger(__name__)


class CrossModalityDataset(ABC):
    """A dataset of visible and infrared images with disjoint training and test identities.

    `split="trainval"` trains on everything published for training and tests on the test set.
    `split="train"` is for choosing settings without the test set: identities are held out of
    training and their images are the test set.

    Args:
        root: folder that holds the dataset's folder.
        split: "trainval" or "train".
        combineall: FastReID's switch for training on test data; refused.

    Attributes:
        name: name in FastReID's registry.
        folder: the dataset's folder on disk.
        train: training images, visible first.
        test: test images of both modalities, visible first.

    Raises:
        ValueError: unknown split, combineall, malformed index file, unexpected folder, or an
            identity in both training and test.
        FileNotFoundError: a folder, an index file or an image it names does not exist.
    """

    name: str
    folder_name: str

    def __init__(
        self, root: str = "datasets", split: str = "trainval", combineall: bool = False
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is unknown; use one of {', '.join(SPLITS)}")
        if combineall:
            raise ValueError(f"combineall would train {self.name} on its test set; leave it off")
        self.folder = os.path.join(root, self.folder_name)
        require_folder(self.folder, stop)
        self.train = self._read_train()
        if split == "train":
            self._hold_out()
        else:
            self.test = self._read_test()
            self._warn_of_unpublished_counts()
        self._check_disjoint()

    @abstractmethod
    def _read_train(self) -> list[ImageItem]:
        """Reads the images published for training."""

    @abstractmethod
    def _read_test(self) -> list[ImageItem]:
        """Reads the images published for testing."""

    @abstractmethod
    def _identity(self, item: ImageItem) -> int:
        """Returns what names a person across training and test."""

    def _held_out_pids(self) -> set[int]:
        return held_out_tenth({item.pid for item in self.train})

    @property
    def query(self) -> list[ImageItem]:
        """Infrared test images, the queries of FastReID's own evaluator."""
        return [item for item in self.test if item.modality == INFRARED]

    @property
    def gallery(self) -> list[ImageItem]:
        """Visible test images, the gallery of FastReID's own evaluator."""
        return [item for item in self.test if item.modality == VISIBLE]

    @property
    def num_train_pids(self) -> int:
        """Number of training identities, C."""
        return len({item.pid for item in self.train})

    @property
    def is_synthetic(self) -> bool:
        """True for a drawn stand-in in the dataset's layout, not the dataset itself."""
        return is_synthetic(self.folder)

    def show_train(self) -> None:
        """Logs a table of the training images."""
        logger.info("%s, training images:\n%s", self.name, _table(self.train))

    def show_test(self) -> None:
        """Logs a table of the test images."""
        logger.info("%s, test images:\n%s", self.name, _table(self.test))

    def _hold_out(self) -> None:
        held_out = self._held_out_pids()
        self.test = [item for item in self.train if item.pid in held_out]
        self.train = [item for item in self.train if item.pid not in held_out]

    def _check_disjoint(self) -> None:
        train = {self._identity(item) for item in self.train}
        shared = sorted(train & {self._identity(item) for item in self.test})
        if shared:
            raise ValueError(
                f"identities {shared} of {self.folder} are in both training and test; take the "
                f"index files as distributed; {HELP}"
            )

    def _warn_of_unpublished_counts(self) -> None:
        found = {"train": count_items(self.train), "test": count_items(self.test)}
        differences = count_differences(found, EXPECTED_COUNTS[self.name])
        if differences and not self.is_synthetic:
            logger.warning(
                "%s differs from the published dataset (%s); run tools/check_dataset.py",
                self.folder,
                "; ".join(differences),
            )


def is_synthetic(folder: str) -> bool:
    """Says whether a dataset folder holds drawn stand-ins."""
    return os.path.isfile(os.path.join(folder, SYNTHETIC_MARK))


def held_out_tenth(pids: set[int]) -> set[int]:
    """Picks the tenth (at least 2) of the identities to hold out, the same on every machine.

    Identities are ranked by a hash of the seed and their number, so the choice depends on no
    library's random generator.

    Raises:
        ValueError: fewer than 4 identities, so that training would keep fewer than 2.
    """
    if len(pids) < 4:
        raise ValueError(
            f"split 'train' needs 4 training identities to hold out 2, got {len(pids)}"
        )
    ranked = sorted(
        pids, key=lambda pid: hashlib.sha256(f"{HELD_OUT_SEED}/{pid}".encode()).digest()
    )
    return set(ranked[: max(2, len(pids) // 10)])


def _table(items: Sequence[ImageItem]) -> str:
    counts = count_items(items)
    rows = [
        (name, counts[name]["identities"], counts[name]["images"], len(counts[name]["cameras"]))
        for name in MODALITY_NAMES
    ]
    headers = ("modality", "identities", "images", "cameras")
    return tabulate(rows, headers=headers, tablefmt="pipe")
