"""make_pairs.py as a whole: the tree, what it says of itself, and what it refuses."""

import hashlib
import json
import sys

import make_pairs
import numpy as np
import pytest
from noise_photographs import (
    SHAPE,
    as_infrared,
    as_visible,
    texture,
    write_boxes,
    write_pair,
    write_scene,
    write_scenes,
)
from PIL import Image
from thermal_frames import CAMERAS
from trees import digests

from wrimnet.data.datasets import LLCM
from wrimnet.data.datasets.dataset_check import examine
from wrimnet.data.images import UnreadableImageError, read_rgb
from wrimnet.lab.pairs.description import in_words
from wrimnet.lab.pairs.generate_pairs import generate_pairs
from wrimnet.lab.pairs.options import Options
from wrimnet.lab.pairs.photographs import list_pairs, read_pair
from wrimnet.lab.pairs.views import Region, overlap, reach_box
from wrimnet.modality import INFRARED, VISIBLE

OPTIONS = {
    "train_ids": 12,
    "test_ids": 4,
    "images_per_id": 4,
    "test_images_per_id": 4,
    "height": 32,
    "width": 12,
    "min_size": 32,
}


def make(photographs, out, boxes=None, workers=1, force=False, **changes):
    kind = "places" if boxes is None else "boxes"
    return generate_pairs(
        visible=photographs / "visible",
        infrared=photographs / "infrared",
        boxes=boxes,
        out=out,
        options=Options(kind=kind, **(OPTIONS | changes)),
        workers=workers,
        force=force,
    )


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    write_scenes(folder)
    return folder


@pytest.fixture(scope="module")
def made(photographs, tmp_path_factory):
    """The set's folder and its manifest."""
    return make(photographs, tmp_path_factory.mktemp("made"))


def regions_of(manifest):
    return {
        int(pid): (row["split"], Region(**{key: row[key] for key in Region.__dataclass_fields__}))
        for pid, row in manifest["identities"].items()
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_same_command_gives_same_bytes_with_any_number_of_workers(
    photographs, made, tmp_path, workers
):
    folder, manifest = make(photographs, tmp_path, workers=workers)
    assert manifest == made[1]
    assert digests(folder) == digests(made[0])


def test_seed_changes_every_image(photographs, made, tmp_path):
    folder, manifest = make(photographs, tmp_path, seed=1)
    assert manifest["identities"] != made[1]["identities"]
    images = {digest for name, digest in digests(folder).items() if name.endswith(".jpg")}
    assert images.isdisjoint(digests(made[0]).values())


def test_scenes_of_training_and_test_are_disjoint(made):
    stems = {"train": set(), "test": set()}
    for split, region in regions_of(made[1]).values():
        stems[split].add(region.stem)
    assert stems["train"].isdisjoint(stems["test"])
    assert made[1]["scenes"] == {"train": len(stems["train"]), "test": len(stems["test"])}
    assert made[1]["scenes"] == {"train": 5, "test": 3}  # two thirds of 8, rounded


def test_windows_of_a_scene_lie_apart_and_inside(made):
    regions = [region for _, region in regions_of(made[1]).values()]
    for number, region in enumerate(regions):
        top, left, bottom, right = reach_box(region)
        assert top >= 0 and left >= 0 and bottom <= SHAPE[0] and right <= SHAPE[1]
        others = [other for other in regions[:number] if other.stem == region.stem]
        assert (overlap(region, others) <= 0.15).all()


def test_dataset_class_and_dataset_check_accept_it_with_its_counts(made):
    folder, manifest = made
    root = str(folder.parent)
    dataset = LLCM(root=root)
    assert dataset.stand_in == "places of photographs, not identities of LLCM"
    assert (len(dataset.train), len(dataset.test)) == (12 * 2 * 4, 4 * 2 * 4)
    assert {item.modality for item in dataset.train} == {VISIBLE, INFRARED}
    counts = json.loads((folder / "counts.json").read_text())
    assert counts == manifest["counts"]
    found = examine(LLCM, root, expected=counts, open_images=True, workers=0)
    assert (found.findings, found.stand_in) == ([], dataset.stand_in)
    assert {read_rgb(item.path).size for item in dataset.train} == {(12, 32)}


def test_every_test_image_has_a_match_in_another_camera_and_modality(made):
    dataset = LLCM(root=str(made[0].parent))
    for query in dataset.test:
        assert any(
            other.pid == query.pid
            and other.modality != query.modality
            and other.camid != query.camid
            for other in dataset.test
        )


def test_held_out_identities_are_of_other_scenes(photographs, tmp_path):
    folder, manifest = make(photographs, tmp_path, train_ids=20)
    regions = regions_of(manifest)
    dataset = LLCM(root=str(folder.parent), split="train")
    train, held_out = (
        {regions[item.pid][1].stem for item in items} for items in (dataset.train, dataset.test)
    )
    assert held_out and len({item.pid for item in dataset.test}) == 2
    assert all(regions[item.pid][0] == "train" for item in dataset.test)
    assert len(held_out & train) <= 1


def test_description_says_what_it_is_and_of_which_photographs(photographs, made):
    folder, manifest = made
    short = json.loads((folder / "synthetic.json").read_text())
    assert short["what"] == "places of photographs, not identities of LLCM"
    assert (short["kind"], short["seed"], short["pairs"]) == ("places", 0, 8)
    assert short["counts"]["train"] == {
        "identities": 12, "visible_images": 48, "infrared_images": 48
    }  # fmt: skip
    source = photographs / "infrared" / "s1.bmp"
    assert manifest["sources"]["s1"]["infrared"] == {
        "name": "s1.bmp",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    assert json.loads((folder / "pairs.json").read_text()) == manifest
    assert in_words(manifest).splitlines()[0] == f"{short['what']}:"
    assert "  test: 4 places of" in in_words(manifest)


def test_same_set_is_left_alone_and_another_one_refused(photographs, made, tmp_path, capsys):
    folder, manifest = make(photographs, made[0].parent)
    assert (folder, manifest) == made
    assert "already holds this set" in capsys.readouterr().err
    with pytest.raises(FileExistsError, match=r"is not this set of these photographs.*--force"):
        make(photographs, made[0].parent, seed=1)
    strange = tmp_path / "LLCM"
    strange.mkdir()
    for force in (False, True):
        with pytest.raises(FileExistsError, match="is not a generated dataset and is never repla"):
            make(photographs, tmp_path, force=force)
    (strange / "synthetic.json").write_text("{}")
    make(photographs, tmp_path, force=True)
    assert digests(strange) == digests(made[0])


def test_changed_photograph_makes_another_set(tmp_path):
    write_scenes(tmp_path / "photographs", 4)
    out = tmp_path / "out"
    changes = {"train_ids": 4, "test_ids": 1}
    make(tmp_path / "photographs", out, **changes)
    write_scene(tmp_path / "photographs", "s0", 99)
    with pytest.raises(FileExistsError, match="these photographs"):
        make(tmp_path / "photographs", out, **changes)


def test_failure_leaves_no_set_behind(photographs, tmp_path):
    with pytest.raises(ValueError, match="--train-ids 5000"):
        make(photographs, tmp_path, train_ids=5000)
    assert not (tmp_path / "LLCM").exists()


def test_second_photograph_of_a_place_gives_nothing(tmp_path):
    write_scenes(tmp_path, 4)
    wide = texture(50, (170, 240))
    for stem, values in (("x1", wide[:150, :210]), ("x2", wide[20:, 30:])):
        write_pair(tmp_path, stem, as_visible(values), as_infrared(values))
    _, manifest = make(tmp_path, tmp_path, train_ids=None, test_ids=None)
    assert ["x1", "x2"] in manifest["photographs_of_scenes"]
    assert manifest["left_out"]["photographs of a scene seen before"] == 1
    stems = {region.stem for _, region in regions_of(manifest).values()}
    assert "x1" in stems and "x2" not in stems


BOX = "0 0.5 0.5 0.1 0.4"


def test_boxes_become_identities(tmp_path):
    write_scenes(tmp_path, 5)
    boxes = tmp_path / "boxes"
    for number in range(4):
        write_boxes(
            boxes, f"s{number}", BOX, "0 0.25 0.5 0.1 0.4", "0 0.5 0.5 0.05 0.1", "2 0.5 0.5 1 1"
        )
    write_boxes(boxes, "classes", "person")  # a file of no photograph
    folder, manifest = make(tmp_path, tmp_path, boxes, train_ids=None, test_ids=None)
    assert manifest["what"] == "boxes of persons in photographs, not identities of LLCM"
    assert manifest["kind"] == "boxes"
    assert manifest["left_out"] == {
        "scenes without boxes": 1,
        "boxes lower than 32 pixels": 4,
        "boxes of another class": 4,
        "photographs without a box file": 1,
    }
    heights = {region.height for _, region in regions_of(manifest).values()}
    assert heights == {0.4 * SHAPE[0]}
    assert len(regions_of(manifest)) == 8
    assert manifest["sources"]["s0"]["boxes"]["name"] == "s0.txt"
    found = examine(
        LLCM, str(folder.parent), expected=manifest["counts"], open_images=True, workers=0
    )
    assert found.findings == []


def test_boxes_of_a_fixed_camera_come_from_all_its_photographs(tmp_path):
    write_scenes(tmp_path, 2)
    for number in range(4):
        write_scene(tmp_path, f"t{number}", 20 + number)
        write_boxes(tmp_path / "boxes", f"t{number}", BOX)
    write_boxes(tmp_path / "boxes", "s0", BOX, "0 0.25 0.5 0.1 0.4")
    changes = {"scene_prefix": 1, "train_ids": None, "test_ids": None}
    _, manifest = make(tmp_path, tmp_path / "boxed", tmp_path / "boxes", **changes)
    assert len(manifest["identities"]) == 6
    assert manifest["scenes"] == {"train": 1, "test": 1}
    (tmp_path / "infrared" / "t3.png").write_bytes(b"not opened, since only t0 gives places")
    _, manifest = make(tmp_path, tmp_path / "placed", **changes)
    assert {region.stem for _, region in regions_of(manifest).values()} == {"s0", "t0"}


def write_tracks(folder, num_frames=6, prefix=""):
    """A video of a fixed camera: persons 3, 4, 5 walk to the right, 8 only at the left edge."""
    scene = texture(60)
    for frame in range(num_frames):
        stem = f"{prefix}{frame:03d}"
        write_pair(folder, stem, as_visible(scene), as_infrared(scene))
        lines = [f"0 {0.25 + 0.02 * frame + 0.15 * n} 0.5 0.1 0.4 {3 + n}" for n in range(3)]
        write_boxes(folder / "boxes", stem, *lines, "0 0.05 0.5 0.1 0.4 8")


def test_a_tracked_folder_has_as_many_identities_as_tracks(tmp_path):
    write_tracks(tmp_path)
    changes = {"train_ids": None, "test_ids": None, "pad": True}
    folder, manifest = make(tmp_path, tmp_path / "out", tmp_path / "boxes", **changes)
    identities = manifest["identities"].values()
    assert len(identities) == 4
    assert all(len(identity["frames"]) == 6 for identity in identities)
    lefts = [tuple(f["left"] for f in identity["frames"]) for identity in identities]
    assert len(set(lefts)) == 4  # a person's boxes, not a frame's
    read = LLCM(str(folder.parent))
    train, test = ({LLCM.parse_relpath(i.relpath)[0] for i in of} for of in (read.train, read.test))
    assert len(train) + len(test) == 4 and train.isdisjoint(test)
    assert "tracks of persons (both splits show the same places)" in in_words(manifest)


def test_a_track_without_a_usable_box_is_counted(tmp_path):
    write_tracks(tmp_path)
    changes = {"train_ids": None, "test_ids": None}
    _, manifest = make(tmp_path, tmp_path / "out", tmp_path / "boxes", **changes)
    assert len(manifest["identities"]) == 3
    assert manifest["left_out"]["tracks without a box that can be used"] == 1
    assert manifest["left_out"]["boxes at the photograph's edge (--pad keeps them)"] == 6


def test_track_ids_count_within_a_video_where_videos_are_told_apart(tmp_path):
    write_tracks(tmp_path, prefix="a")
    write_tracks(tmp_path, prefix="b")
    changes = {"train_ids": None, "test_ids": None, "scene_prefix": 1}
    _, manifest = make(tmp_path, tmp_path / "out", tmp_path / "boxes", **changes)
    assert len(manifest["identities"]) == 6
    assert manifest["scenes"] == {"train": 1, "test": 1}
    sides = {"train": set(), "test": set()}
    for identity in manifest["identities"].values():
        sides[identity["split"]] |= {frame["stem"][0] for frame in identity["frames"]}
    assert sorted(map(sorted, sides.values())) == [["a"], ["b"]]


def test_of_a_scene_the_photograph_with_the_most_boxes_is_used(tmp_path):
    write_scenes(tmp_path, 3)
    write_pair(tmp_path, "s0b", as_visible(texture(0)), as_infrared(texture(0)))
    for stem in ("s0", "s1", "s2"):
        write_boxes(tmp_path / "boxes", stem, BOX)
    write_boxes(tmp_path / "boxes", "s0b", BOX, "0 0.3 0.5 0.1 0.4")
    changes = {"train_ids": None, "test_ids": None}
    _, manifest = make(tmp_path, tmp_path / "out", tmp_path / "boxes", **changes)
    stems = [region.stem for _, region in regions_of(manifest).values()]
    assert sorted(stems) == ["s0b", "s0b", "s1", "s2"]


def test_nearly_black_boxes_are_counted_and_left_out_on_request(tmp_path):
    write_scenes(tmp_path, 4)
    for number in range(4, 6):
        values = texture(number)
        night = (as_visible(values) // 12).astype(np.uint8)
        write_pair(tmp_path, f"n{number}", night, as_infrared(values))
    for stem in ("s0", "s1", "s2", "s3", "n4", "n5"):
        write_boxes(tmp_path / "boxes", stem, BOX)
    changes = {"train_ids": None, "test_ids": None}
    _, manifest = make(tmp_path, tmp_path / "all", tmp_path / "boxes", **changes)
    assert manifest["low_contrast"] == {"found": 6, "low": 2}
    assert "nearly black: 2 of 6 boxes found (33%) have a visible contrast" in in_words(manifest)
    changes["min_contrast"] = 30
    _, manifest = make(tmp_path, tmp_path / "some", tmp_path / "boxes", **changes)
    assert {r.stem[0] for _, r in regions_of(manifest).values()} == {"s"}
    assert manifest["left_out"]["boxes of a visible contrast below 30"] == 2


def test_scenes_are_found_once_and_remembered(tmp_path, monkeypatch):
    write_scenes(tmp_path, 4)
    _, first = make(tmp_path, tmp_path / "out", train_ids=4, test_ids=1)
    monkeypatch.setattr("wrimnet.lab.pairs.survey.group_by_look", None)
    _, second = make(tmp_path, tmp_path / "out", train_ids=5, test_ids=1, force=True)
    assert first["photographs_of_scenes"] == second["photographs_of_scenes"]
    monkeypatch.undo()
    write_scene(tmp_path, "s4", 0)  # shows what s0 shows
    _, third = make(tmp_path, tmp_path / "out", train_ids=4, test_ids=1, force=True)
    assert ["s0", "s4"] in third["photographs_of_scenes"]


@pytest.mark.parametrize("camera", ["counts", "centikelvin"])
@pytest.mark.parametrize("is_auto", [True, False])
def test_thermal_photographs_give_the_places_of_their_8_bit_twins(tmp_path, camera, is_auto):
    low, high = CAMERAS[camera][1:]
    for number in range(3):
        values = texture(number)
        gray = as_infrared(values)
        write_pair(tmp_path / "eight", f"s{number}", as_visible(values), gray)
        wide = np.rint(low + gray / 255.0 * (high - low)).astype(np.uint16)
        write_pair(tmp_path / "wide", f"s{number}", as_visible(values), wide)
    changes = {"train_ids": None, "test_ids": None}
    given = ("auto",) if is_auto else (low, high)
    _, expected = make(tmp_path / "eight", tmp_path / "a", **changes)
    _, manifest = make(tmp_path / "wide", tmp_path / "b", infrared_range=given, **changes)
    stems = {region.stem for _, region in regions_of(manifest).values()}
    assert stems == {"s0", "s1", "s2"}
    if not is_auto:
        assert regions_of(manifest) == regions_of(expected)
    with pytest.raises(UnreadableImageError, match=r"gray levels are left; .*--infrared-range"):
        make(tmp_path / "wide", tmp_path / "c", **changes)


@pytest.mark.parametrize("side", ["visible", "infrared"])
def test_photograph_without_partner_is_named(tmp_path, side):
    write_scenes(tmp_path, 3)
    (tmp_path / side / "s2.png").rename(tmp_path / side / "t.png")
    with pytest.raises(FileNotFoundError, match=r"2 photographs lack their partner: .*s2\.png has"):
        make(tmp_path, tmp_path)


def test_folders_that_hold_no_pair_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"looked for the folder .*visible"):
        make(tmp_path, tmp_path)
    for side in ("visible", "infrared"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "README.md").write_text("no image")
    with pytest.raises(ValueError, match=r"no pair: .*visible holds no image"):
        make(tmp_path, tmp_path)


def test_one_folder_for_both_and_exchanged_folders_are_refused(tmp_path):
    write_scenes(tmp_path, 3)
    (tmp_path / "both").symlink_to(tmp_path / "visible")
    options = {"out": tmp_path / "out", "options": Options()}
    with pytest.raises(ValueError, match="--visible and --infrared are one folder"):
        generate_pairs(visible=tmp_path / "visible", infrared=tmp_path / "both", **options)
    with pytest.raises(ValueError, match="seem to be exchanged"):
        generate_pairs(visible=tmp_path / "infrared", infrared=tmp_path / "visible", **options)


def test_two_files_of_one_stem_are_refused(tmp_path):
    write_scenes(tmp_path, 2)
    write_pair(tmp_path, "s0", as_visible(texture(0)), as_infrared(texture(0)), (".bmp", ".png"))
    with pytest.raises(ValueError, match=r"s0\.bmp and .*s0\.png have the same stem"):
        make(tmp_path, tmp_path)


def test_unequal_sizes_are_named(tmp_path):
    write_scenes(tmp_path, 3)
    write_pair(tmp_path, "s2", as_visible(texture(2)), as_infrared(texture(2))[:, :200])
    with pytest.raises(
        ValueError, match=r"s2\.png is 210x150 and .*s2\.png 200x150; aligned pairs"
    ):
        make(tmp_path, tmp_path)


def test_unreadable_file_is_named(tmp_path):
    write_scenes(tmp_path, 3)
    (tmp_path / "infrared" / "s2.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"infrared/s2\.png: not an image"):
        make(tmp_path, tmp_path)


def test_photographs_without_places_are_refused(tmp_path):
    flat = np.full(SHAPE, 128.0)
    for stem in "abc":
        write_pair(tmp_path, stem, as_visible(flat), as_infrared(flat))
    with pytest.raises(ValueError, match="0 of 3 scenes have places; two disjoint splits need at"):
        make(tmp_path, tmp_path)


def test_box_folder_without_a_label_file_is_refused(tmp_path):
    write_scenes(tmp_path, 2)
    with pytest.raises(FileNotFoundError, match=r"looked for the folder .*boxes"):
        make(tmp_path, tmp_path, tmp_path / "boxes")
    write_boxes(tmp_path / "boxes", "classes", "person")
    with pytest.raises(ValueError, match=r"no label file of a photograph's stem, such as s0\.txt"):
        make(tmp_path, tmp_path, tmp_path / "boxes")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_ids": 1}, "train_ids is 1, expected at least 2"),
        ({"test_ids": 0}, "test_ids is 0, expected at least 1"),
        ({"images_per_id": 0}, "images_per_id is 0, expected at least 1"),
        ({"test_images_per_id": 1}, "test_images_per_id is 1, expected at least 2"),
        ({"images_per_id": 10_000}, "images_per_id is 10000, expected below 10000"),
        ({"height": 8}, "height is 8, expected at least 16"),
        ({"width": 4}, "width is 4, expected at least 8"),
        ({"min_size": 8}, "min_size is 8, expected at least 16"),
        ({"box_class": -1}, "box_class is -1, expected at least 0"),
        ({"scene_prefix": -1}, "scene_prefix is -1, expected at least 0"),
        ({"min_contrast": -1}, "min_contrast is -1, expected at least 0"),
        ({"infrared_range": (9, 3)}, "infrared_range is .9, 3., expected LOW HIGH"),
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"train_share": 1.0}, "train_share is 1.0, the share of the scenes"),
        ({"train_share": float("nan")}, "train_share is nan, the share of the scenes"),
    ],
)
def test_option_beyond_its_bounds_is_refused(photographs, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        make(photographs, tmp_path, **changes)


def test_no_process_is_refused(photographs, tmp_path):
    with pytest.raises(ValueError, match="workers is 0, expected at least 1"):
        make(photographs, tmp_path, workers=0)


def test_16_bit_infrared_is_read_by_its_high_byte(tmp_path):
    values = texture(0)
    write_pair(tmp_path, "a", as_visible(values), as_infrared(values))
    Image.fromarray(as_infrared(values).astype(np.uint16) * 256 + 7).save(
        tmp_path / "infrared" / "a.png"
    )
    pair = list_pairs(tmp_path / "visible", tmp_path / "infrared")[0]
    visible, infrared = read_pair(pair)
    assert visible.shape == (*SHAPE, 3)
    assert np.array_equal(infrared, as_infrared(values))


def test_command_line_says_that_places_are_no_identities(
    photographs, made, tmp_path, monkeypatch, capsys
):
    sides = ("--visible", photographs / "visible", "--infrared", photographs / "infrared")
    numbers = [word for k, v in OPTIONS.items() for word in (f"--{k.replace('_', '-')}", v)]
    words = ["make_pairs.py", *sides, "--out", tmp_path, "--workers", 1, *numbers]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    assert make_pairs.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "places of photographs, not identities of LLCM:"
    assert lines[-1] == str(tmp_path / "LLCM")
    assert digests(tmp_path / "LLCM") == digests(made[0])


@pytest.mark.parametrize(("boxes", "kind"), [((), "places"), (("--boxes", "labels"), "boxes")])
def test_command_line_without_options_asks_for_the_defaults(boxes, kind):
    words = ["--visible", "a", "--infrared", "b", "--out", "c", *boxes]
    arguments = make_pairs.build_parser().parse_args(words)
    assert make_pairs.read_options(arguments) == Options(kind=kind)
