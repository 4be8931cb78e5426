"""Each guarantee of docs/reliability.md has a test that fails once one line of it is taken away."""

import re
import signal
import zlib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
import test_attacks as attacks
import torch
from fault_drill.input_faults import RunsCode
from PIL import Image, ImageFile
from tiny_runs import make_noise_tree, tiny_cfg

from wrimnet import atomic_files
from wrimnet.config import build_network_settings, check
from wrimnet.data import cache, images, jpeg_warnings
from wrimnet.data.build import build_dataset
from wrimnet.data.cache_file import CacheFile, CacheKey, Decoded, write_description
from wrimnet.engine import checkpointing, preflight, signals
from wrimnet.engine import trainer as training
from wrimnet.engine.checkpointing import CheckpointStore
from wrimnet.engine.progress import Progress
from wrimnet.engine.signals import StopRequest
from wrimnet.engine.trainer import WRIMTrainer
from wrimnet.evaluation.extraction import Extraction
from wrimnet.modeling import weights
from wrimnet.run_folder import checkpoints
from wrimnet.visualization import page

TESTS = Path(__file__).resolve().parents[1]


def guards_in(name):
    """The module of a test file in another folder."""
    spec = spec_from_file_location(f"{Path(name).stem}_as_guard", TESTS / name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Guards: what fails when the guarantee does not hold. `place` has data, folder and monkeypatch.


def resumed_state(place):
    attacks.test_resumed_trainer_has_all_that_shapes_what_comes(place.data, place.folder)


def checksums(place):
    attacks.test_newest_is_only_what_has_its_checksums(place.folder)


def order_of_writing(place):
    attacks.test_last_is_named_after_the_file_and_old_ones_go_last(place.folder, place.monkeypatch)


def one_owner(place):
    with (
        atomic_files.sole_writer(place.folder, ""),
        pytest.raises(BlockingIOError, match="another process is writing"),
        atomic_files.sole_writer(place.folder, ""),
    ):
        pass


def exit_code(place):
    guards_in("engine/test_signals.py").test_before_training_it_ends_at_once_with_a_code_of_its_own(
        signal.SIGTERM
    )


def first_reading(place):
    attacks.test_corrupt_test_image_is_named_before_training(place.data, place.folder)


def cut_image(place):
    guard = guards_in("data/test_jpeg_warnings.py")
    guard.test_cut_file_is_unreadable(place.folder, guard.MIDDLE)


def warned_image(place):
    guard = guards_in("data/test_jpeg_warnings.py")
    guard.test_damage_in_the_middle_is_told(place.folder, guard.overwritten(guard.WHOLE))


def another_network(place):
    cfg, other = (
        tiny_cfg(place.data, place.folder, MODEL__WRIM__MIIM__FUSION=fusion)
        for fusion in ("sigmoid", "add")
    )
    model, path = torch.nn.Linear(1, 1), place.folder / "a.pth"
    torch.save({"model": model.state_dict(), "network": build_network_settings(cfg)}, path)
    weights.load_weights(model, str(path), for_evaluation=True, cfg=cfg)
    with pytest.raises(ValueError, match="FUSION 'sigmoid', here 'add'"):
        weights.load_weights(model, str(path), for_evaluation=True, cfg=other)


def other_images(place):
    folder = make_noise_tree(place.folder / "data")
    cfg = tiny_cfg(folder.parent, place.folder)
    dataset = build_dataset(cfg)
    state = preflight.build_origin(cfg, dataset)
    preflight.check_images(dataset, state, preflight.build_origin(cfg, dataset), place.folder)
    next(folder.rglob("vis/*/*.jpg")).write_bytes(b"another")
    with pytest.raises(ValueError, match="had other training images"):
        preflight.check_images(dataset, state, preflight.build_origin(cfg, dataset), place.folder)


def damaged_cache(place):
    texts = dict.fromkeys(("interpolation", "images", "folders", "files", "code", "libraries"), "")
    size = {"count": 1, "height": 1, "width": 2}
    key = CacheKey(dataset="A", **size, on_bad_image="error", infrared_range=(), **texts)
    path = place.folder / key.file_name
    with path.open("wb") as file:
        file.write(b"pixelS")
        file.flush()
        write_description(file.fileno(), key, Decoded([zlib.crc32(b"pixels")], {}, {}))
    assert cache._open_verified(path, 1) is None


def code_in_weights(place):
    marker, path = place.folder / "marker", place.folder / "a.pth"
    torch.save({"model": RunsCode(marker)}, path)
    with pytest.raises(ValueError, match="can be read safely"):
        weights.read_checkpoint(path)
    assert not marker.exists()


def program_in_image(place):
    attacks.test_program_in_an_image_is_not_run(place.folder, place.monkeypatch)


def markup_in_report(place):
    del place
    guards = guards_in("visualization/test_report_page.py")
    guards.test_words_of_a_run_cannot_become_markup()


def range_of_a_key(place):
    del place
    attacks.test_numbers_of_no_use_are_refused("DATALOADER.TIMEOUT", -1.0)


# Mutants: one line changed each.


def forget_generators(planted):
    planted.setattr(training, "restore_random_state", lambda state: None)


def forget_best(planted):
    load, lost = WRIMTrainer._load_state, {"value": -1.0, "iteration": -1}
    planted.setattr(
        WRIMTrainer, "_load_state", lambda trainer, state: load(trainer, {**state, "best": lost})
    )


def compare_no_checksums(planted):
    planted.setattr(weights, "verify", lambda path: None)


def compare_no_networks(planted):
    planted.setattr(weights, "check_network", lambda *_: None)


def look_at_no_sizes(planted):
    planted.setattr(images.os.path, "getsize", lambda path: 0)


def name_last_first(planted):
    save = CheckpointStore.save

    def hasty(store, iteration, state):
        store._name_last(checkpointing.checkpoint_path(store.folder, iteration))
        return save(store, iteration, state)

    planted.setattr(CheckpointStore, "save", hasty)


def remove_old_first(planted):
    save = CheckpointStore.save

    def hasty(store, iteration, state):
        for old in checkpoints(store.folder):
            old.unlink()
        return save(store, iteration, state)

    planted.setattr(CheckpointStore, "save", hasty)


def take_no_lock(planted):
    planted.setattr(atomic_files, "try_lock", lambda *_: True)


def end_with_another_code(planted):
    planted.setattr(signals, "EXIT_CODE", 1)


def ignore_signals(planted):
    planted.setattr(StopRequest, "_receive", lambda *_: None)


def read_no_test_image(planted):
    planted.setattr(Extraction, "check_images", lambda *_: None)


def accept_cut_images(planted):
    planted.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


def overhear_the_decoder(planted):
    planted.setattr(jpeg_warnings, "_DAMAGE", re.compile("(?!)"))


def verify_no_cache(planted):
    planted.setattr(CacheFile, "verify", lambda *_: None)


def save_lost_weights(planted):
    planted.setattr(Progress, "check_finite", lambda progress: None)


def unpickle_anything(planted):
    load = torch.load
    planted.setattr(
        torch, "load", lambda *args, **options: load(*args, **{**options, "weights_only": False})
    )


def open_any_format(planted):
    Image.init()
    planted.setattr(images, "readable_formats", lambda: (*Image.OPEN,))


def escape_nothing(planted):
    def careless(**options):
        return jinja2.Environment(**{**options, "autoescape": False})

    planted.setattr(page, "Environment", careless)


def allow_any_number(planted):
    planted.setattr(check, "is_within", lambda value, allowed: True)


MUTANTS = [
    ("Resume", resumed_state, forget_generators),
    ("Checkpoints", resumed_state, forget_best),
    ("Files", checksums, compare_no_checksums),
    ("Files", order_of_writing, name_last_first),
    ("Files", order_of_writing, remove_old_first),
    ("Network", another_network, compare_no_networks),
    ("Data", other_images, look_at_no_sizes),
    ("One process per run", one_owner, take_no_lock),
    ("Signals", exit_code, end_with_another_code),
    ("Signals", exit_code, ignore_signals),
    ("Images", first_reading, read_no_test_image),
    ("Images", cut_image, accept_cut_images),
    ("Images", warned_image, overhear_the_decoder),
    ("Image cache", damaged_cache, verify_no_cache),
    ("Losses", resumed_state, save_lost_weights),
    ("Untrusted input", code_in_weights, unpickle_anything),
    ("Untrusted input", program_in_image, open_any_format),
    ("Untrusted input", markup_in_report, escape_nothing),
    ("Configuration", range_of_a_key, allow_any_number),
]
GUARDS = list(dict.fromkeys(guard for _, guard, _ in MUTANTS))


@pytest.fixture
def place(data, tmp_path, monkeypatch):
    return SimpleNamespace(data=data, folder=tmp_path, monkeypatch=monkeypatch)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.__name__)
def test_guard_passes_on_the_code_as_it_is(guard, place):
    guard(place)


@pytest.mark.parametrize(
    ("guard", "plant"),
    [row[1:] for row in MUTANTS],
    ids=[f"{guarantee}: {plant.__name__}" for guarantee, _, plant in MUTANTS],
)
def test_guard_fails_on_the_mutant(guard, plant, place):
    with pytest.MonkeyPatch.context() as planted:
        plant(planted)
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            guard(place)


def test_every_guarantee_has_a_mutant():
    text = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
    stated = re.findall(
        r"^\| (\w[\w ]+) \| [A-Z]", text.split("## Origin of a result")[0], re.MULTILINE
    )
    assert len(stated) > 9
    assert set(stated) == {guarantee for guarantee, _, _ in MUTANTS}
