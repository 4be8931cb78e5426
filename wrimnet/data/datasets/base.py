"""What the datasets share: splits, identities held out, query and gallery, counts, summaries.

A custom dataset is one file: a subclass of :class:`CrossModalityDataset`, registered in
FastReID's DATASET_REGISTRY, in a module that PLUGINS names. Training, the dataset check, the
evaluation of other code's features, tables and reports find everything they need on the class.
"""

import hashlib
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tabulate import tabulate

from wrimnet.data.datasets.layout import HELP, OnProblem, check_names, require_folder, stop
from wrimnet.data.images import SYNTHETIC_MARK, ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE

Counts = dict[str, Any]

SPLITS = ("trainval", "train")
DRAWN = "synthetic"
HELD_OUT_SEED = 0
KNOWN_COUNTS = ("train", "test", *MODALITY_NAMES, "cameras", "images", "identities")

logger = logging.getLogger(__name__)


class CrossModalityDataset(ABC):
    """A dataset of visible and infrared images with disjoint training and test identities.

    `split="trainval"` trains on everything published for training and tests on the test set.
    `split="train"` is for choosing settings without the test set: identities are held out of
    training and their images are the test set.

    Args:
        root: folder that holds the dataset's folder.
        split: "trainval" or "train".
        number: which of `numbers`, where the dataset is divided in several ways.
        combineall: FastReID's switch for training on test data; refused.

    Attributes:
        name: name in FastReID's registry, the class's own.
        title: what people call it.
        aliases: other names that are accepted where a user types one.
        folder_name: of its folder below the root.
        protocols: all of them; () for a dataset without labels, which is not evaluated.
        default_protocols: names of those that are run where none are named.
        numbers: of its divisions into training and test, each with a model of its own.
        number_key: configuration key that chooses among `numbers`; "" for a single one.
        expected_counts: published sizes, in the shape that :func:`count_items` returns per split
            ({"train": ..., "test": ...}), any part left out; None where nothing is published.
        permutation_file: of the official gallery sampling, below the folder; "" for none.
        folder: the dataset's folder on disk.
        train: training images, visible first.
        test: test images of both modalities, visible first.

    Raises:
        ValueError: unknown split or number, combineall, malformed index file, unexpected folder, or
            an identity in both training and test.
        FileNotFoundError: a folder, an index file or an image it names does not exist.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    folder_name: ClassVar[str]
    protocols: ClassVar[tuple[Protocol, ...]]
    default_protocols: ClassVar[tuple[str, ...]]
    numbers: ClassVar[tuple[int, ...]] = (1,)
    number_key: ClassVar[str] = ""
    expected_counts: ClassVar[Counts | None] = None
    permutation_file: ClassVar[str] = ""
    train_folders: ClassVar[tuple[str, ...]] = ()  # at the top, without a test image

    def __init__(
        self,
        root: str = "datasets",
        split: str = "trainval",
        number: int = 1,
        combineall: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is unknown; use one of {', '.join(SPLITS)}")
        if combineall:
            raise ValueError(f"combineall would train {self.name} on its test set; leave it off")
        if number not in self.numbers:
            first, last = self.numbers[0], self.numbers[-1]
            raise ValueError(f"{self.name} has the trials {first} to {last}, got {number!r}")
        self.number = number
        self.folder = os.path.join(root, self.folder_name)
        require_folder(self.folder, stop)
        self.train = check_names(self.read_train(self.folder, number, stop), stop)
        if split == "train":
            self._hold_out()
        else:
            self.test = check_names(self.read_test(self.folder, number, stop), stop)
            self._warn_of_unpublished_counts()
        self._check_disjoint()

    @staticmethod
    def parse_relpath(relpath: str) -> tuple[int, int, int]:
        """Returns (person, camid, modality) of an image from its path inside the dataset's folder.

        A person's number is the same in training and in test. A dataset whose paths do not hold
        the labels leaves it out.

        Raises ValueError: the path is no image path of the dataset.
        """
        raise ValueError(
            f"{relpath!r}: paths of this dataset hold no labels; score its features by "
            "wrimnet.score with the images of load_dataset"
        )

    @classmethod
    def person_of(cls, item: ImageItem) -> int:
        """Returns the number of the person of an image, the same in training and in test."""
        if cls.parse_relpath is CrossModalityDataset.parse_relpath:
            return item.pid
        return cls.parse_relpath(item.relpath)[0]

    @staticmethod
    @abstractmethod
    def read_train(folder: str, number: int, on_problem: OnProblem) -> list[ImageItem]:
        """Reads the images published for training; each deviation is given to ``on_problem``."""

    @staticmethod
    @abstractmethod
    def read_test(folder: str, number: int, on_problem: OnProblem) -> list[ImageItem]:
        """Reads the images published for testing."""

    @classmethod
    def describe_number(cls, number: int) -> dict[str, int]:
        """What results and checkpoints say of the division: {} where there is a single one."""
        return {f"{cls.name.lower()}_trial": number} if cls.number_key else {}

    def held_out_pids(self) -> set[int]:
        """Identities that `split="train"` tests on."""
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
    def stand_in(self) -> str:
        """What images in the dataset's layout are instead of the dataset's own, "" for its own."""
        return stand_in(self.folder)

    def show_train(self) -> None:
        """Logs a table of the training images."""
        logger.info("%s, training images:\n%s", self.name, _table(self.train))

    def show_test(self) -> None:
        """Logs a table of the test images."""
        logger.info("%s, test images:\n%s", self.name, _table(self.test))

    def _hold_out(self) -> None:
        """Tests on images of training, which no list names: they are in all lists of protocols."""
        held_out = self.held_out_pids()
        named = {of for p in self.protocols for of in (p.query_list, p.gallery_list) if of}
        held_items = [item for item in self.train if item.pid in held_out]
        self.test = [item._replace(lists=tuple(sorted(named))) for item in held_items]
        self.train = [item for item in self.train if item.pid not in held_out]

    def _check_disjoint(self) -> None:
        train, test = (
            {self.person_of(item) for item in items} for items in (self.train, self.test)
        )
        if train & test:
            raise ValueError(
                f"identities {sorted(train & test)} of {self.folder} are in both training and "
                f"test; take the index files as distributed; {HELP}"
            )

    def _warn_of_unpublished_counts(self) -> None:
        counts = {"train": count_items(self.train), "test": count_items(self.test)}
        differences = count_differences(counts, self.expected_counts or {})
        if differences and not self.stand_in:
            logger.warning(
                "%s differs from the published dataset (%s); run tools/check_dataset.py",
                self.folder,
                "; ".join(differences),
            )


def stand_in(folder: str) -> str:
    """Says what a dataset's folder holds instead of the published images, such as "synthetic".

    Raises ValueError: the file that notes it is damaged.
    """
    path = Path(folder, SYNTHETIC_MARK)
    try:
        noted = json.loads(path.read_bytes()) if path.is_file() else None
        return "" if noted is None else noted.get("what", DRAWN)
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged; generate the dataset again") from error


def held_out_tenth(pids: set[int]) -> set[int]:
    """Picks the tenth (at least 2) of 4 identities or more to hold out, the same everywhere.

    They are ranked by a hash of seed and number, so the choice depends on no random generator.
    """
    if len(pids) < 4:
        raise ValueError(
            f"split 'train' needs 4 training identities to hold out 2, got {len(pids)}"
        )
    ranked = sorted(
        pids, key=lambda pid: hashlib.sha256(f"{HELD_OUT_SEED}/{pid}".encode()).digest()
    )
    return set(ranked[: max(2, len(pids) // 10)])


def size_of(images: int, identities: int) -> Counts:
    """A row of published counts."""
    return {"images": images, "identities": identities}


def count_items(items: Sequence[ImageItem]) -> Counts:
    """Counts images and identities of a split, per modality, per modality and camera, for JSON."""
    counts: Counts = _size(items)
    for modality, name in enumerate(MODALITY_NAMES):
        of_modality = [item for item in items if item.modality == modality]
        camids = sorted({item.camid for item in of_modality})
        counts[name] = _size(of_modality)
        counts[name]["cameras"] = {
            str(camid): _size(item for item in of_modality if item.camid == camid)
            for camid in camids
        }
    return counts


def count_differences(counts: Counts, expected: Counts, prefix: str = "") -> list[str]:
    """Names every expected count that was not found: "train, images: found 10, expected 12".

    Keys that ``expected`` leaves out are not compared; each difference begins with ``prefix``.
    """
    differences = []
    for key, number in expected.items():
        where = f"{prefix}, {key}" if prefix else key
        if isinstance(number, dict):
            differences += count_differences(counts.get(key, {}), number, where)
        elif counts.get(key, 0) != number:
            differences.append(f"{where}: found {counts.get(key, 0)}, expected {number}")
    return differences


def check_counts(counts: Any, place: str = "counts") -> Counts:
    """Returns expected counts read from elsewhere, if they have the shape of `count_items`.

    Raises ValueError: a value is neither an integer nor a dict of such, or a key has no meaning.
    """
    if not isinstance(counts, dict):
        raise ValueError(f"{place} is {counts!r}; expected a JSON object of counts")
    for key, value in counts.items():
        if key not in KNOWN_COUNTS and not key.isdecimal():
            raise ValueError(f"{place} has the key {key!r}; expected {', '.join(KNOWN_COUNTS)}")
        if not isinstance(value, int) or isinstance(value, bool):
            check_counts(value, f"{place}, {key}")
    return counts


def _size(items: Iterable[ImageItem]) -> Counts:
    pids = [item.pid for item in items]
    return size_of(len(pids), len(set(pids)))


def _table(items: Sequence[ImageItem]) -> str:
    counts = count_items(items)
    rows = [
        (name, counts[name]["identities"], counts[name]["images"], len(counts[name]["cameras"]))
        for name in MODALITY_NAMES
    ]
    headers = ("modality", "identities", "images", "cameras")
    return tabulate(rows, headers=headers, tablefmt="pipe")
