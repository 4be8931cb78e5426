import hashlib
import json
import math
import runpy
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from trees import digests

from wrimnet.data.datasets import LLCM, SYSU_MM01, RegDB
from wrimnet.data.images import read_rgb
from wrimnet.lab.synthetic import generate_synthetic as generate_module
from wrimnet.lab.synthetic.appearance import Paint, draw_appearance, palette
from wrimnet.lab.synthetic.cameras import draw_camera, shifted
from wrimnet.lab.synthetic.canvas import Canvas
from wrimnet.lab.synthetic.figure import draw_person
from wrimnet.lab.synthetic.generate_synthetic import GENERATOR_VERSION, generate_synthetic
from wrimnet.lab.synthetic.patterns import PATTERNS
from wrimnet.lab.synthetic.plan import USUAL, Request
from wrimnet.lab.synthetic.pose import Pose, View
from wrimnet.lab.synthetic.rendering import Shot, Studio
from wrimnet.modality import INFRARED, VISIBLE

TOOL = Path(__file__).parents[2] / "tools" / "make_synthetic.py"
SMALL = {"height": 64, "width": 32}
REQUEST = Request(seed=3, train_ids=5, test_ids=3, images_per_id=4, test_images_per_id=4)
FOLDERS = {"llcm": "LLCM", "regdb": "RegDB", "sysu": "SYSU-MM01"}

# First half of the SHA-256 of array bytes; generator version 1, seed 0, 128x64. Change them only
# together with GENERATOR_VERSION: numbers measured on generated data belong to one version.
FROZEN = {
    Shot(1, 1, VISIBLE, 0, 1): "c9234a6b7083de29230fb7336243f90a",
    Shot(1, 1, INFRARED, 0, 1): "60d06959f82d60ac89217e73c89e9a6b",
    Shot(7, 3, VISIBLE, 2, 4): "44cdf4bd819087a6a1ded6692abba441",
    Shot(42, 5, INFRARED, 1, 2): "49fdc0070b26b62a0756afaaf5a059ae",
    Shot(99, 2, VISIBLE, 5, 0, True): "f57ebad62899da09c746c68442d31858",
    Shot(99, 2, INFRARED, 5, 0, False): "c54ee5df3c74388d8ddbea11c475f4ea",
}


def make_studio(**changes):
    arguments = {"seed": 0, "height": 128, "width": 64, "outdoor_scenes": frozenset({2, 4})}
    return Studio(**(arguments | changes))


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic")
    return {
        layout: generate_synthetic(layout=layout, out=out, request=REQUEST, **SMALL)
        for layout in FOLDERS
    }


def id_list(path):
    return [int(number) for number in path.read_text().strip().split(",")]


def index_lines(path):
    return [(line.split()[0], int(line.split()[1])) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("shot", FROZEN)
def test_rendered_images_are_frozen(shot):
    image = make_studio().render(shot)
    assert (image.shape, image.dtype) == ((128, 64, 3), np.uint8)
    assert GENERATOR_VERSION == 1
    assert hashlib.sha256(image.tobytes()).hexdigest()[:32] == FROZEN[shot]


def test_an_image_does_not_depend_on_what_was_rendered_before():
    fresh, used = make_studio(), make_studio()
    for number in range(3):
        used.render(Shot(5, 2, INFRARED, number, 3))
    shot = Shot(6, 1, VISIBLE, 0, 1)
    assert np.array_equal(fresh.render(shot), used.render(shot))


@pytest.mark.parametrize(
    "other",
    [
        Shot(2, 1, VISIBLE, 0, 1),
        Shot(1, 2, VISIBLE, 0, 1),
        Shot(1, 1, INFRARED, 0, 1),
        Shot(1, 1, VISIBLE, 1, 1),
        Shot(1, 1, VISIBLE, 0, 2),
        Shot(1, 1, VISIBLE, 0, 1, True),
    ],
)
def test_every_argument_changes_the_image(other):
    studio = make_studio()
    assert not np.array_equal(studio.render(Shot(1, 1, VISIBLE, 0, 1)), studio.render(other))


def test_seed_changes_the_image():
    shot = Shot(1, 1, VISIBLE, 0, 1)
    assert not np.array_equal(make_studio().render(shot), make_studio(seed=1).render(shot))


def test_infrared_has_no_color_and_visible_has():
    studio = make_studio()
    for pid in range(1, 6):
        infrared = studio.render(Shot(pid, 1, INFRARED, 0, 1))
        visible = studio.render(Shot(pid, 1, VISIBLE, 0, 1))
        assert (infrared == infrared[..., :1]).all()
        assert (visible != visible[..., :1]).any()


def test_shifted_cameras_are_further_from_neutral_and_noisier():
    camera = draw_camera(np.random.default_rng(0), VISIBLE)
    assert shifted(camera, 0.0) == camera
    other = shifted(camera, 1.0)
    assert (other.gain, other.gamma) == (camera.gain**2, camera.gamma**2)
    assert other.cast == tuple(value**2 for value in camera.cast)
    assert (other.noise, other.blur) == (2 * camera.noise, 2 * camera.blur)
    assert (other.heading, other.zoom) == (camera.heading, camera.zoom)
    shot = Shot(1, 1, VISIBLE, 0, 1)
    assert (make_studio(camera_shift=1.0).render(shot) != make_studio().render(shot)).any()


def test_camera_and_scene_of_an_image_do_not_depend_on_the_identity():
    studio = make_studio()
    before = studio.camera(3, VISIBLE), studio.scene(2).views[VISIBLE].copy()
    studio.render(Shot(8, 3, VISIBLE, 0, 2))
    assert studio.camera(3, VISIBLE) == before[0]
    assert np.array_equal(studio.scene(2).views[VISIBLE], before[1])


def test_reflectance_says_nothing_about_brightness_of_the_color():
    people = [draw_appearance(np.random.default_rng(number)) for number in range(600)]
    for slot in (Paint.UPPER, Paint.LOWER, Paint.SHOES):
        visible = [palette(person, VISIBLE)[slot].mean() for person in people]
        infrared = [palette(person, INFRARED)[slot, 0] for person in people]
        assert abs(np.corrcoef(visible, infrared)[0, 1]) < 0.13  # 3 standard errors


def test_patterns_have_contrast_in_both_modalities():
    for number in range(100):
        person = draw_appearance(np.random.default_rng(number))
        for slot in (Paint.UPPER, Paint.LOWER, Paint.BAG, Paint.HAT):
            for modality, least in ((VISIBLE, 190), (INFRARED, 3 * 65)):
                table = palette(person, modality).astype(int)
                assert np.abs(table[slot] - table[slot + 1]).sum() > least


@pytest.mark.parametrize("name", [name for name, pattern in PATTERNS.items() if pattern])
def test_every_pattern_shows_both_materials_on_a_trunk(name):
    angle = np.linspace(-1.5, 1.5, 60, dtype=np.float32)[None].repeat(60, 0)
    length = np.linspace(0, 0.34, 60, dtype=np.float32)[:, None].repeat(60, 1)
    for period in (0.075, 0.1, 0.16):
        share = PATTERNS[name](angle, length, period).mean()
        assert 0.02 < share < 0.98


def test_emblem_is_not_on_the_back():
    length = np.linspace(0, 0.34, 60)
    assert PATTERNS["emblem"](np.zeros(60), length, 0.1).any()
    assert not PATTERNS["emblem"](np.full(60, 3.0), length, 0.1).any()


def draw_silhouette(yaw):
    person = draw_appearance(np.random.default_rng(0))
    pose = Pose(stride=0.05, phase=0.0, lean=0.0, spread=0.1, elbows=(0.1, 0.1), turn=0.0)
    canvas = Canvas(256, 128)
    draw_person(canvas, person, pose, View(yaw, 0.05, 0.0, 220.0, (64.0, 245.0)))
    return canvas.slots


def test_person_is_wider_from_the_front_than_from_the_side():
    front, side = draw_silhouette(0.0), draw_silhouette(math.pi / 2)
    assert 0.1 < (front > 0).mean() < 0.4
    assert (front[70:120] > 0).sum() > 1.2 * (side[70:120] > 0).sum()


def test_face_is_seen_from_the_front_only():
    head = np.s_[20:60, 50:78]
    front, back = draw_silhouette(0.0)[head], draw_silhouette(math.pi)[head]
    assert (front == Paint.SKIN).sum() > 2 * (back == Paint.SKIN).sum()


@pytest.mark.parametrize("layout", FOLDERS)
def test_same_seed_gives_same_bytes_with_any_number_of_workers(trees, layout, tmp_path):
    again = generate_synthetic(layout=layout, out=tmp_path, request=REQUEST, workers=2, **SMALL)
    assert digests(again) == digests(trees[layout])


@pytest.mark.parametrize("layout", FOLDERS)
def test_description_counts_what_was_drawn(trees, layout):
    description = json.loads((trees[layout] / "synthetic.json").read_text())
    assert description["generator_version"] == GENERATOR_VERSION
    assert (description["layout"], description["seed"]) == (layout, 3)
    assert description["counts"] == {
        "identities": 8,
        "visible_images": 32,
        "infrared_images": 32,
    }


@pytest.mark.parametrize("layout", FOLDERS)
def test_images_can_be_read_and_have_the_size_asked_for(trees, layout):
    files = [*trees[layout].rglob("*.jpg"), *trees[layout].rglob("*.bmp")]
    assert {read_rgb(str(path)).size for path in files} == {(32, 64)}


@pytest.mark.parametrize(
    ("layout", "dataset_class"), [("llcm", LLCM), ("regdb", RegDB), ("sysu", SYSU_MM01)]
)
def test_dataset_classes_read_the_tree(trees, layout, dataset_class):
    dataset = dataset_class(root=str(trees[layout].parent))
    assert dataset.stand_in == "synthetic"
    assert (len(dataset.train), len(dataset.test)) == (2 * 5 * 4, 2 * 3 * 4)
    assert {item.modality for item in dataset.train} == {VISIBLE, INFRARED}


def test_llcm_lists_name_every_file_once(trees):
    folder = trees["llcm"]
    listed = [
        path
        for name in ("train_vis", "train_nir", "test_vis", "test_nir")
        for path, _ in index_lines(folder / f"idx/{name}.txt")
    ]
    on_disk = [f"{top}/{p.parent.name}/{p.name}" for top in ("vis", "nir")
               for p in (folder / top).rglob("*.jpg")]  # fmt: skip
    assert sorted(listed) == sorted(on_disk)
    assert len(set(listed)) == len(listed) == 64


def test_llcm_test_folders_hold_copies_of_the_test_set(trees):
    folder = trees["llcm"]
    test_ids = set(id_list(folder / "idx/test_id.txt"))
    for top in ("vis", "nir"):
        for path, _ in index_lines(folder / f"idx/test_{top}.txt"):
            original = folder / path
            camera = int(original.name.split("_c")[1][:2])
            copy = folder / f"test_{top}/cam{camera}/{original.parent.name}/{original.name}"
            assert copy.read_bytes() == original.read_bytes()
            assert int(original.parent.name) in test_ids


def test_llcm_has_no_infrared_camera_3_and_disjoint_identities(trees):
    folder = trees["llcm"]
    assert not (folder / "test_nir/cam3").exists()
    assert not list((folder / "nir").rglob("*_c03_*"))
    train = {int(path.split("/")[1]) for path, _ in index_lines(folder / "idx/train_vis.txt")}
    assert len(train) == 5
    assert train.isdisjoint(id_list(folder / "idx/test_id.txt"))


def test_llcm_every_query_has_a_match_in_another_camera(tmp_path):
    request = Request(seed=0, train_ids=2, test_ids=30, images_per_id=1, test_images_per_id=2)
    folder = generate_synthetic(layout="llcm", out=tmp_path, request=request, height=48, width=24)
    cameras = defaultdict(set)
    for path in folder.glob("test_*/cam*/*/*.jpg"):
        cameras[path.parts[-4], path.parts[-2]].add(path.parts[-3])
    for (top, pid), seen in cameras.items():
        other = cameras["test_vis" if top == "test_nir" else "test_nir", pid]
        assert all(other - {camera} for camera in seen)


@pytest.mark.parametrize("trial", range(1, 11))
def test_regdb_trials_split_the_identities(trees, trial):
    folder = trees["regdb"]
    pids = {}
    for side, count in (("train", 5), ("test", 3)):
        for name, top in (("visible", "Visible"), ("thermal", "Thermal")):
            lines = index_lines(folder / f"idx/{side}_{name}_{trial}.txt")
            assert all((folder / path).exists() and path.startswith(top) for path, _ in lines)
            assert {label for _, label in lines} == set(range(count))
            pids[side, name] = {int(path.split("/")[1]) for path, _ in lines}
    assert pids["train", "visible"] == pids["train", "thermal"]
    assert pids["test", "visible"] == pids["test", "thermal"]
    assert pids["train", "visible"].isdisjoint(pids["test", "visible"])


def test_regdb_trials_differ(trees):
    lists = {
        (trees["regdb"] / f"idx/test_visible_{trial}.txt").read_text() for trial in range(1, 11)
    }
    assert len(lists) > 5


def test_folders_of_cameras_are_complete(trees):
    cameras = {
        path.relative_to(trees["llcm"]).as_posix() for path in trees["llcm"].glob("test_*/*")
    }
    assert cameras == {f"test_vis/cam{c}" for c in range(1, 10)} | {
        f"test_nir/cam{c}" for c in (1, 2, 4, 5, 6, 7, 8, 9)
    }
    names = {path.name for path in trees["sysu"].iterdir() if path.is_dir()}
    assert names == {"exp", *(f"cam{c}" for c in range(1, 7))}


def test_sysu_lists_split_the_identities(trees):
    exp = trees["sysu"] / "exp"
    lists = {
        name: id_list(exp / f"{name}_id.txt") for name in ("train", "val", "test", "available")
    }
    assert [len(lists[name]) for name in ("train", "val", "test", "available")] == [4, 1, 3, 8]
    assert sorted(lists["train"] + lists["val"] + lists["test"]) == lists["available"]


def test_sysu_some_test_identities_were_never_indoors(tmp_path):
    request = Request(seed=0, train_ids=2, test_ids=20, images_per_id=4, test_images_per_id=4)
    folder = generate_synthetic(layout="sysu", out=tmp_path, request=request, height=48, width=24)
    test_ids = {f"{pid:04d}" for pid in id_list(folder / "exp/test_id.txt")}
    present = [test_ids & {path.name for path in (folder / f"cam{c}").iterdir()} for c in (1, 2)]
    assert present[0] == present[1]
    assert 0 < len(present[0]) < 20
    for camera in (3, 4, 5, 6):
        assert test_ids <= {path.name for path in (folder / f"cam{camera}").iterdir()}


def test_sysu_draws_have_the_official_structure(trees):
    folder = trees["sysu"]
    cameras = scipy.io.loadmat(folder / "exp/rand_perm_cam.mat")["rand_perm_cam"]
    assert cameras.shape == (6, 1)
    for camid in range(1, 7):
        cell = cameras[camid - 1][0]
        assert cell.shape == (8, 1)
        for pid in range(1, 9):
            stems = [int(path.stem) for path in (folder / f"cam{camid}/{pid:04d}").glob("*.jpg")]
            draws = cell[pid - 1][0]
            assert draws.shape == (10, len(stems))
            assert all(sorted(row) == sorted(stems) for row in draws.tolist())


def test_existing_tree_is_kept_refused_or_replaced(tmp_path, capsys):
    folder = generate_synthetic(layout="sysu", out=tmp_path, request=REQUEST, **SMALL)
    stamp = (folder / "synthetic.json").stat().st_mtime_ns
    generate_synthetic(layout="sysu", out=tmp_path, request=REQUEST, **SMALL)
    assert "already holds this dataset" in capsys.readouterr().err
    assert (folder / "synthetic.json").stat().st_mtime_ns == stamp
    with pytest.raises(FileExistsError, match=r"is not this generated dataset.*--force"):
        generate_synthetic(layout="sysu", out=tmp_path, request=REQUEST, height=64, width=40)
    generate_synthetic(
        layout="sysu", out=tmp_path, request=REQUEST, height=64, width=40, force=True
    )
    assert json.loads((folder / "synthetic.json").read_text())["width"] == 40
    assert [path.name for path in tmp_path.iterdir()] == ["SYSU-MM01"]


@pytest.mark.parametrize("force", [False, True])
def test_a_distributed_dataset_is_never_replaced(tmp_path, force):
    image = tmp_path / "LLCM" / "vis" / "0001" / "a.jpg"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"licensed")
    with pytest.raises(FileExistsError, match=r"has no synthetic\.json, .* is never replaced"):
        generate_synthetic(layout="llcm", out=tmp_path, request=REQUEST, force=force, **SMALL)
    assert image.read_bytes() == b"licensed"
    assert [path.name for path in tmp_path.iterdir()] == ["LLCM"]


def test_a_tree_of_shifted_cameras_is_another_tree(tmp_path):
    request = Request(seed=0, train_ids=2, test_ids=1, images_per_id=1, test_images_per_id=4)
    options = {"layout": "llcm", "out": tmp_path, "request": request, "height": 48, "width": 24}
    folder = generate_synthetic(**options, camera_shift=1.0)
    assert json.loads((folder / "synthetic.json").read_text())["camera_shift"] == 1.0
    assert generate_synthetic(**options, camera_shift=1.0) == folder
    for shift in (0.0, 2.0):
        with pytest.raises(FileExistsError, match="is not this generated dataset"):
            generate_synthetic(**options, camera_shift=shift)
    with pytest.raises(ValueError, match="camera_shift is -1, expected 0 to 10"):
        generate_synthetic(**options, camera_shift=-1)


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "LLCM").mkdir()
    with pytest.raises(FileExistsError, match="is not a generated dataset and is never replaced"):
        generate_synthetic(layout="llcm", out=tmp_path, request=REQUEST, **SMALL)


def test_interrupted_generation_leaves_nothing_that_looks_complete(tmp_path, monkeypatch):
    def stop(job):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generate_module, "_render_job", stop)
        with pytest.raises(KeyboardInterrupt):
            generate_synthetic(layout="llcm", out=tmp_path, request=REQUEST, **SMALL)
    assert not (tmp_path / "LLCM").exists()
    assert generate_synthetic(layout="llcm", out=tmp_path, request=REQUEST, **SMALL).exists()


@pytest.mark.parametrize(
    ("layout", "changes", "message"),
    [
        ("llcm", {"train_ids": 1}, "train_ids is 1, expected at least 2"),
        ("llcm", {"test_ids": 0}, "test_ids is 0, expected at least 1"),
        ("llcm", {"images_per_id": 0}, "images_per_id is 0, expected at least 1"),
        ("llcm", {"seed": -1}, "seed is -1, expected at least 0"),
        ("llcm", {"images_per_id": 10_000}, "images_per_id is 10000, expected below 10000"),
        ("llcm", {"train_ids": 9999}, "9999 \\+ 3 identities do not fit folders of four digits"),
        ("llcm", {"test_images_per_id": 1}, "test_images_per_id is 1, expected at least 2"),
        ("sysu", {"test_images_per_id": 1}, "test_images_per_id is 1, expected at least 2"),
        ("regdb", {"images_per_id": 5}, "5 training and 4 test images"),
        ("llcm", {"height": 20}, "images of 20x32 are too small"),
        ("llcm", {"workers": 0}, "workers is 0, expected at least 1"),
    ],
)
def test_impossible_requests_say_what_to_ask_for(tmp_path, layout, changes, message):
    fields = {**REQUEST.__dict__, **{k: v for k, v in changes.items() if k in REQUEST.__dict__}}
    others = SMALL | {k: v for k, v in changes.items() if k not in REQUEST.__dict__}
    with pytest.raises(ValueError, match=message):
        generate_synthetic(layout=layout, out=tmp_path, request=Request(**fields), **others)
    assert not list(tmp_path.iterdir())


def test_what_is_not_asked_for_is_the_demos_dataset():
    """A table on synthetic data that is run before the demo has its images."""
    tool = runpy.run_path(str(TOOL))
    asked = ["--layout", "llcm", "--out", "x"]
    assert tool["read_request"](tool["build_parser"]().parse_args(asked)) == USUAL


def run_tool(*arguments):
    return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True)


def test_tool_splits_a_total_and_prints_the_folder(tmp_path):
    size = ("--height", "48", "--width", "24", "--images-per-id", "2", "--workers", "1")
    result = run_tool("--layout", "llcm", "--out", str(tmp_path), "--ids", "10", *size)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(tmp_path / "LLCM")
    assert "images/s" in result.stderr
    description = json.loads((tmp_path / "LLCM/synthetic.json").read_text())
    assert (description["train_ids"], description["test_ids"]) == (7, 3)


def test_tool_refuses_a_total_beside_its_parts(tmp_path):
    arguments = ("--layout", "llcm", "--out", str(tmp_path), "--ids", "10", "--test-ids", "3")
    result = run_tool(*arguments)
    assert result.returncode == 2
    assert "--ids is the sum of both splits" in result.stderr
