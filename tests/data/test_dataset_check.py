import json
import os
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from check_dataset import ADVICE, as_json, in_words, published_counts
from damaged_jpegs import noise_jpeg, overwritten
from PIL import Image
from thermal_frames import make_thermal_tree
from tiny_runs import make_noise_tree
from trees import make_llcm_tree, make_regdb_tree, make_sysu_tree, save_image
from warm_python import run_python

from wrimnet.data.datasets import LLCM, SYSU_MM01, RegDB
from wrimnet.data.datasets.base import check_counts, count_differences, count_items
from wrimnet.data.datasets.dataset_check import examine
from wrimnet.data.datasets.image_check import open_pictures
from wrimnet.registries import find_dataset

TOOL = Path(__file__).parents[2] / "tools" / "check_dataset.py"
TREES = {LLCM: make_llcm_tree, RegDB: make_regdb_tree, SYSU_MM01: make_sysu_tree}


def look(dataset, root, *, expected=None, open_images=True):
    return examine(dataset, str(root), expected=expected, open_images=open_images, workers=0)


def kinds(examination):
    return {finding.kind for finding in examination.findings}


@pytest.fixture(params=list(TREES), ids=lambda dataset: dataset.name)
def dataset(request):
    return request.param


@pytest.fixture
def folder(dataset, tmp_path):
    return TREES[dataset](tmp_path)


class TestSound:
    def test_a_sound_tree_has_no_finding(self, dataset, folder):
        examination = look(dataset, folder.parent)
        assert examination.findings == []
        images = [path for path in folder.rglob("*") if path.suffix in (".jpg", ".bmp")]
        assert examination.num_images_opened == len(images)
        assert "SOUND: all that was checked holds." in in_words(examination)

    def test_it_counts_what_the_readers_read(self, dataset, folder):
        read = dataset(str(folder.parent))
        found = look(dataset, folder.parent, open_images=False)
        label = "trial 1" if dataset is RegDB else ""
        assert found.counts[label] == {
            "train": count_items(read.train),
            "test": count_items(read.test),
        }
        assert found.num_images_opened == 0

    def test_its_own_counts_are_met(self, dataset, folder):
        counts = look(dataset, folder.parent, open_images=False).counts
        expected = next(iter(counts.values()))
        assert look(dataset, folder.parent, expected=expected, open_images=False).findings == []
        assert check_counts(json.loads(json.dumps(expected))) == expected

    def test_published_counts_are_not_met_by_a_tiny_tree(self, dataset, folder):
        expected = published_counts(dataset, str(folder.parent))
        assert expected == dataset.expected_counts
        assert kinds(look(dataset, folder.parent, expected=expected, open_images=False)) == {
            "counts"
        }
        (folder / "synthetic.json").write_text("{}")
        assert published_counts(dataset, str(folder.parent)) is None
        assert "drawn stand-in" in in_words(look(dataset, folder.parent, open_images=False))


class TestBroken:
    def test_an_unreadable_image_is_named(self, dataset, folder):
        bad = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".bmp"))[0]
        bad.write_bytes(bad.read_bytes()[:20])
        examination = look(dataset, folder.parent)
        assert kinds(examination) == {"unreadable"}
        assert examination.findings[0].text.startswith(f"{bad}: ")
        assert look(dataset, folder.parent, open_images=False).findings == []

    def test_damage_that_the_decoder_only_warns_of_is_named(self, tmp_path):
        folder = make_llcm_tree(tmp_path)
        bad = sorted(folder.rglob("*.jpg"))[0]
        bad.write_bytes(overwritten(noise_jpeg()))
        (finding,) = look(LLCM, tmp_path).findings
        assert finding.kind == "unreadable"
        assert finding.text.startswith(f"{bad}: Corrupt JPEG data: ")

    def test_an_empty_folder_gives_findings_not_an_error(self, dataset, folder):
        shutil.rmtree(folder)
        assert kinds(look(dataset, folder.parent)) == {"missing"}
        folder.mkdir()
        examination = look(dataset, folder.parent)
        assert "missing" in kinds(examination)
        assert ADVICE["missing"][1] in in_words(examination)

    def test_a_file_where_the_folder_should_be_is_a_finding(self, dataset, folder):
        shutil.rmtree(folder)
        folder.write_text("")
        assert kinds(look(dataset, folder.parent)) == {"missing"}

    def test_every_part_may_vanish(self, dataset, folder, tmp_path):
        parts = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_dir())
        parts += sorted(path.relative_to(folder) for path in folder.rglob("*.txt"))
        for part in parts[:: max(1, len(parts) // 12)]:
            copy = tmp_path / "copies" / folder.name
            shutil.copytree(folder, copy)
            target = copy / part
            shutil.rmtree(target) if target.is_dir() else target.unlink()
            expected = next(iter(look(dataset, tmp_path, open_images=False).counts.values()))
            assert look(dataset, copy.parent, expected=expected, open_images=False).findings, part
            shutil.rmtree(copy)

    def test_several_deviations_are_all_found(self, tmp_path):
        folder = make_llcm_tree(tmp_path)
        with (folder / "idx" / "train_vis.txt").open("a") as file:
            file.write("no label\nvis/x.jpg 1\n")
        (folder / "idx" / "test_id.txt").write_text("1,4,7,8,bad")
        save_image(folder / "test_vis" / "cam1" / "0001" / "x.jpg")
        shutil.rmtree(folder / "nir" / "0002")
        (folder / "test_nir" / "cam1" / "extra").mkdir()
        examination = look(LLCM, tmp_path)
        text = in_words(examination)
        for part in (
            "train_vis.txt:21: expected 'relative/path label'",
            "train_vis.txt:22: 'vis/x.jpg' is not an LLCM image path",
            "test_id.txt:1: 'bad'",
            "unexpected folder 'extra'",
            "4 of 40 indexed images do not exist",
            "1 training identities without infrared image: 2",
            "1 identities in both training and test: 1",
        ):
            assert part in text
        assert kinds(examination) == {"missing", "malformed", "overlap"}
        assert f"NOT SOUND: {len(examination.findings)} findings." in text

    def test_people_of_regdb_are_compared_by_folder(self, tmp_path):
        lists = make_regdb_tree(tmp_path) / "idx"
        for modality in ("visible", "thermal"):
            shutil.copy(lists / f"train_{modality}_7.txt", lists / f"test_{modality}_7.txt")
        examination = look(RegDB, tmp_path, open_images=False)
        assert [finding.text for finding in examination.findings] == [
            "trial 7: 4 identities in both training and test: 1, 3, 5, 7"
        ]


def test_index_line_that_stands_twice_is_a_finding_and_refused(tmp_path):
    """Its image would be counted twice, as a query and in the gallery."""
    lists = make_regdb_tree(tmp_path) / "idx"
    for path in lists.iterdir():
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines, *lines]) + "\n")
    examination = look(RegDB, tmp_path, open_images=False)
    assert kinds(examination) == {"malformed"} and len(examination.findings) == 40
    assert examination.counts["trial 1"]["test"]["images"] == 24
    with pytest.raises(ValueError, match=r"visible_1\.txt names 12 images again: .*_1\.txt:13"):
        RegDB(str(tmp_path))


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such a name")
def test_permission_denied_on_a_list_does_not_ask_for_the_archive(tmp_path, monkeypatch):
    make_llcm_tree(tmp_path)
    opened = open

    def refusing(path, *args, **options):
        if str(path).endswith("test_id.txt"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr("builtins.open", refusing)  # the tests' user may be allowed everything
    examination = look(LLCM, tmp_path)
    assert kinds(examination) == {"denied"}
    text = in_words(examination)
    assert "Permission denied: " in text and "test_id.txt" in text and "chmod" in text
    assert "archive" not in text


def test_permission_denied_on_an_image_does_not_ask_for_the_archive(tmp_path, monkeypatch):
    path = str(next(make_llcm_tree(tmp_path).rglob("vis/*/*.jpg")))
    opened = Image.open

    def refusing(file, **options):
        if file == path:
            raise PermissionError(13, "Permission denied", path)
        return opened(file, **options)

    monkeypatch.setattr(Image, "open", refusing)
    denied = [f.text for f in look(LLCM, tmp_path).findings if f.kind == "denied"]
    assert denied == [f"{path}: this user has no permission to read it"]


def test_turned_and_thermal_images_are_counted(tmp_path):
    folder = make_noise_tree(tmp_path)
    make_thermal_tree(folder, "centikelvin")
    turned = sorted(folder.rglob("vis/*/*.jpg"))[:3]
    for number, path in enumerate(turned):
        exif = Image.Exif()
        exif[0x0112] = number + 6
        Image.open(path).save(path, exif=exif)
    examination = look(LLCM, tmp_path)
    assert examination.findings == []
    assert examination.notes[0] == "Turned upright by their EXIF orientation: 3 images."
    assert "values 28800 to 31300. Thermal images need INPUT.INFRARED_RANGE" in examination.notes[1]
    assert all(note in in_words(examination) for note in examination.notes)
    assert as_json(examination)["notes"] == examination.notes


def test_name_that_is_not_utf8_is_a_finding_and_refused(tmp_path):
    """No results file could name it: the evaluation would end in an error of encoding."""
    folder = make_llcm_tree(tmp_path)
    good = next((folder / "test_vis").rglob("*.jpg"))
    os.rename(good, os.fsencode(good.parent) + b"/gr\xfc\xdf.jpg")
    examination = look(LLCM, tmp_path, open_images=False)
    (finding,) = examination.findings
    assert finding.kind == "malformed" and "gr\\udcfc\\udcdf.jpg' in the" in finding.text
    with pytest.raises(ValueError, match="is not a UTF-8 name; rename the file"):
        LLCM(str(tmp_path))


LLCM_PICTURES = "vis/0001/0001_c01_s1800_f0_vis.jpg", "vis/0001/0001_c01_s1801_f1_vis.jpg"


@pytest.mark.parametrize(
    ("source", "copy", "sentences"),
    [
        (LLCM_PICTURES[0], LLCM_PICTURES[1], ["are there under several names: "]),
        (LLCM_PICTURES[0], "vis/0002/0002_c01_s1800_f0_vis.jpg", ["show several identities: "]),
        (
            LLCM_PICTURES[0],
            "test_vis/cam1/0004/0004_c01_s1800_f0_vis.jpg",
            ["show several identities: ", "are both training and test images: "],
        ),
        (
            LLCM_PICTURES[0],
            "nir/0001/0001_c01_s1800_f0_nir.jpg",
            ["are both visible and infrared: "],
        ),
    ],
)
def test_equal_pictures_are_a_finding_each(tmp_path, source, copy, sentences):
    folder = make_llcm_tree(tmp_path)
    assert look(LLCM, tmp_path).findings == []
    shutil.copy(folder / source, folder / copy)
    examination = look(LLCM, tmp_path)
    pair = " = ".join(sorted((source, copy), key=lambda path: "nir" in path or "test" in path))
    assert [finding.text for finding in examination.findings] == [
        f"1 pictures {sentence}{pair}" for sentence in sentences
    ]
    assert kinds(examination) == {"pictures"} and ADVICE["pictures"][1] in in_words(examination)


def test_visible_images_without_colors_are_a_finding(tmp_path):
    folder = make_llcm_tree(tmp_path)
    for path in (folder / "vis" / "0001").iterdir():
        Image.open(path).convert("L").save(path)
    (finding,) = look(LLCM, tmp_path).findings
    assert finding.text.startswith("4 visible images have three equal channels, as infrared ones")
    assert finding.text.count("vis/0001/") == 4


def test_pictures_are_compared_within_a_division(tmp_path):
    """RegDB's identity 1 trains in trial 1 and is tested in trial 2; that is no finding."""
    make_regdb_tree(tmp_path)
    assert look(RegDB, tmp_path).findings == []


def test_counts_are_compared_key_by_key():
    found = {"train": {"images": 3, "visible": {"images": 1}}}
    expected = {"train": {"images": 4, "visible": {"images": 1, "cameras": {"2": {"images": 5}}}}}
    assert count_differences(found, expected, "trial 1") == [
        "trial 1, train, images: found 3, expected 4",
        "trial 1, train, visible, cameras, 2, images: found 0, expected 5",
    ]
    assert count_differences(found, found) == []


@pytest.mark.parametrize(
    "counts", [[], {"train": "x"}, {"train": {"pictures": 1}}, {"train": True}]
)
def test_counts_of_another_shape_are_refused(counts):
    with pytest.raises(ValueError, match="expected"):
        check_counts(counts)


def test_published_counts_add_up():
    for dataset in TREES:
        check_counts(dataset.expected_counts)
        for split in dataset.expected_counts.values():
            sides = [split[side] for side in ("visible", "infrared") if side in split]
            assert not sides or sum(side["images"] for side in sides) == split["images"], dataset
            for side in sides:
                cameras = side.get("cameras", {}).values()
                assert not cameras or sum(size["images"] for size in cameras) == side["images"]


def test_processes_find_what_one_process_finds(tmp_path):
    for index in range(5):
        save_image(tmp_path / f"{index}.jpg")
    (tmp_path / "3.jpg").write_bytes(b"")
    paths = [str(tmp_path / f"{index}.jpg") for index in range(6)]
    expected = open_pictures(paths, workers=0)
    assert [n for n, picture in enumerate(expected) if picture.problem] == [3, 5]
    assert len({picture.digest for picture in expected}) == 5  # the last of them ""
    assert open_pictures(paths, workers=2) == expected


def test_another_dataset_is_refused():
    with pytest.raises(KeyError, match="'Market1501' is unknown; use one of LLCM, RegDB, SYSU"):
        find_dataset("Market1501")


@pytest.mark.parametrize("word", ["LLCM", "llcm", "SYSU_MM01", "SYSU-MM01", "sysu", "sysumm01"])
def test_a_dataset_is_found_by_any_spelling(word):
    assert find_dataset(word) is (LLCM if word.lower() == "llcm" else SYSU_MM01)


@pytest.fixture
def main(monkeypatch):
    """The tool's main function, called with a command line."""
    spec = spec_from_file_location("check_dataset", TOOL)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(command):
        monkeypatch.setattr(sys, "argv", [str(TOOL), *command])
        return module.main()

    return run


def test_the_tool_prints_writes_json_and_exits(tmp_path, main, capsys):
    folder = make_sysu_tree(tmp_path)
    (folder / "synthetic.json").write_text("{}")
    out = tmp_path / "out.json"
    common = ["--dataset", "SYSU_MM01", "--root", str(tmp_path), "--workers", "0"]
    done = run_python(str(TOOL), *common, "--json", str(out), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not compared: none are published of drawn images.\n--counts FILE" in done.stdout
    assert "138 images opened." in done.stdout and done.stderr == ""
    report = json.loads(out.read_text())
    assert report["sound"] and report["synthetic"] and report["num_images_opened"] == 138
    assert report["counts"]["test"]["infrared"]["cameras"]["3"] == {"images": 9, "identities": 3}
    assert report == as_json(look(SYSU_MM01, tmp_path))

    report["counts"]["test"]["images"] += 1
    counts = tmp_path / "counts.json"
    counts.write_text(json.dumps(report["counts"]))
    more = ["--counts", str(counts), "--no-images", "--json", str(out)]
    assert main([*common, *more]) == 1
    assert "test, images: found 48, expected 49" in capsys.readouterr().out
    assert json.loads(out.read_text())["findings"] == [
        {"kind": "counts", "text": "test, images: found 48, expected 49"}
    ]


def test_wrong_arguments_exit_with_2(tmp_path, main, capsys):
    for text in ("no json", '{"pictures": 3}'):
        (tmp_path / "counts.json").write_text(text)
        with pytest.raises(SystemExit) as caught:
            main(["--dataset", "LLCM", "--counts", str(tmp_path / "counts.json")])
        assert caught.value.code == 2
        assert "counts.json': " in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["--dataset", "LLCM", "--workers", "-1"])
    assert caught.value.code == 2
    assert "-1 processes; give 0 or more" in capsys.readouterr().err
    done = run_python(str(TOOL), "--dataset", "Market1501", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: dataset 'Market1501' is unknown; use one of LLCM")


def test_the_tool_names_the_counts_it_compares_with(tmp_path, main, capsys):
    make_llcm_tree(tmp_path)
    common = ["--dataset", "LLCM", "--root", str(tmp_path), "--no-images"]
    assert main(common) == 1
    assert "compared with the published ones" in capsys.readouterr().out
    assert main([*common, "--skip-counts"]) == 0
    assert "Counts are not compared: --skip-counts." in capsys.readouterr().out


def test_a_missing_folder_compares_no_counts(tmp_path, main, capsys):
    assert main(["--dataset", "LLCM", "--root", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "1 x missing folders or files" in out and "Counts" not in out
