import logging
import re
import shutil

import pytest
from trees import make_llcm_tree, save_image

from wrimnet.data.build import build_dataset
from wrimnet.data.datasets import LLCM
from wrimnet.data.datasets.base import held_out_tenth
from wrimnet.modality import INFRARED, VISIBLE

TRAIN_IDS, TEST_IDS = (1, 2, 3, 5, 9), (4, 7, 8)


@pytest.fixture
def folder(tmp_path):
    return make_llcm_tree(tmp_path, TRAIN_IDS, TEST_IDS)


def test_train_follows_the_index_files(folder):
    dataset = LLCM(str(folder.parent))
    lines = [
        line.split(" ")[0]
        for name in ("train_vis.txt", "train_nir.txt")
        for line in (folder / "idx" / name).read_text().splitlines()
    ]
    assert [item.relpath for item in dataset.train] == lines
    assert [item.modality for item in dataset.train] == [VISIBLE] * 20 + [INFRARED] * 20
    assert {item.pid for item in dataset.train} == set(TRAIN_IDS)
    assert dataset.num_train_pids == 5
    for item in dataset.train:
        assert item.path == f"{folder}/{item.relpath}"
        assert f"/{item.pid:04d}_c{item.camid:02d}_" in item.relpath


def test_test_is_the_tree_by_modality_identity_and_camera(folder):
    dataset = LLCM(str(folder.parent))
    assert [tuple(item)[1:4] for item in dataset.test] == [
        (pid, camid, modality)
        for modality in (VISIBLE, INFRARED)
        for pid in TEST_IDS
        for camid in (1, 2, 5)
        for _ in range(2)
    ]
    assert all(item.relpath.split("/")[1] == f"cam{item.camid}" for item in dataset.test)
    assert dataset.gallery == dataset.test[:18] and dataset.query == dataset.test[18:]


def test_identities_the_test_list_leaves_out_are_not_used(folder, caplog):
    save_image(folder / "test_vis" / "cam1" / "0006" / "0006_c01_s1_f1_vis.jpg")
    with caplog.at_level(logging.INFO):
        dataset = LLCM(str(folder.parent))
    assert {item.pid for item in dataset.test} == set(TEST_IDS)
    assert "1 identities of the test folders are not in" in caplog.text


def test_a_root_with_cam_in_its_name_changes_nothing(folder, tmp_path):
    moved = tmp_path / "webcam4" / "cam9"
    moved.mkdir(parents=True)
    shutil.copytree(folder, moved / "LLCM")
    here, there = LLCM(str(tmp_path)), LLCM(str(moved))
    for ours, theirs in zip(here.train + here.test, there.train + there.test, strict=True):
        assert ours[1:] == theirs[1:]
        assert theirs.path.startswith(str(moved))


def test_only_non_images_are_ignored(folder):
    before = LLCM(str(folder.parent)).test
    for junk in ("cam1/.DS_Store", "cam1/0004/Thumbs.db", ".DS_Store"):
        (folder / "test_vis" / junk).write_text("junk")
    assert LLCM(str(folder.parent)).test == before
    save_image(folder / "test_vis" / "cam1" / "0004" / "copy.JPG")
    assert len(LLCM(str(folder.parent)).test) == len(before) + 1


def test_split_train_holds_identities_out(folder):
    whole, split = LLCM(str(folder.parent)), LLCM(str(folder.parent), split="train")
    held_out = {item.pid for item in split.test}
    assert len(held_out) == 2
    assert held_out.isdisjoint(item.pid for item in split.train)
    assert sorted(split.train + split.test) == sorted(whole.train)
    assert {item.camid for item in split.test} == {1, 2}
    assert all(LLCM.parse_relpath(item.relpath) == item[1:4] for item in split.test)
    assert LLCM(str(folder.parent), split="train").test == split.test


def test_a_tenth_is_held_out():
    pids = set(range(713))
    held_out = held_out_tenth(pids)
    assert len(held_out) == 71 and held_out < pids
    assert sorted(held_out_tenth({1, 2, 3, 5, 9})) == [2, 9]  # the same on every machine
    with pytest.raises(ValueError, match="needs 4 training identities to hold out 2, got 3"):
        held_out_tenth({1, 2, 3})


def test_unknown_splits_and_combineall_are_refused(folder):
    with pytest.raises(ValueError, match="split 'val' is unknown; use one of trainval, train"):
        LLCM(str(folder.parent), split="val")
    with pytest.raises(ValueError, match="combineall would train LLCM on its test set"):
        LLCM(str(folder.parent), combineall=True)


@pytest.mark.parametrize(
    ("relpath", "expected"),
    [
        ("vis/0001/0001_c03_s185535_f7010_vis.jpg", (1, 3, VISIBLE)),
        ("nir/0351/0351_c06_s200656_f4830_nir.jpg", (351, 6, INFRARED)),
        ("test_vis/cam9/1050/x.jpg", (1050, 9, VISIBLE)),
        ("test_nir/cam5/0012/0012_c05_s1_f1_nir.jpg", (12, 5, INFRARED)),
    ],
)
def test_paths_are_read_by_their_components(relpath, expected):
    assert LLCM.parse_relpath(relpath) == expected


@pytest.mark.parametrize(
    "relpath",
    [
        "x.jpg",
        "vis/0001/0001.jpg",
        "vis/1/0001_c01_s1_f1_vis.jpg",
        "vis/0001/0001_c00_s1_f1_vis.jpg",
        "test_vis/cam10/0001/x.jpg",
        "test_vis/0001/x.jpg",
        "/vis/0001/0001_c01_s1_f1_vis.jpg",
        "../vis/0001/0001_c01_s1_f1_vis.jpg",
    ],
)
def test_other_paths_are_refused(relpath):
    with pytest.raises(ValueError, match=re.escape(f"{relpath!r} is not an LLCM image path")):
        LLCM.parse_relpath(relpath)


def _missing_file(folder):
    (folder / "vis" / "0001" / "0001_c01_s1800_f0_vis.jpg").unlink()


def _append(name, line):
    def change(folder):
        with (folder / "idx" / name).open("a") as file:
            file.write(line + "\n")

    return change


def _replace(name, old, new):
    def change(folder):
        path = folder / "idx" / name
        path.write_text(path.read_text().replace(old, new))

    return change


BROKEN = {
    "no folder": (shutil.rmtree, FileNotFoundError, r"LLCM, which does not exist"),
    "no vis": (lambda f: shutil.rmtree(f / "vis"), FileNotFoundError, r"LLCM/vis, which"),
    "no index": (
        lambda f: (f / "idx" / "train_nir.txt").unlink(),
        FileNotFoundError,
        r"looked for the file .*train_nir\.txt",
    ),
    "no test list": (
        lambda f: (f / "idx" / "test_id.txt").unlink(),
        FileNotFoundError,
        r"looked for the file .*test_id\.txt",
    ),
    "no test tree": (
        lambda f: shutil.rmtree(f / "test_nir"),
        FileNotFoundError,
        r"looked for the folder .*test_nir",
    ),
    "no camera": (
        lambda f: shutil.rmtree(f / "test_nir" / "cam8"),
        FileNotFoundError,
        r"looked for the folder .*test_nir/cam8",
    ),
    "no image": (
        _missing_file,
        FileNotFoundError,
        r"1 of 40 indexed images .*train_vis\.txt:1: vis/0001/0001_c01_s1800_f0_vis\.jpg",
    ),
    "no test image of a listed identity": (
        _append("test_id.txt", "11,"),
        FileNotFoundError,
        r"1 listed identities have no image .*: 0011",
    ),
    "no label": (
        _append("train_vis.txt", "vis/0001/0001_c01_s1800_f0_vis.jpg"),
        ValueError,
        r"train_vis\.txt:21: expected 'relative/path label'",
    ),
    "label no number": (_append("train_vis.txt", "vis/a.jpg x"), ValueError, r"train_vis\.txt:21"),
    "path of another kind": (
        _append("train_vis.txt", "vis/a.jpg 0"),
        ValueError,
        r"train_vis\.txt:21: 'vis/a\.jpg' is not an LLCM image path",
    ),
    "other modality": (
        _append("train_vis.txt", "nir/0001/0001_c01_s1800_f0_nir.jpg 0"),
        ValueError,
        r"train_vis\.txt:21: .* is not in vis/",
    ),
    "label of another identity": (
        _replace("train_nir.txt", "0001_c01_s1801_f1_nir.jpg 0", "0001_c01_s1801_f1_nir.jpg 3"),
        ValueError,
        r"train_nir\.txt:2 gives identity 1 the label 3, but an earlier line gives identity 1 the "
        r"label 0; expected one label per identity",
    ),
    "one label for two identities": (
        _replace("train_vis.txt", "0002_c01_s1800_f0_vis.jpg 1", "0002_c01_s1800_f0_vis.jpg 0"),
        ValueError,
        r"train_vis\.txt:5 gives identity 2 the label 0, but an earlier line gives identity 1 the "
        r"same label; expected one label per identity",
    ),
    "empty index": (
        lambda f: (f / "idx" / "train_vis.txt").write_text("\n"),
        ValueError,
        r"train_vis\.txt lists no image",
    ),
    "binary index": (
        lambda f: (f / "idx" / "train_vis.txt").write_bytes(b"\xff\xfe\x00"),
        ValueError,
        r"train_vis\.txt is not a text file",
    ),
    "identity list with words": (
        _append("test_id.txt", "4a"),
        ValueError,
        r"test_id\.txt:2: '4a'; expected comma-separated integers",
    ),
    "empty identity list": (
        lambda f: (f / "idx" / "test_id.txt").write_text(",\n"),
        ValueError,
        r"test_id\.txt lists no identity",
    ),
    "unexpected folder": (
        lambda f: (f / "test_vis" / "cam1" / "12").mkdir(),
        ValueError,
        r"unexpected folder '12' in .*test_vis/cam1",
    ),
    "folder among images": (
        lambda f: (f / "test_vis" / "cam1" / "0004" / "more").mkdir(),
        ValueError,
        r"unexpected folder 'more'",
    ),
    "image among folders": (
        lambda f: save_image(f / "test_vis" / "cam1" / "x.jpg"),
        ValueError,
        r"image 'x\.jpg' in .*cam1, which holds folders only",
    ),
    "infrared camera 3": (
        lambda f: save_image(f / "test_nir" / "cam3" / "0004" / "x.jpg"),
        ValueError,
        r"LLCM has no cam3 in .*test_nir",
    ),
    "identity in both": (
        lambda f: (
            save_image(f / "test_vis" / "cam1" / "0001" / "x.jpg"),
            _append("test_id.txt", "1")(f),
        ),
        ValueError,
        r"identities \[1\] .* are in both training and test",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_tree_is_named_with_the_way_to_the_readme(folder, case):
    change, error, message = BROKEN[case]
    change(folder)
    with pytest.raises(error, match=message) as caught:
        LLCM(str(folder.parent))
    assert "datasets/README.md" in str(caught.value)


def test_an_empty_infrared_camera_3_is_as_distributed(folder):
    (folder / "test_nir" / "cam3").mkdir()
    (folder / "test_nir" / "cam3" / ".DS_Store").write_bytes(b"")
    assert len(LLCM(str(folder.parent)).test) == 36


def test_counts_other_than_published_are_one_warning_unless_drawn(folder, caplog):
    with caplog.at_level(logging.WARNING):
        assert LLCM(str(folder.parent)).stand_in == ""
    assert len(caplog.records) == 1
    assert "train, identities: found 5, expected 713" in caplog.text
    assert "test, images: found 36, expected 15846" in caplog.text
    caplog.clear()
    (folder / "synthetic.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert LLCM(str(folder.parent)).stand_in == "synthetic"
    assert not caplog.records
    (folder / "synthetic.json").write_text("half")
    with pytest.raises(ValueError, match=r"synthetic\.json is damaged; generate the dataset again"):
        LLCM(str(folder.parent))


def test_summaries_are_logged(folder, caplog):
    dataset = LLCM(str(folder.parent))
    with caplog.at_level(logging.INFO):
        dataset.show_train()
        dataset.show_test()
    assert re.search(r"training images:\n.*\n.*\n\| visible +\| +5 \| +20 \| +2 \|", caplog.text)
    assert re.search(r"test images:\n.*\n.*\n\| visible +\| +3 \| +18 \| +3 \|", caplog.text)


class TestBuildDataset:
    @pytest.fixture
    def cfg(self):
        from wrimnet.config import get_cfg

        cfg = get_cfg()
        cfg.DATASETS.NAMES = ("LLCM",)
        return cfg

    def test_root_beats_environment_beats_working_folder(self, cfg, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("datasets", "environment", "root"):
            make_llcm_tree(tmp_path / name)
        monkeypatch.delenv("FASTREID_DATASETS", raising=False)
        assert build_dataset(cfg).folder == "datasets/LLCM"
        monkeypatch.setenv("FASTREID_DATASETS", str(tmp_path / "environment"))
        assert build_dataset(cfg).folder == str(tmp_path / "environment" / "LLCM")
        cfg.DATASETS.ROOT = str(tmp_path / "root")
        assert build_dataset(cfg).folder == str(tmp_path / "root" / "LLCM")

    def test_split_is_passed_on(self, cfg, folder):
        cfg.DATASETS.ROOT, cfg.DATASETS.SPLIT = str(folder.parent), "train"
        assert build_dataset(cfg).num_train_pids == 3

    @pytest.mark.parametrize("names", [(), ("LLCM", "RegDB"), ("Market1501",), ("SYSU_mm",)])
    def test_other_names_are_refused(self, cfg, names):
        cfg.DATASETS.NAMES = names
        with pytest.raises(ValueError, match="expected exactly one of LLCM, RegDB, SYSU-MM01"):
            build_dataset(cfg)
