"""The index on disk: whole, appendable, and strict about what it holds."""

import json
import os

import numpy as np
import pytest

from wrimnet.lab.search.image_folder import list_images
from wrimnet.lab.search.index import EmbeddingIndex, IndexFacts
from wrimnet.run_folder import write_json

FACTS = IndexFacts(model="WRIMNet-18x", model_hash="a" * 64, modality="visible", dim=8)


def unit_rows(count, dim=8, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def index(tmp_path):
    index = EmbeddingIndex(tmp_path / "index", FACTS)
    index.append(unit_rows(5), [f"{row}.jpg" for row in range(5)])
    return index


def contents(index):
    return {path.name: path.read_bytes() for path in index.folder.iterdir()}


def test_reopened_index_has_rows_and_paths_in_order(index):
    index.append(unit_rows(3, seed=1), ["x.jpg", "y.jpg", "ü.jpg"])
    opened = EmbeddingIndex.open(index.folder)
    expected = np.concatenate([unit_rows(5), unit_rows(3, seed=1)])
    np.testing.assert_array_equal(np.concatenate(opened.arrays()), expected)
    assert opened.paths()[3:] == ["3.jpg", "4.jpg", "x.jpg", "y.jpg", "ü.jpg"]
    assert len(opened) == 8
    assert opened.facts == FACTS


def test_float16_halves_the_file_and_keeps_the_rows(tmp_path):
    facts = IndexFacts(**{**FACTS.__dict__, "dtype": "float16"})
    index = EmbeddingIndex(tmp_path, facts)
    index.append(unit_rows(4), list("abcd"))
    np.testing.assert_allclose(index.arrays()[0], unit_rows(4), atol=1e-3)
    assert index.arrays()[0].dtype == np.float16


@pytest.mark.parametrize(
    ("embeddings", "paths", "message"),
    [
        (unit_rows(1, dim=7), ["n"], r"shape \(1, 7\), expected \(1, 8\)"),
        (unit_rows(2), ["n"], r"shape \(2, 8\), expected \(1, 8\)"),
        (2 * unit_rows(1), ["n"], "the embedding of n has L2 norm 2"),
        (np.full((1, 8), np.nan, np.float32), ["n"], "the embedding of n has L2 norm nan"),
    ],
)
def test_refused_rows_leave_the_index_whole(index, embeddings, paths, message):
    before = contents(index)
    with pytest.raises(ValueError, match=message):
        index.append(embeddings, paths)
    assert contents(index) == before
    assert len(EmbeddingIndex.open(index.folder)) == 5


def test_stop_before_the_last_step_leaves_the_index_whole(index, monkeypatch):
    def fail(path, content):
        raise OSError("no space left on device")

    monkeypatch.setattr("wrimnet.lab.search.index.write_json", fail)
    with pytest.raises(OSError, match="no space"):
        index.append(unit_rows(2, seed=1), ["a", "b"])
    monkeypatch.undo()
    opened = EmbeddingIndex.open(index.folder)
    assert len(opened) == len(index) == 5
    opened.append(unit_rows(2, seed=1), ["a", "b"])
    assert EmbeddingIndex.open(index.folder).paths()[-2:] == ["a", "b"]


@pytest.mark.parametrize("name", ["embeddings_00000.npy", "paths_00000.json"])
def test_short_and_missing_files_are_found(index, name):
    path = index.folder / name
    for content in (path.read_bytes()[:-30], b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"is damaged \(.*\); index the images again"):
            EmbeddingIndex.open(index.folder)
    path.unlink()
    with pytest.raises(ValueError, match=r"is damaged"):
        EmbeddingIndex.open(index.folder)


def test_rows_without_paths_are_found(index):
    (index.folder / "paths_00000.json").write_text('["0.jpg"]')
    with pytest.raises(ValueError, match="5 embeddings of 1 images"):
        EmbeddingIndex.open(index.folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 7}', ""])
def test_damaged_list_of_files_is_found(index, text):
    (index.folder / "index.json").write_text(text)
    with pytest.raises(ValueError, match=r"index is damaged"):
        EmbeddingIndex.open(index.folder)


def test_absent_index_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no index in"):
        EmbeddingIndex.open(tmp_path)


def test_impossible_facts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a modality of"):
        EmbeddingIndex(tmp_path, IndexFacts(**{**FACTS.__dict__, "modality": "thermal"}))


def test_another_model_and_another_modality_are_refused(index):
    index.check_model("a" * 64)
    index.check_modality("visible")
    with pytest.raises(ValueError, match=r"made by another model \(WRIMNet-18x, hash aaaaaaaaaaaa"):
        index.check_model("b" * 64)
    with pytest.raises(ValueError, match="holds visible images, not infrared"):
        index.check_modality("infrared")


def test_images_are_listed_in_order_and_an_empty_folder_is_refused(tmp_path):
    for name in ("b/2.jpg", "a/3.PNG", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listed = [str((tmp_path / name).resolve()) for name in ("a/3.PNG", "b/2.jpg")]
    assert list_images([tmp_path]) == (listed, {".txt": 1})
    assert list_images([listed[1]]) == (listed[1:], {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no image in .*empty: looked for \.avif, \.bmp"):
        list_images([tmp_path / "empty"])
    for absent in (tmp_path / "absent", ""):
        with pytest.raises(FileNotFoundError, match=rf"'{absent}' does not exist"):
            list_images([absent])


def test_linked_folders_are_listed_and_what_is_left_out_is_counted(tmp_path):
    for name in ("all/1.jpg", "all/.cache/2.jpg", "all/.3.jpg", "all/4.raw", "all/5.RAW", "all/6",
                 "elsewhere/deep/7.gif", "elsewhere/8.webp"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "all" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "all" / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "all" / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    found = list_images([tmp_path / "all"])
    names = ("all/1.jpg", "elsewhere/deep/7.gif", "elsewhere/8.webp")
    assert found.paths == [str(tmp_path.resolve() / name) for name in names]
    assert found.describe_left_out() == (
        "2 .raw, 2 hidden, 1 links to nothing or no files, 1 without ending"
    )


def test_a_link_to_a_folder_above_is_refused(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    with pytest.raises(ValueError, match="up is a link to a folder above it; remove the link"):
        list_images([tmp_path / "a"])


def test_only_other_files_are_named_by_the_refusal(tmp_path):
    (tmp_path / "a.raw").touch()
    with pytest.raises(ValueError, match=r"at any depth, found 1 \.raw"):
        list_images([tmp_path])


def test_names_that_are_not_utf_8_are_kept_as_bytes(tmp_path):
    folder = os.fsencode(tmp_path)
    names = [b"caf\xe9.png", "caf\u00e9 2.png".encode(), b"\xff\xfe.png"]
    for name in names:
        with open(os.path.join(folder, name), "wb"):
            pass
    paths = list_images([tmp_path]).paths
    assert sorted(os.path.basename(os.fsencode(path)) for path in paths) == sorted(names)
    index = EmbeddingIndex(tmp_path / "index", FACTS)
    index.append(np.eye(3, FACTS.dim, dtype=np.float32), paths)
    assert EmbeddingIndex.open(tmp_path / "index").paths() == paths
    write_json(tmp_path / "found.json", {"paths": paths})
    assert json.loads((tmp_path / "found.json").read_text("utf-8"))["paths"] == paths
