import shutil

import pytest
from trees import make_regdb_tree

from wrimnet.config import get_cfg
from wrimnet.data.build import build_dataset
from wrimnet.data.datasets import RegDB
from wrimnet.modality import INFRARED, VISIBLE


@pytest.fixture
def folder(tmp_path):
    return make_regdb_tree(tmp_path)


@pytest.mark.parametrize("trial", [1, 2, 10])
def test_a_trial_reads_its_own_index_files_and_labels(folder, trial):
    dataset = RegDB(str(folder.parent), number=trial)
    for split, items in (("train", dataset.train), ("test", dataset.test)):
        lines = [
            line
            for modality in ("visible", "thermal")
            for line in (folder / "idx" / f"{split}_{modality}_{trial}.txt").read_text().split("\n")
            if line
        ]
        assert [f"{item.relpath} {item.pid}" for item in items] == lines
        assert [item.modality for item in items] == [VISIBLE] * 12 + [INFRARED] * 12
        assert all(item.camid == 1 + item.modality for item in items)
        assert all(item.path == f"{folder}/{item.relpath}" for item in items)
    assert dataset.num_train_pids == 4


def test_train_and_test_hold_different_folders_though_labels_repeat(folder):
    dataset = RegDB(str(folder.parent))
    folders = [{RegDB.parse_relpath(item.relpath)[0] for item in items}
               for items in (dataset.train, dataset.test)]  # fmt: skip
    assert folders == [{1, 3, 5, 7}, {2, 4, 6, 8}]
    assert {item.pid for item in dataset.train} == {item.pid for item in dataset.test}


def test_query_is_thermal_and_gallery_visible(folder):
    dataset = RegDB(str(folder.parent))
    assert {item.relpath.split("/")[0] for item in dataset.query} == {"Thermal"}
    assert {item.relpath.split("/")[0] for item in dataset.gallery} == {"Visible"}


@pytest.mark.parametrize("trial", [0, 11, -1, "1"])
def test_other_trials_are_refused(folder, trial):
    with pytest.raises(ValueError, match=r"RegDB has the trials 1 to 10, got"):
        RegDB(str(folder.parent), number=trial)


def test_split_train_holds_identities_of_the_trial_out(folder):
    whole, split = RegDB(str(folder.parent)), RegDB(str(folder.parent), split="train")
    assert len({item.pid for item in split.test}) == 2
    assert {item.pid for item in split.test}.isdisjoint(item.pid for item in split.train)
    assert sorted(split.train + split.test) == sorted(whole.train)


def test_identity_is_the_folder_and_its_number_is_not_padded():
    assert RegDB.parse_relpath("Visible/12/male_front_v_00007_12.bmp") == (12, 1, VISIBLE)
    assert RegDB.parse_relpath("Thermal/412/any name.bmp") == (412, 2, INFRARED)
    for relpath in ("visible/1/a.bmp", "Visible/01/a.bmp", "Visible/a.bmp", "x/Visible/1/a.bmp"):
        with pytest.raises(ValueError, match="is not a RegDB image path"):
            RegDB.parse_relpath(relpath)


def test_an_identity_in_both_lists_is_refused(folder):
    for modality in ("visible", "thermal"):
        shutil.copy(folder / f"idx/train_{modality}_1.txt", folder / f"idx/test_{modality}_1.txt")
    with pytest.raises(ValueError, match=r"identities \[1, 3, 5, 7\] .* both training and test"):
        RegDB(str(folder.parent))
    assert RegDB(str(folder.parent), number=2).num_train_pids == 4


def test_labels_that_differ_between_the_modalities_are_refused(folder):
    path = folder / "idx" / "train_thermal_1.txt"
    path.write_text(path.read_text().replace("_1.bmp 0", "_1.bmp 3"))
    with pytest.raises(ValueError, match=r"train_thermal_1\.txt:1 gives identity 1 the label 3"):
        RegDB(str(folder.parent))


@pytest.mark.parametrize(
    "missing", ["Thermal", "idx/test_visible_3.txt", "idx/train_thermal_3.txt"]
)
def test_what_is_missing_is_named(folder, missing):
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"RegDB/{missing}, which does not exist.*README"):
        RegDB(str(folder.parent), number=3)


def test_a_missing_image_is_named_with_its_index_line(folder):
    (folder / "Thermal" / "1" / "male_front_t_00019_1.bmp").unlink()
    with pytest.raises(FileNotFoundError, match=r"train_thermal_1\.txt:2: Thermal/1/male_front_t"):
        RegDB(str(folder.parent))


def test_the_trial_comes_from_the_configuration(folder):
    cfg = get_cfg()
    cfg.DATASETS.NAMES, cfg.DATASETS.ROOT, cfg.DATASETS.REGDB_TRIAL = ("RegDB",), "", 4
    cfg.DATASETS.ROOT = str(folder.parent)
    assert build_dataset(cfg).number == 4
