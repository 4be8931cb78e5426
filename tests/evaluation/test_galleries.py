import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_items import llcm_items
from scipy.io import savemat

import wrimnet.plugin  # noqa: F401  registers the datasets
from wrimnet.data.images import ImageItem, fingerprint
from wrimnet.data.protocols import Protocol, find_protocol
from wrimnet.evaluation.features import parse_items
from wrimnet.evaluation.galleries import OfficialPermutations, build_trials
from wrimnet.modality import INFRARED, VISIBLE

FIXTURES = Path(__file__).parents[1] / "fixtures"
PERM_FILE = Path(__file__).parents[2] / ".." / "shared" / "data" / "rand_perm_cam.mat"
SYSU_TEST_IDS = [
    6, 10, 17, 21, 24, 25, 27, 28, 31, 34, 36, 37, 40, 41, 42, 43, 44, 45, 49, 50, 51, 54, 63, 69,
    75, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 93, 102, 104, 105, 106, 108, 112, 116, 117, 122,
    125, 129, 130, 134, 138, 139, 150, 152, 162, 166, 167, 170, 172, 176, 185, 190, 192, 202, 204,
    207, 210, 215, 223, 229, 232, 237, 252, 253, 257, 259, 263, 266, 269, 272, 273, 274, 275, 282,
    285, 291, 300, 301, 302, 303, 307, 312, 315, 318, 331, 333,
]  # fmt: skip
needs_perm_file = pytest.mark.skipif(
    not PERM_FILE.is_file(),
    reason=f"no {PERM_FILE.name}: it is published by github.com/wuancong/SYSU-MM01, not here",
)


def shuffled(relpaths, dataset):
    relpaths = np.random.default_rng(0).permutation(relpaths).tolist()
    return parse_items(relpaths, dataset)


def names(items, rows):
    return [items[row].relpath for row in rows]


@pytest.mark.parametrize(("setting", "name"), [("all", "sysu_all_single"),
                                               ("indoor", "sysu_indoor_single")])  # fmt: skip
def test_sysu_draw_is_the_reference_draw_in_its_order(setting, name):
    arrays = np.load(FIXTURES / "gallery_sysu.npz")
    items = shuffled(arrays["sysu/files"], "SYSU_MM01")
    items = [item for item in items if item.pid in arrays["sysu/test_id"]]
    trials = build_trials(find_protocol(name), items)
    assert len(trials) == 10
    for number, trial in enumerate(trials):
        expected = arrays[f"sysu/gallery_single/{setting}/{number}"].tolist()
        assert names(items, trial.gallery_rows) == expected
        assert sorted(names(items, trial.query_rows)) == sorted(arrays[f"sysu/query/{setting}"])


@pytest.mark.parametrize(("gallery", "name"), [("vis", "llcm_ir2vis"), ("nir", "llcm_vis2ir")])
def test_llcm_draw_is_the_reference_draw_in_its_order(gallery, name):
    arrays = np.load(FIXTURES / "gallery_llcm.npz")
    items = shuffled(arrays["llcm/files"], "LLCM")
    items = [item for item in items if item.pid in arrays["llcm/test_id"]]
    query = {"vis": "nir", "nir": "vis"}[gallery]
    for number, trial in enumerate(build_trials(find_protocol(name), items)):
        expected = arrays[f"llcm/gallery/{gallery}/{number}"].tolist()
        assert names(items, trial.gallery_rows) == expected
        assert names(items, trial.query_rows) == arrays[f"llcm/all/{query}"].tolist()


def test_llcm_swapped_draws_the_infrared_queries_and_searches_every_visible_image():
    arrays = np.load(FIXTURES / "gallery_llcm.npz")
    items = shuffled(arrays["llcm/files"], "LLCM")
    items = [item for item in items if item.pid in arrays["llcm/test_id"]]
    for number, trial in enumerate(build_trials(find_protocol("llcm_vis2ir_swapped"), items)):
        drawn = arrays[f"llcm/gallery/nir/{number}"].tolist()
        assert names(items, trial.query_rows) == drawn
        assert names(items, trial.gallery_rows) == arrays["llcm/all/vis"].tolist()


def test_regdb_has_one_trial_of_everything_in_the_order_of_the_paths():
    paths = ["Thermal/2/b.bmp", "Visible/2/a.bmp", "Visible/1/a.bmp", "Thermal/1/b.bmp"]
    items = parse_items(paths, "RegDB")
    (trial,) = build_trials(find_protocol("regdb_t2v"), items)
    assert (trial.query_rows.tolist(), trial.gallery_rows.tolist()) == ([3, 0], [2, 1])


def official_items(permutations):
    """Every test image that the permutations know, as items without files."""
    paths = [
        f"cam{camera}/{pid:04d}/{number:04d}.jpg"
        for camera in range(1, 7)
        for pid in SYSU_TEST_IDS
        for number in permutations.images(pid, camera, trial=0, shots=10**6)
    ]
    return parse_items(paths, "SYSU_MM01")


@needs_perm_file
@pytest.mark.parametrize(("setting", "shots"), [("all", 1), ("all", 10), ("indoor", 1),
                                                ("indoor", 10)])  # fmt: skip
def test_official_draw_has_the_reference_digests(setting, shots):
    fixture = json.loads((FIXTURES / "gallery_sysu_official_digests.json").read_text())
    sample = np.load(FIXTURES / "gallery_sysu_official_sample.npz")
    permutations = OfficialPermutations.load(PERM_FILE)
    items = official_items(permutations)
    name = f"sysu_{setting}_{'single' if shots == 1 else 'multi'}"
    trials = build_trials(find_protocol(name), items, draw="official", permutations=permutations)
    assert len(trials[0].query_rows) == 3803
    for number, trial in enumerate(trials):
        drawn = [path.removesuffix(".jpg") for path in names(items, trial.gallery_rows)]
        expected = fixture["digests"][f"{setting}/{shots}/{number}"]
        digest = hashlib.sha256("\n".join(sorted(drawn)).encode()).hexdigest()
        assert (len(drawn), digest) == (expected["n"], expected["sha256"])
        first = f"official/{setting}/{shots}/{number}/first20"
        if first in sample:
            assert drawn[:20] == sample[first].tolist()


def small_permutations(path, images=12, ids=3):
    """A file of the official structure: camera 3 never saw identity 2."""
    cameras = np.empty((6, 1), dtype=object)
    rng = np.random.default_rng(0)
    for camera in range(6):
        cell = np.empty((ids, 1), dtype=object)
        for pid in range(ids):
            rows = [rng.permutation(images) + 1 for _ in range(10)]
            cell[pid, 0] = np.zeros((0, 0)) if (camera, pid) == (2, 1) else np.array(rows)
        cameras[camera, 0] = cell
    savemat(path, {"rand_perm_cam": cameras})
    return OfficialPermutations.load(path)


def small_tree(images=12, ids=3):
    paths = [f"cam{c}/{pid:04d}/{n:04d}.jpg" for c in range(1, 7) for pid in range(1, ids + 1)
             for n in range(1, images + 1)]  # fmt: skip
    return parse_items(paths, "SYSU_MM01")


def test_official_draw_takes_the_first_of_each_permutation_cameras_outer(tmp_path):
    permutations, items = small_permutations(tmp_path / "perm.mat"), small_tree()
    trials = build_trials(
        find_protocol("sysu_indoor_multi"),
        items,
        draw="official",
        num_trials=2,
        permutations=permutations,
    )
    expected = [
        f"cam{camera}/{pid:04d}/{number:04d}.jpg"
        for camera in (1, 2)
        for pid in (1, 2, 3)
        for number in permutations.images(pid, camera, trial=1, shots=10)
    ]
    assert names(items, trials[1].gallery_rows) == expected
    assert permutations.images(2, 3, trial=0, shots=10) == []


def test_official_draw_refuses_a_tree_that_is_not_its_own(tmp_path):
    permutations = small_permutations(tmp_path / "perm.mat")
    options = {"draw": "official", "permutations": permutations}
    protocol = find_protocol("sysu_all_multi")
    with pytest.raises(ValueError, match=r"cam1/0001 \(3 images\): the images \[.* do not exist"):
        build_trials(protocol, small_tree(images=3), **options)
    with pytest.raises(ValueError, match="identity 4 is not among the 3 permutations"):
        build_trials(protocol, small_tree(ids=4), **options)
    with pytest.raises(ValueError, match="trial 10 is beyond the 10 official trials"):
        build_trials(protocol, small_tree(), num_trials=11, **options)
    with pytest.raises(ValueError, match=r"needs the permutations of rand_perm_cam\.mat"):
        build_trials(protocol, small_tree(), draw="official")


def test_a_missing_permutation_file_says_where_it_comes_from(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"github\.com/wuancong/SYSU-MM01, put it into"):
        OfficialPermutations.load(tmp_path / "rand_perm_cam.mat")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"other": np.zeros(3)}, "found no such variable"),
        ({"rand_perm_cam": np.zeros((6, 1))}, r"a 6 x 1 cell; found float64 \(6, 1\)"),
        ({"rand_perm_cam": np.array([[1], ["a"]], dtype=object)}, r"found object \(2, 1\)"),
        ({"rand_perm_cam": np.array([[i] for i in "abcdef"], dtype=object)}, "camera 1 is <U1"),
    ],
)
def test_a_permutation_file_without_the_structure_is_refused(tmp_path, content, found):
    savemat(tmp_path / "perm.mat", content)
    with pytest.raises(ValueError, match=found):
        OfficialPermutations.load(tmp_path / "perm.mat")


def test_a_permutation_file_that_is_no_mat_file_is_refused(tmp_path):
    (tmp_path / "perm.mat").write_text("404: not found")
    with pytest.raises(ValueError, match="is not a MATLAB file"):
        OfficialPermutations.load(tmp_path / "perm.mat")


def test_draws_that_a_protocol_does_not_have_are_refused():
    items = small_tree()
    with pytest.raises(ValueError, match="only the official permutations define"):
        build_trials(find_protocol("sysu_all_multi"), items, draw="agw")
    with pytest.raises(
        ValueError, match="llcm_ir2vis has no gallery sampling 'official'; use 'agw'"
    ):
        build_trials(find_protocol("llcm_ir2vis"), items, draw="official")
    with pytest.raises(ValueError, match="sysu_all_single has no gallery sampling 'random'"):
        build_trials(find_protocol("sysu_all_single"), items, draw="random")
    with pytest.raises(ValueError, match="num_trials is 0, expected at least 1"):
        build_trials(find_protocol("sysu_all_single"), items, num_trials=0)


def test_an_empty_side_is_named():
    visible = parse_items(["cam1/0001/0001.jpg"], "SYSU_MM01")
    infrared = parse_items(["cam3/0001/0001.jpg"], "SYSU_MM01")
    protocol = find_protocol("sysu_indoor_single")
    with pytest.raises(ValueError, match="no infrared test image, so the query is empty"):
        build_trials(protocol, visible)
    with pytest.raises(ValueError, match="no visible test image, so the gallery is empty"):
        build_trials(protocol, infrared)
    outdoor = parse_items(["cam4/0001/0001.jpg", "cam3/0001/0001.jpg"], "SYSU_MM01")
    with pytest.raises(ValueError, match=r"no image of cameras \(1, 2\), so the gallery is empty"):
        build_trials(protocol, outdoor)


@pytest.mark.parametrize(
    ("cameras", "other", "problem"),
    [((3,), (3,), "under the camera rule llcm_same_identity_same_camera"), ((1,), (2,), "")],
)
def test_trial_in_which_no_query_has_a_match_is_refused(cameras, other, problem):
    """Known from the labels, so an evaluation need not embed anything to find out."""
    items = [item for item in llcm_items(4, (*cameras, *other), 2)
             if item.camid in (cameras if item.modality else other)]  # fmt: skip
    protocol = find_protocol("llcm_ir2vis")
    if not problem:
        assert len(build_trials(protocol, items)) == 10
        items = [item._replace(pid=item.pid + 10 * item.modality) for item in items]
    with pytest.raises(ValueError, match=f"none of the .* has .* of trial 0 {problem}"):
        build_trials(protocol, items)


def listed_items():
    """Two identities; infrared "query" and "spare", visible "gallery" and none."""
    return [
        ImageItem("", pid, 1 + modality, modality, f"{pid}_{modality}_{number}.png", lists=lists)
        for pid in (1, 2)
        for modality, sides in ((VISIBLE, ("gallery", "")), (INFRARED, ("query", "spare")))
        for number, lists in enumerate((side,) if side else () for side in sides)
    ]


LISTED = Protocol(
    name="listed",
    dataset="LLCM",
    direction="infrared to visible",
    query_modality=INFRARED,
    gallery_modality=VISIBLE,
    query_list="query",
    gallery_list="gallery",
)


def test_queries_and_gallery_are_those_of_the_lists_that_the_protocol_names():
    items = listed_items()
    (trial,) = build_trials(LISTED, items)
    assert names(items, trial.query_rows) == ["1_1_0.png", "2_1_0.png"]
    assert names(items, trial.gallery_rows) == ["1_0_0.png", "2_0_0.png"]
    one_list = replace(LISTED, gallery_list="")
    assert len(build_trials(one_list, items)[0].gallery_rows) == 4


def test_a_draw_takes_listed_images_only():
    items = listed_items()
    drawn = replace(LISTED, drawn_side="gallery", shots=1, gallery_list="gallery")
    for trial in build_trials(drawn, items, num_trials=3):
        assert names(items, trial.gallery_rows) == ["1_0_0.png", "2_0_0.png"]


def test_an_empty_list_and_a_query_that_finds_itself_are_refused():
    with pytest.raises(ValueError, match=r"none of the 4 infrared .* in the list 'probe', .*query"):
        build_trials(replace(LISTED, query_list="probe"), listed_items())
    same = replace(LISTED, query_modality=VISIBLE, query_list="gallery")
    with pytest.raises(ValueError, match=r"1_0_0.png and 1 more images are queries and in"):
        build_trials(same, listed_items())


def test_lists_are_part_of_the_fingerprint_of_the_images():
    items = listed_items()
    plain = [item._replace(lists=()) for item in items]
    assert fingerprint(items) != fingerprint(plain)
    assert fingerprint(items[:1]) != fingerprint([items[0]._replace(lists=("other",))])
