"""A dataset whose labels are in a file alone: its paths say nothing."""

import pytest

from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.images import ImageItem


class Listed(CrossModalityDataset):
    name = title = folder_name = "Listed"
    protocols = default_protocols = ()
    test_pids = (3, 4)

    @staticmethod
    def read_train(folder, number, on_problem):
        return [
            ImageItem(f"{folder}/{n}.jpg", n, 1 + n % 2, n % 2, f"{n}.jpg") for n in range(1, 3)
        ]

    @classmethod
    def read_test(cls, folder, number, on_problem):
        return [ImageItem(f"{folder}/{n}.jpg", n, 1, n % 2, f"{n}.jpg") for n in cls.test_pids]


def test_identities_are_those_of_the_items(tmp_path):
    (tmp_path / "Listed").mkdir()
    dataset = Listed(root=str(tmp_path))
    assert [dataset.person_of(item) for item in dataset.test] == [3, 4]


def test_identity_in_training_and_test_is_refused(tmp_path, monkeypatch):
    (tmp_path / "Listed").mkdir()
    monkeypatch.setattr(Listed, "test_pids", (2, 4))
    with pytest.raises(ValueError, match=r"identities \[2\] of .*Listed are in both"):
        Listed(root=str(tmp_path))


def test_paths_alone_are_refused():
    with pytest.raises(ValueError, match="paths of this dataset hold no labels; score"):
        Listed.parse_relpath("1.jpg")
