"""Places, boxes, views, sensors and scenes of make_pairs.py, each alone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from noise_photographs import SHAPE, as_infrared, as_visible, texture, write_boxes

from wrimnet.data.datasets.base import held_out_tenth
from wrimnet.lab.pairs.boxes import find_boxes
from wrimnet.lab.pairs.cuts import camera, choose_frame, cut_out, render, view_of
from wrimnet.lab.pairs.description import GENERATOR_VERSION
from wrimnet.lab.pairs.options import Options
from wrimnet.lab.pairs.photographs import gray
from wrimnet.lab.pairs.places import MAX_OVERLAP, find_places
from wrimnet.lab.pairs.responses import Response, draw_camera_response, draw_hour, respond
from wrimnet.lab.pairs.same_scene import (
    find_features,
    group_by_look,
    group_by_prefix,
    show_same_place,
)
from wrimnet.lab.pairs.split import divide, number_regions
from wrimnet.lab.pairs.survey import visible_contrast
from wrimnet.lab.pairs.tracks import has_tracks
from wrimnet.lab.pairs.views import Region, RegionView, corners, overlap, reach_box
from wrimnet.lab.synthetic.rendering import Shot
from wrimnet.modality import INFRARED, VISIBLE

NEUTRAL = Response(1.0, 1.0, 0.0, 1.0, (1.0, 1.0, 1.0), 0.0, 0.0)
SHOTS = [
    Shot(pid, camid, modality, number, camid)
    for pid in range(1, 21)
    for camid in range(1, 10)
    for modality in (VISIBLE, INFRARED)
    for number in range(3)
]


def places(visible, infrared, min_size=32):
    return find_places("a", visible, infrared, min_size, 96 / 36)


def test_places_lie_apart_and_all_their_cuts_inside_the_photograph():
    values = texture(0)
    found = places(gray(as_visible(values)), as_infrared(values))
    assert len(found) > 3
    for number, region in enumerate(found):
        assert (overlap(region, found[:number]) <= MAX_OVERLAP).all()
        top, left, bottom, right = reach_box(region)
        assert top >= 0 and left >= 0 and bottom <= SHAPE[0] and right <= SHAPE[1]


def test_places_have_texture_in_both_modalities_and_at_the_same_spots():
    one, other, flat = texture(1), texture(2), np.full(SHAPE, 128.0)
    assert places(gray(as_visible(one)), as_infrared(one))
    assert not places(gray(as_visible(one)), as_infrared(flat))
    assert not places(gray(as_visible(flat)), as_infrared(one))
    by_chance = places(gray(as_visible(one)), as_infrared(other))
    assert len(by_chance) < len(places(gray(as_visible(one)), as_infrared(one)))


def test_photograph_smaller_than_a_window_has_no_place():
    values = texture(0)[:40, :40]
    assert places(gray(as_visible(values)), as_infrared(values)) == []


def test_most_textured_half_is_chosen():
    values = texture(3)
    values[:, : SHAPE[1] // 2] = 128 + 0.1 * (values[:, : SHAPE[1] // 2] - 128)
    found = places(gray(as_visible(values)), as_infrared(values))
    assert found and all(region.left + region.width > SHAPE[1] // 2 for region in found)


def test_overlap_is_that_of_the_reach():
    region = Region("a", 0.0, 0.0, 30.0, 12.0)
    top, left, bottom, right = reach_box(region)
    below = Region("a", bottom - top, 0.0, 30.0, 12.0)
    half = Region("a", 0.0, (right - left) / 2, 30.0, 12.0)
    assert overlap(region, [region, below, half]) == pytest.approx([1.0, 0.0, 0.5])
    assert overlap(region, []).shape == (0,)


def test_corners_by_hand():
    region = Region("a", 10.0, 20.0, 40.0, 20.0)
    assert corners(region, RegionView()).tolist() == [[20, 10], [40, 10], [40, 50], [20, 50]]
    moved = corners(region, RegionView(scale=2.0, aspect=4.0, shift=(0.25, -0.5)))
    assert np.allclose(moved, [[10, -40], [30, -40], [30, 120], [10, 120]])
    turned = corners(
        region, RegionView(angle=np.pi / 2)
    )  # clockwise on the screen: the top goes right
    assert np.allclose(turned, [[50, 20], [50, 40], [10, 40], [10, 20]])


@pytest.mark.parametrize("region", [Region("a", 5, 9, 96, 36), Region("a", 0, 0, 40, 90)])
def test_no_cut_leaves_the_reach_of_its_region(region):
    top, left, bottom, right = reach_box(region)
    for seed in range(3):
        for shot in SHOTS:
            x, y = corners(region, view_of(seed, shot)).T
            assert left <= x.min() and x.max() <= right and top <= y.min() and y.max() <= bottom


# Scale, aspect, shifts and angle by generator version 1. Change them only together with
# GENERATOR_VERSION: numbers measured on a set belong to one version.
FROZEN = {
    Shot(1, 1, VISIBLE, 0, 1): (1.141894, 1.058144, 0.040197, -0.088219, -0.018822),
    Shot(1, 1, INFRARED, 0, 1): (1.005842, 1.044139, -0.008664, -0.001187, 0.0483),
    Shot(77, 9, VISIBLE, 3, 9): (0.900927, 0.949842, -0.097999, -0.010973, 0.018999),
}


@pytest.mark.parametrize("shot", FROZEN)
def test_views_are_frozen(shot):
    assert GENERATOR_VERSION == 1
    assert numbers_of(view_of(0, shot)) == pytest.approx(FROZEN[shot], abs=1e-6)


def numbers_of(view):
    return np.array([view.scale, view.aspect, *view.shift, view.angle])


def test_views_of_the_two_modalities_are_drawn_independently():
    pairs = [
        [numbers_of(view_of(0, Shot(pid, 1, modality, number, 1))) for modality in (0, 1)]
        for pid in range(1, 301)
        for number in range(2)
    ]
    visible, infrared = np.array(pairs).transpose(1, 0, 2)
    for drawn in range(5):
        assert not np.isin(visible[:, drawn], infrared[:, drawn]).any()
        correlation = np.corrcoef(visible[:, drawn], infrared[:, drawn])[0, 1]
        assert abs(correlation) < 0.13  # 3 standard errors


@pytest.mark.parametrize("modality", [VISIBLE, INFRARED])
def test_every_camera_has_a_view_and_a_response_of_its_own(modality):
    cameras = [camera(0, camid, modality) for camid in range(1, 10)]
    for drawn in range(5):
        assert len({numbers_of(view)[drawn] for view, _ in cameras}) == 9
    assert len({response for _, response in cameras}) == 9
    assert camera(0, 1, modality) != camera(1, 1, modality)
    assert camera(0, 1, VISIBLE) != camera(0, 1, INFRARED)
    for camid, (view, _) in enumerate(cameras, start=1):
        images = [numbers_of(view_of(0, Shot(p, camid, modality, 0, camid))) for p in range(400)]
        assert np.allclose(np.mean(images, 0), numbers_of(view), atol=0.01)


def test_upright_cut_of_its_own_size_is_the_photograph_itself():
    photograph = as_visible(texture(4))
    outline = corners(Region("a", 10, 20, 48, 18), RegionView())
    assert np.array_equal(cut_out(photograph, outline, (48, 18)), photograph[10:58, 20:38])


def test_small_cut_of_a_large_region_averages_its_pixels():
    photograph = as_infrared(texture(5))
    outline = corners(Region("a", 8, 16, 96, 36), RegionView())
    means = photograph[8:104, 16:52].reshape(24, 4, 9, 4).mean((1, 3))
    assert np.abs(cut_out(photograph, outline, (24, 9)) - means).max() <= 0.51


def test_neutral_response_changes_nothing_and_infrared_has_three_equal_channels():
    draw = np.random.default_rng(0)
    color, infrared = as_visible(texture(6)), as_infrared(texture(6))
    assert np.array_equal(respond(color, NEUTRAL, NEUTRAL, draw), color)
    recorded = respond(
        infrared, draw_camera_response(INFRARED, draw), draw_hour(INFRARED, draw), draw
    )
    assert recorded.shape == (*SHAPE, 3) and (recorded == recorded[..., :1]).all()
    assert (recorded[..., 0] != infrared).mean() > 0.5


def test_every_part_of_a_shot_changes_the_image():
    photograph = as_visible(texture(7))
    region = Region("a", 40, 60, 48, 18)
    first = render(photograph, region, Shot(1, 1, VISIBLE, 0, 1), 0, (48, 18))
    others = [
        (Shot(2, 1, VISIBLE, 0, 1), 0),
        (Shot(1, 2, VISIBLE, 0, 2), 0),
        (Shot(1, 1, INFRARED, 0, 1), 0),
        (Shot(1, 1, VISIBLE, 1, 1), 0),
        (Shot(1, 1, VISIBLE, 0, 1), 1),
    ]
    images = [render(photograph, region, shot, seed, (48, 18)) for shot, seed in others]
    assert not any(np.array_equal(first, image) for image in images)
    again = render(photograph, region, Shot(1, 1, VISIBLE, 0, 1), 0, (48, 18))
    assert np.array_equal(first, again)


def test_boxes_are_read_as_yolo_writes_them(tmp_path):
    write_boxes(tmp_path, "a", "0 0.5 0.5 0.2 0.4", "", "1 0.5 0.5 0.1 0.5", "0 0.5 0.5 0.1 0.1")
    found = find_boxes("a", tmp_path / "a.txt", (200, 100), 30, 0)
    assert len(found.regions) == 1
    region = found.regions[0]
    assert (region.stem, region.top, region.left) == ("a", pytest.approx(60), pytest.approx(40))
    assert (region.height, region.width) == (pytest.approx(80), pytest.approx(20))
    assert (found.too_small, found.at_edge, found.other_class) == (1, 0, 1)
    other = find_boxes("a", tmp_path / "a.txt", (200, 100), 30, 1)
    assert (len(other.regions), other.other_class) == (1, 2)


def test_box_whose_cuts_leave_the_photograph_is_left_out(tmp_path):
    write_boxes(tmp_path, "a", "0 0.1 0.5 0.2 0.4", "0 0.5 0.80 0.2 0.4")
    found = find_boxes("a", tmp_path / "a.txt", (200, 100), 30, 0)
    assert (len(found.regions), found.at_edge) == (0, 2)


def test_photograph_without_a_box_file_has_no_boxes(tmp_path):
    assert find_boxes("a", tmp_path / "a.txt", (200, 100), 30, 0).regions == []


@pytest.mark.parametrize(
    "line",
    ["0 0.5 0.5 0.2", "0 0.5 0.5 0.2 0.4 0.9", "person 0.5 0.5 0.2 0.4", "0.5 0.5 0.5 0.2 0.4",
     "0 a 0.5 0.2 0.4", "-1 0.5 0.5 0.2 0.4", "0 0.5 0.5 0 0.4", "0 0.5 0.5 0.2 -0.4",
     "0 320 240 20 60", "0 0.95 0.5 0.2 0.4", "0 nan 0.5 0.2 0.4"],
)  # fmt: skip
def test_malformed_box_is_named_by_file_and_line(tmp_path, line):
    write_boxes(tmp_path, "a", "0 0.5 0.5 0.2 0.4", line)
    with pytest.raises(ValueError, match=r"a\.txt:2: .*expected 'class cx cy w h'"):
        find_boxes("a", tmp_path / "a.txt", (200, 100), 30, 0)


def test_box_that_stands_twice_is_named(tmp_path):
    write_boxes(tmp_path, "a", "0 0.5 0.5 0.2 0.4", "0 0.5 0.5 0.2 0.40")
    with pytest.raises(ValueError, match=r"a\.txt:2: the box of line 1 is repeated; remove one"):
        find_boxes("a", tmp_path / "a.txt", (200, 100), 30, 0)


def test_photographs_of_one_place_are_found():
    wide = as_infrared(texture(8, (200, 300)))
    left, right = find_features(wide[:, :220]), find_features(wide[20:, 60:])
    near = find_features(cv2.resize(wide[30:170, 40:250], None, fx=1.3, fy=1.3))
    strange = find_features(as_infrared(texture(9, (200, 300))))
    flat = find_features(np.full((200, 300), 90, np.uint8))
    assert show_same_place(left, right) and show_same_place(left, near)
    assert not show_same_place(left, strange) and not show_same_place(left, flat)
    assert not show_same_place(flat, flat)
    groups = group_by_look([left, strange, right, flat, near], map)
    assert groups == [[0, 2, 4], [1], [3]]


def test_photographs_of_one_name_are_one_scene():
    assert group_by_prefix(["0101", "0102", "0201", "0103"], 2) == [[0, 1, 3], [2]]


def make_scenes(*sizes):
    return [
        [Region(f"s{i}", 10.0 * j, 0.0, 30.0, 12.0) for j in range(size)]
        for i, size in enumerate(sizes)
    ]


def test_scenes_are_divided_by_the_share_and_none_is_in_both():
    scenes = make_scenes(*[3] * 12)
    train, test = divide(scenes, Options())
    assert (len(train), len(test)) == (8, 4)
    stems = [{region.stem for scene in side for region in scene} for side in (train, test)]
    assert stems[0].isdisjoint(stems[1])
    assert divide(scenes, Options(seed=1)) != (train, test)
    assert [len(side) for side in divide(scenes, Options(train_share=0.5))] == [6, 6]


def test_wanted_number_is_spread_over_the_scenes():
    train, test = divide(make_scenes(*[3] * 12), Options(train_ids=10, test_ids=3))
    assert sorted(map(len, train)) == [1] * 6 + [2] * 2
    assert sorted(map(len, test)) == [1] * 3


@pytest.mark.parametrize(
    ("scenes", "options", "message"),
    [
        (make_scenes(4, 0), Options(), "1 of 2 scenes have places; two disjoint splits need"),
        (make_scenes(1, 1), Options(), "the training scenes have 1 places, expected at least 2"),
        (
            make_scenes(3, 3, 3),
            Options(train_ids=7),
            "--train-ids 7, but the 2 train scenes have 6",
        ),
        (make_scenes(3, 3, 3), Options(test_ids=4), "--test-ids 4, but the 1 test scenes have 3"),
        (make_scenes(5000, 5000), Options(), "5000 [+] 5000 places do not fit .* four digits"),
    ],
)
def test_too_few_or_too_many_are_refused(scenes, options, message):
    with pytest.raises(ValueError, match=message):
        divide(scenes, options)


def test_held_out_numbers_go_to_whole_scenes():
    train = make_scenes(*[4] * 15)
    pids = list(range(1, 62))
    numbered = number_regions(train, make_scenes(1), (pids[:-1], pids[-1:]))
    assert sorted(numbered) == pids
    held_out = held_out_tenth(set(pids[:-1]))
    stems = {numbered[pid].stem for pid in held_out}
    assert len(held_out) == 6
    assert len(stems) == 2  # 4 of one scene, and 2 of the next that could not be kept whole
    train = make_scenes(*[3] * 20)
    numbered = number_regions(train, make_scenes(1), (pids[:-1], pids[-1:]))
    stems = {numbered[pid].stem for pid in held_out}
    assert stems.isdisjoint(numbered[pid].stem for pid in set(pids[:-1]) - held_out)


def test_boxes_near_the_edge_are_kept_with_padding(tmp_path):
    write_boxes(tmp_path, "a", "0 0.1 0.5 0.2 0.4", "0 0.5 0.80 0.2 0.4")
    found = find_boxes("a", tmp_path / "a.txt", (200, 100), 30, 0, pad=True)
    assert (len(found.regions), found.at_edge) == (2, 0)


def test_track_ids_are_read_from_the_sixth_column(tmp_path):
    write_boxes(tmp_path, "a", "0 0.5 0.5 0.2 0.4 7", "0 0.4 0.5 0.2 0.4 12", "1 0.5 0.5 0.1 0.5 7")
    found = find_boxes("a", tmp_path / "a.txt", (200, 100), 30, 0)
    assert found.tracks == [7, 12] and found.other_class == 1
    write_boxes(tmp_path, "a", "0 0.5 0.5 0.2 0.4 7", "0 0.4 0.5 0.2 0.4 7")
    with pytest.raises(ValueError, match=r"a\.txt:2: the track of line 1 is repeated; remove one"):
        find_boxes("a", tmp_path / "a.txt", (200, 100), 30, 0)
    write_boxes(tmp_path, "a", "0 0.5 0.5 0.2 0.4 -1")
    with pytest.raises(ValueError, match="expected 'class cx cy w h' or 'class cx cy w h track'"):
        find_boxes("a", tmp_path / "a.txt", (200, 100), 30, 0)


def test_track_ids_on_some_lines_only_are_refused(tmp_path):
    write_boxes(tmp_path, "a", "0 0.5 0.5 0.2 0.4 7")
    write_boxes(tmp_path, "b", "", "0 0.5 0.5 0.2 0.4")
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    with pytest.raises(ValueError, match=r"a\.txt:1 has a track id .* b\.txt:2 has none|b\.txt:2"):
        has_tracks(files)
    assert has_tracks(files[:1]) and not has_tracks(files[1:]) and not has_tracks([])


def test_visible_contrast_is_that_of_the_region():
    brightness = np.zeros((40, 40), np.uint8)
    brightness[10:20, 10:20] = np.arange(100, dtype=np.uint8).reshape(10, 10) * 2
    assert visible_contrast(brightness, Region("a", 25, 25, 10, 10)) == 0
    assert 150 < visible_contrast(brightness, Region("a", 10, 10, 9, 9)) < 200


def test_frames_of_a_track_are_drawn_independently_in_the_two_modalities():
    frames = [Region(f"f{number}", 0.0, 0.0, 30.0, 12.0) for number in range(5)]
    chosen = {shot: choose_frame(frames, shot, 0) for shot in SHOTS}
    assert set(chosen.values()) == set(frames)
    pairs = [(chosen[shot], chosen[replace(shot, modality=INFRARED)]) for shot in SHOTS
             if shot.modality == VISIBLE]  # fmt: skip
    assert abs(np.mean([one == other for one, other in pairs]) - 0.2) < 0.06
    assert all(choose_frame(frames[:1], shot, 0) == frames[0] for shot in SHOTS)
