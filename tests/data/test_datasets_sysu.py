import logging
import shutil

import pytest
from trees import make_sysu_tree, save_image

from wrimnet.config import get_cfg
from wrimnet.data.build import build_dataset
from wrimnet.data.datasets import SYSU_MM01
from wrimnet.modality import INFRARED, VISIBLE


@pytest.fixture
def folder(tmp_path):
    return make_sysu_tree(tmp_path)


def expected_labels(pids, num_images=3):
    return [
        (pid, camid, modality)
        for modality, camids in ((VISIBLE, (1, 2, 4, 5)), (INFRARED, (3, 6)))
        for pid in pids
        for camid in camids
        for _ in range(num_images)
        if not (pid == 10 and camid in (1, 2))
    ]


def test_train_is_train_and_val_together(folder):
    dataset = SYSU_MM01(str(folder.parent))
    assert [tuple(item)[1:4] for item in dataset.train] == expected_labels((1, 2, 3, 5, 9))
    assert [tuple(item)[1:4] for item in dataset.test] == expected_labels((6, 10, 21))
    for item in dataset.train + dataset.test:
        assert item.path == f"{folder}/{item.relpath}"
        assert item.relpath.startswith(f"cam{item.camid}/{item.pid:04d}/")
    assert {item.camid for item in dataset.query} == {3, 6}
    assert {item.camid for item in dataset.gallery} == {1, 2, 4, 5}


def test_split_train_tests_on_the_validation_identities(folder):
    dataset = SYSU_MM01(str(folder.parent), split="train")
    assert [tuple(item)[1:4] for item in dataset.train] == expected_labels((1, 2, 5))
    assert [tuple(item)[1:4] for item in dataset.test] == expected_labels((3, 9))


@pytest.mark.parametrize("text", ["1,2,5", "1,2,5,\n", "5,2,1\n\n", "1, 2,\n5,\n", "1,2,5,\r\n"])
def test_identity_lists_may_end_as_they_like(folder, text):
    (folder / "exp" / "train_id.txt").write_bytes(text.encode())
    assert SYSU_MM01(str(folder.parent)).num_train_pids == 5


@pytest.mark.parametrize("text", ["1,2,x", "1,2.5", "1,,2,-5", "1,2\n2,5"])
def test_a_malformed_identity_list_is_named(folder, text):
    (folder / "exp" / "train_id.txt").write_text(text)
    with pytest.raises(ValueError, match=r"train_id\.txt:[12]: .* expected comma-separated"):
        SYSU_MM01(str(folder.parent))


@pytest.mark.parametrize("missing", ["cam6", "exp/val_id.txt", "exp/test_id.txt"])
def test_what_is_missing_is_named(folder, missing):
    path = folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"SYSU-MM01/{missing}, which does not.*README"):
        SYSU_MM01(str(folder.parent))


def test_a_listed_identity_without_images_is_named(folder):
    for camera in range(1, 7):
        shutil.rmtree(folder / f"cam{camera}" / "0005")
    with pytest.raises(FileNotFoundError, match=r"1 listed identities have no image in .*: 0005"):
        SYSU_MM01(str(folder.parent))


def test_identities_on_no_list_are_not_read(folder):
    before = SYSU_MM01(str(folder.parent))
    save_image(folder / "cam1" / "0400" / "0001.jpg")
    after = SYSU_MM01(str(folder.parent))
    assert (after.train, after.test) == (before.train, before.test)


def test_an_unexpected_folder_is_named(folder):
    (folder / "cam2" / "extra").mkdir()
    with pytest.raises(ValueError, match=r"unexpected folder 'extra' in .*cam2"):
        SYSU_MM01(str(folder.parent))


def test_identities_in_both_training_and_test_are_refused(folder):
    (folder / "exp" / "test_id.txt").write_text("6,3,21")
    with pytest.raises(ValueError, match=r"identities \[3\] .* both training and test"):
        SYSU_MM01(str(folder.parent))


def test_a_root_with_cam_in_its_name_changes_nothing(tmp_path):
    make_sysu_tree(tmp_path / "cam3" / "0001")
    dataset = SYSU_MM01(str(tmp_path / "cam3" / "0001"))
    assert [tuple(item)[1:4] for item in dataset.test] == expected_labels((6, 10, 21))


def test_paths_are_read_by_their_components():
    assert SYSU_MM01.parse_relpath("cam2/0333/0007.jpg") == (333, 2, VISIBLE)
    assert SYSU_MM01.parse_relpath("cam3/0001/0001.jpg") == (1, 3, INFRARED)
    for relpath in ("cam7/0001/0001.jpg", "cam1/1/0001.jpg", "cam1/0001.jpg", "a/cam1/0001/1.jpg"):
        with pytest.raises(ValueError, match="is not a SYSU-MM01 image path"):
            SYSU_MM01.parse_relpath(relpath)


def test_published_counts_include_cameras(folder, caplog):
    with caplog.at_level(logging.WARNING):
        SYSU_MM01(str(folder.parent))
    assert "test, infrared, cameras, 3, images: found 9, expected 1883" in caplog.text


def test_it_is_built_by_name(folder):
    cfg = get_cfg()
    cfg.DATASETS.NAMES, cfg.DATASETS.ROOT = ("SYSU_MM01",), str(folder.parent)
    assert type(build_dataset(cfg)) is SYSU_MM01
