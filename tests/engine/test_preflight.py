"""Rules of a run: what breaks one is a sentence, and nothing is written for them."""

import os
import re
from pathlib import Path

import pytest
from tiny_runs import make_noise_tree, tiny_cfg
from trees import digests, make_sysu_tree

from wrimnet.config import plain
from wrimnet.config.setup import hashed_values
from wrimnet.data.build import build_dataset
from wrimnet.engine.checkpointing import CONTENT, CheckpointStore, write_atomically
from wrimnet.engine.preflight import build_origin, preflight
from wrimnet.engine.resume_changes import build_changes, unhashed
from wrimnet.run_folder import LOST, TRACES


@pytest.fixture
def make_cfg(data, tmp_path):
    return lambda **keys: tiny_cfg(data, tmp_path / "out", **keys)


def save(folder, iteration, **values):
    """Saves a checkpoint that has all its parts, 0 where ``values`` say nothing."""
    Path(folder).mkdir(exist_ok=True)
    content = {**dict.fromkeys(CONTENT, 0), "iteration": iteration, "evaluated": True, **values}
    CheckpointStore(folder, keep=9).save(iteration, content)


def save_run(cfg, iteration, **values):
    """Saves a checkpoint of the run of ``cfg``."""
    origin = build_origin(cfg, build_dataset(cfg))
    save(cfg.OUTPUT_DIR, iteration, iters_per_epoch=2, **{**origin, **values})


@pytest.mark.parametrize(
    ("keys", "error", "sentence"),
    [
        ({"TEST__PROTOCOLS": "('regdb_v2t',)"}, ValueError, "regdb_v2t belongs to RegDB"),
        ({"TEST__PROTOCOLS": "('llcm',)"}, KeyError, "unknown protocol 'llcm'"),
        ({"DATASETS__NAMES": "('Market1501',)"}, ValueError, "expected exactly one of LLCM"),
        (
            {"TEST__GALLERY_DRAW": "official"},
            ValueError,
            "llcm_ir2vis has no gallery sampling 'official'",
        ),
        (
            {"TEST__EXPECTED_RESULTS": "[['llcm_vis2ir_swapped', 'mAP', 0.5, 0.1]]"},
            ValueError,
            "expects llcm_vis2ir_swapped, this run has",
        ),
        ({"TEST__EXPECTED_RESULTS": "[3]"}, ValueError, "EXPECTED_RESULTS entry 3"),
        ({"MODEL__WEIGHTS": "gone.pth"}, FileNotFoundError, "MODEL.WEIGHTS = 'gone.pth' does not"),
        (
            {"MODEL__BACKBONE__PRETRAIN": "True", "MODEL__BACKBONE__PRETRAIN_PATH": "gone.pth"},
            FileNotFoundError,
            "PRETRAIN_PATH = 'gone.pth' does not",
        ),
    ],
)
def test_what_cannot_be_run_is_a_sentence(make_cfg, tmp_path, keys, error, sentence):
    with pytest.raises(error, match=sentence):
        preflight(make_cfg(**keys), resume=False)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_of_an_official_draw_is_named(tmp_path):
    make_sysu_tree(tmp_path / "data")
    keys = {"TEST__GALLERY_DRAW": "official", "TEST__PERM_FILE": "nowhere.mat"}
    keys["DATASETS__NAMES"] = "('SYSU_MM01',)"
    with pytest.raises(FileNotFoundError, match=r"file 'nowhere\.mat' does not exist"):
        preflight(tiny_cfg(tmp_path / "data", tmp_path / "out", **keys), resume=False)


def test_sound_run_is_accepted_and_nothing_is_written(make_cfg, tmp_path):
    checked = preflight(make_cfg(), resume=False)
    assert (checked.checkpoint, checked.files) == (None, [])
    assert checked.length == (2, 2)
    assert checked.cfg.MODEL.HEADS.NUM_CLASSES == checked.dataset.num_train_pids == 5
    assert list(tmp_path.iterdir()) == []


def test_range_of_another_run_is_not_taken_by_a_new_one(make_cfg):
    """The config.yaml of a run holds it; these images have 8 bits."""
    keys = {"INPUT__INFRARED_RANGE": "auto", "INPUT__MEASURED_RANGE": "(7000.0, 8500.0)"}
    assert preflight(make_cfg(**keys), resume=False).cfg.INPUT.MEASURED_RANGE == ()


def test_classes_without_images_are_pointed_out(make_cfg, caplog):
    preflight(make_cfg(MODEL__HEADS__NUM_CLASSES="5"), resume=False)
    assert "NUM_CLASSES" not in caplog.text
    checked = preflight(make_cfg(MODEL__HEADS__NUM_CLASSES="50"), resume=False)
    assert checked.cfg.MODEL.HEADS.NUM_CLASSES == 50
    assert "NUM_CLASSES = 50, but there are 5 training identities" in caplog.text


def changes_of(tmp_path, before, now):
    """The changes of a run of four iterations, by keys of its start and of its resumption."""
    old, new = (tiny_cfg(tmp_path, tmp_path / "out", **keys) for keys in (before, now))
    state = {"settings": plain(hashed_values(old)), "iteration": 4, "changes": []}
    return build_changes(new, state, tmp_path)


def test_where_images_are_cached_may_change(tmp_path):
    entry = {"first_iteration": 5, "keys": {"DATALOADER.CACHE": ["none", "ram"]}}
    assert changes_of(tmp_path, {}, {"DATALOADER__CACHE": "ram"}) == [entry]
    assert changes_of(tmp_path, {}, {}) == []


@pytest.mark.parametrize(
    ("key", "old", "new", "sentence"),
    [
        ("MODEL.WRIM.MIIM.NORM", "none", "entrance", "'none', now 'entrance'"),
        ("MODEL.WRIM.MIIM.NORM", "gate", "none", "'gate', now 'none'"),
        ("MODEL.WRIM.MIIM.GATE_SCALE", "1.0", "2.0", r"1\.0, now 2\.0"),
        ("SOLVER.COMPILE", "always", "never", "'always', now 'never'"),
        ("SOLVER.COMPILE", "auto", "always", "'auto or never', now 'always'"),
    ],
)
def test_refused_changes_are_told_in_values_of_the_keys(tmp_path, key, old, new, sentence):
    """The checkpoint has them as the hash does: None, False, TrainingSampler."""
    name = key.replace(".", "__")
    with pytest.raises(ValueError, match=rf"configuration: {key} is {sentence}"):
        changes_of(tmp_path, {name: old}, {name: new})


def test_first_sampler_is_told_by_its_present_name():
    assert unhashed("DATALOADER.SAMPLER_TRAIN", "TrainingSampler") == "cross_modality"
    assert unhashed("DATALOADER.SAMPLER_TRAIN", "any_people") == "any_people"


@pytest.mark.parametrize("trace", TRACES)
def test_folder_with_traces_of_a_run_needs_resume(make_cfg, tmp_path, trace):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / trace).write_bytes(b"")
    with pytest.raises(ValueError, match="holds an earlier run; add --resume"):
        preflight(make_cfg(), resume=False)


@pytest.mark.parametrize("trace", ["metrics.jsonl", "model_best.pth"])
def test_run_without_a_checkpoint_yet_starts_again(make_cfg, tmp_path, trace, caplog):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / trace).write_bytes(b"")
    assert preflight(make_cfg(), resume=True).files == [trace]
    assert "nothing to resume in" in caplog.text and "a new run starts" in caplog.text


@pytest.mark.parametrize("trace", LOST)
def test_run_whose_checkpoint_is_gone_is_not_started_again(make_cfg, tmp_path, trace):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / trace).write_text("checkpoint_00000320.pth")
    name = "checkpoint_00000320.pth" if trace == "last_checkpoint" else r"checkpoint_\*.pth"
    told = f"not its checkpoint {name}; put it back, move the folder away, or choose another"
    with pytest.raises(ValueError, match=f"out holds {trace} of a run, but {told}"):
        preflight(make_cfg(), resume=True)


def test_fewer_epochs_than_are_trained_are_refused(make_cfg, tmp_path):
    cfg = make_cfg()
    save_run(cfg, 4)
    assert preflight(cfg, resume=True).checkpoint.start_iter == 4
    save_run(cfg, 5)
    before = digests(tmp_path)
    with pytest.raises(ValueError, match=r"SOLVER.MAX_EPOCH = 2: .* has trained 2\.5 epochs"):
        preflight(cfg, resume=True)
    assert digests(tmp_path) == before


def test_checkpoint_before_its_evaluation_starts_with_the_evaluation(make_cfg):
    save_run(make_cfg(), 2, evaluated=False)
    assert preflight(make_cfg(), resume=True).checkpoint.start_iter == 1


def test_other_images_are_refused_wherever_they_lie(tmp_path):
    cfg = tiny_cfg(tmp_path / "data", tmp_path / "out")
    folder = make_noise_tree(tmp_path / "data")
    save_run(cfg, 1)
    preflight(cfg, resume=True)
    folder.parent.rename(tmp_path / "moved")
    moved = tiny_cfg(tmp_path / "moved", tmp_path / "out")
    preflight(moved, resume=True)
    next((tmp_path / "moved").rglob("vis/*/*.jpg")).write_bytes(b"another")
    with pytest.raises(ValueError, match=r"had other training images than those in .*moved"):
        preflight(moved, resume=True)


def test_resume_with_one_character_of_a_plugin_changed_names_the_file(
    make_cfg, tmp_path, monkeypatch
):
    file = tmp_path / "scaled_loss.py"
    file.write_text("FACTOR = 2\n")
    monkeypatch.chdir(tmp_path)
    cfg = make_cfg(PLUGINS="['scaled_loss']")
    save_run(cfg, 1)
    assert preflight(cfg, resume=True).checkpoint.start_iter == 1
    file.write_text("FACTOR = 3\n")
    with pytest.raises(ValueError, match=f"source of plug-ins, {file}, was changed, added or rem"):
        preflight(cfg, resume=True)


def test_other_test_images_are_refused(tmp_path):
    cfg = tiny_cfg(tmp_path / "data", tmp_path / "out")
    folder = make_noise_tree(tmp_path / "data")
    save_run(cfg, 1)
    image = next(folder.rglob("test_vis/*/*/*.jpg"))
    image.write_bytes(image.read_bytes() + b"another")
    with pytest.raises(ValueError, match=r"had other test images than those in"):
        preflight(cfg, resume=True)


def test_missing_newest_checkpoint_is_told(tmp_path, caplog):
    for iteration in (2, 4):
        save(tmp_path, iteration)
    (tmp_path / "checkpoint_00000004.pth").unlink()
    store = CheckpointStore(tmp_path)
    newest = store.find_newest()
    assert newest.state["iteration"] == 2
    store.set_newest(newest.path)
    assert "last_checkpoint names checkpoint_00000004.pth, which is missing" in caplog.text


@pytest.mark.parametrize("word", ["", ".", "./"])
def test_working_folder_is_no_folder_of_a_run(make_cfg, word):
    with pytest.raises(ValueError, match=f"'{re.escape(word)}' is the current directory"):
        preflight(make_cfg(OUTPUT_DIR=word), resume=False)


def test_file_in_place_of_the_folder_is_named(make_cfg, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OSError, match=r"OUTPUT_DIR = .*out' cannot be written"):
        preflight(make_cfg(), resume=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written_is_named(make_cfg, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(OSError, match=r"OUTPUT_DIR = .*out' cannot be written"):
        preflight(make_cfg(), resume=False)


def test_damaged_newest_checkpoint_is_set_aside_and_not_counted(tmp_path):
    for iteration in (2, 4):
        save(tmp_path, iteration)
    (tmp_path / "checkpoint_00000004.pth").write_bytes(b"broken")
    store = CheckpointStore(tmp_path, keep=1)
    newest = store.find_newest()
    assert newest.state["iteration"] == 2
    assert (tmp_path / "checkpoint_00000004.pth").exists()
    store.set_newest(newest.path)
    assert (tmp_path / "last_checkpoint").read_text() == "checkpoint_00000002.pth"
    store.save(3, {**newest.state, "iteration": 3})
    assert store.find_newest().state["iteration"] == 3
    assert sorted(path.name for path in tmp_path.glob("checkpoint_*")) == [
        "checkpoint_00000003.pth",
        "checkpoint_00000004.pth.damaged",
    ]


def test_checkpoint_without_its_parts_is_no_checkpoint(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(5, {"model": {}, "iteration": 5})
    with pytest.raises(ValueError, match=r"every checkpoint in .* is damaged: checkpoint_00000005"):
        store.find_newest()


def test_temporary_files_of_a_killed_run_are_removed(tmp_path):
    left = tmp_path / ".checkpoint_00000002.pth.123.tmp"
    left.write_bytes(b"half")
    write_atomically(tmp_path / "whole", lambda file: file.write(b"1"))
    CheckpointStore(tmp_path).remove_unfinished()
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
