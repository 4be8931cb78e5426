"""Rules of a run: one sentence each, and no data is read for them."""

import re

import pytest
from tiny_runs import make_noise_tree, tiny_cfg

from wrimnet.config import config_hash
from wrimnet.data.build import build_dataset
from wrimnet.data.images import fingerprint
from wrimnet.engine.checkpointing import CONTENT, CheckpointStore, write_atomically
from wrimnet.engine.run import check_run
from wrimnet.run_folder import LOST, TRACES


@pytest.fixture
def make_cfg(tmp_path):
    """Configurations whose dataset does not exist: whoever reads data fails otherwise."""
    return lambda **keys: tiny_cfg(tmp_path / "no_data", tmp_path / "out", **keys)


def save(store, iteration, **values):
    """Saves a checkpoint that has all its parts, 0 where ``values`` say nothing."""
    store.save(iteration, {**dict.fromkeys(CONTENT, 0), "iteration": iteration, **values})


@pytest.mark.parametrize(
    ("keys", "error", "sentence"),
    [
        ({"TEST__PROTOCOLS": "('regdb_v2t',)"}, ValueError, "regdb_v2t belongs to RegDB"),
        ({"TEST__PROTOCOLS": "('llcm',)"}, KeyError, "unknown protocol 'llcm'"),
        ({"DATASETS__NAMES": "('Market1501',)"}, ValueError, "expected exactly one of LLCM"),
        ({"TEST__GALLERY_DRAW": "official"}, ValueError, "official draw exists for SYSU-MM01 only"),
        (
            {
                "DATASETS__NAMES": "('SYSU_MM01',)",
                "TEST__GALLERY_DRAW": "official",
                "TEST__PERM_FILE": "nowhere.mat",
            },
            FileNotFoundError,
            "TEST.PERM_FILE = 'nowhere.mat' does not exist",
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
def test_what_cannot_be_run_is_a_sentence(make_cfg, keys, error, sentence):
    with pytest.raises(error, match=sentence):
        check_run(make_cfg(**keys), resume=False)


def test_sound_run_is_accepted_and_its_folder_made(make_cfg, tmp_path):
    check_run(make_cfg(), resume=False)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("trace", TRACES)
def test_folder_with_traces_of_a_run_needs_resume(make_cfg, tmp_path, trace):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / trace).write_bytes(b"")
    with pytest.raises(ValueError, match="holds an earlier run; add --resume"):
        check_run(make_cfg(), resume=False)


@pytest.mark.parametrize("trace", ["metrics.json", "model_best.pth"])
def test_run_without_a_checkpoint_yet_starts_again(make_cfg, tmp_path, trace, caplog):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / trace).write_bytes(b"")
    check_run(make_cfg(), resume=True)
    assert "nothing to resume in" in caplog.text and "this run starts anew" in caplog.text


@pytest.mark.parametrize("trace", LOST)
def test_run_whose_checkpoint_is_gone_is_not_started_again(make_cfg, tmp_path, trace):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / trace).write_text("checkpoint_00000320.pth")
    name = "checkpoint_00000320.pth" if trace == "last_checkpoint" else r"checkpoint_\*.pth"
    told = f"not its checkpoint {name}; put it back, move the folder away, or choose another"
    with pytest.raises(ValueError, match=f"out holds {trace} of a run, but {told}"):
        check_run(make_cfg(), resume=True)


def test_missing_newest_checkpoint_is_told(tmp_path, caplog):
    store = CheckpointStore(tmp_path)
    for iteration in (2, 4):
        save(store, iteration)
    (tmp_path / "checkpoint_00000004.pth").unlink()
    assert store.load_newest()["iteration"] == 2
    assert "last_checkpoint names checkpoint_00000004.pth, which is missing" in caplog.text


def test_fewer_epochs_than_are_trained_are_refused(make_cfg, tmp_path):
    cfg = make_cfg(SOLVER__MAX_EPOCH="2")
    (tmp_path / "out").mkdir()
    store = CheckpointStore(tmp_path / "out")
    save(store, 20, config_hash=config_hash(cfg), iters_per_epoch=10)
    check_run(cfg, resume=True)
    save(store, 25, config_hash=config_hash(cfg), iters_per_epoch=10)
    with pytest.raises(ValueError, match=r"SOLVER.MAX_EPOCH = 2: .* has trained 2\.5 epochs"):
        check_run(cfg, resume=True)


def test_other_images_are_refused_wherever_they_lie(tmp_path):
    cfg = tiny_cfg(tmp_path / "data", tmp_path / "out")
    folder = make_noise_tree(tmp_path / "data")
    (tmp_path / "out").mkdir()
    images = fingerprint(build_dataset(cfg).train)
    save(CheckpointStore(tmp_path / "out"), 1, config_hash=config_hash(cfg), images=images)
    check_run(cfg, resume=True)
    folder.parent.rename(tmp_path / "moved")
    moved = tiny_cfg(tmp_path / "moved", tmp_path / "out")
    check_run(moved, resume=True)
    next((tmp_path / "moved").rglob("vis/*/*.jpg")).write_bytes(b"another")
    with pytest.raises(ValueError, match=r"trained on other images than those in .*moved"):
        check_run(moved, resume=True)


def test_run_of_another_configuration_is_refused(make_cfg, tmp_path):
    (tmp_path / "out").mkdir()
    save(CheckpointStore(tmp_path / "out"), 1, config_hash="abc")
    with pytest.raises(ValueError, match="holds a run of another configuration"):
        check_run(make_cfg(), resume=True)


@pytest.mark.parametrize("word", ["", ".", "./"])
def test_working_folder_is_no_folder_of_a_run(make_cfg, word):
    with pytest.raises(ValueError, match=f"'{re.escape(word)}' is the working folder"):
        check_run(make_cfg(OUTPUT_DIR=word), resume=False)


def test_file_in_place_of_the_folder_is_named(make_cfg, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OSError, match=r"OUTPUT_DIR = .*out' cannot be written"):
        check_run(make_cfg(), resume=False)


def test_damaged_newest_checkpoint_is_set_aside_and_not_counted(tmp_path, caplog):
    store = CheckpointStore(tmp_path, keep=1)
    for iteration in (2, 4):
        store.keep = iteration
        save(store, iteration)
    (tmp_path / "checkpoint_00000004.pth").write_bytes(b"broken")
    store.keep = 1
    assert store.load_newest()["iteration"] == 2
    assert (tmp_path / "last_checkpoint").read_text() == "checkpoint_00000002.pth"
    save(store, 3)
    assert store.load_newest()["iteration"] == 3


def test_checkpoint_without_its_parts_is_no_checkpoint(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(5, {"model": {}, "iteration": 5})
    with pytest.raises(ValueError, match=r"every checkpoint in .* is damaged: checkpoint_00000005"):
        store.load_newest()


def test_temporary_files_of_a_killed_run_are_removed(tmp_path):
    left = tmp_path / ".checkpoint_00000002.pth.123.tmp"
    left.write_bytes(b"half")
    write_atomically(tmp_path / "whole", lambda file: file.write(b"1"))
    CheckpointStore(tmp_path).remove_unfinished()
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
