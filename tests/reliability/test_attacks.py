"""Files, numbers and signals as an attacker, a full disk or a second process leaves them."""

import errno
import io
import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import fake_runs
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from tiny_runs import make_noise_tree, make_trainer, tiny_cfg

from wrimnet.command_line import UNEXPECTED, run_tool
from wrimnet.config import yaml_file
from wrimnet.config.check import check_key
from wrimnet.config.keys import KEYS
from wrimnet.config.merge import read_config_file
from wrimnet.config.tree import get_cfg, get_key
from wrimnet.data.build import build_dataset
from wrimnet.data.images import UnreadableImageError, read_rgb
from wrimnet.data.reading import ReadingWatch, read_ahead
from wrimnet.engine.checkpointing import CONTENT, CheckpointStore, write_atomically
from wrimnet.engine.preflight import check_weights, preflight
from wrimnet.engine.progress import NonFiniteError
from wrimnet.evaluation.features import load_arrays
from wrimnet.evaluation.galleries import OfficialPermutations
from wrimnet.evaluation.scoring import Reranking, Scoring
from wrimnet.modeling import weights
from wrimnet.modeling.weights import load_weights, read_checkpoint
from wrimnet.run_folder import find_results, read_metrics

NOT_NUMBERS = (float("nan"), float("inf"), -float("inf"))
NUMERIC = [
    key
    for key in KEYS
    if isinstance(key.default, (int, float, tuple, list))
    and not isinstance(key.default, bool)
    and any(type(n) in (int, float) for n in np.ravel([key.default]).tolist())
]


@pytest.mark.parametrize("key", NUMERIC, ids=lambda key: key.name)
def test_every_numeric_key_has_a_range_that_ends(key):
    """0, -1, NaN, infinity and a huge number: what is taken is finite and of use."""
    several = isinstance(key.default, (tuple, list))
    for number in (*NOT_NUMBERS, 1e300, -1e300):
        value = [number] * len(key.default) if several else number
        with pytest.raises(ValueError, match=key.name.replace(".", r"\.")):
            check_key(key, value)
    check_key(key, key.default)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATALOADER.TIMEOUT", 0.0),
        ("DATALOADER.TIMEOUT", -1.0),
        ("SOLVER.GAMMA", 0.0),
        ("SOLVER.STEPS", [-1]),
        ("SOLVER.MOMENTUM", 1.0),
        ("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.0),
        ("SOLVER.CLIP_GRADIENTS.NORM_TYPE", 0.0),
        ("SOLVER.WARMUP_FACTOR", -1.0),
        ("MODEL.WRIM.MIIM.NUM_HEADS", 0),
        ("MODEL.WRIM.CMKIC.TEMPERATURE", 0.0),
        ("TEST.RERANK.K1", 0),
        ("TEST.RERANK.LAMBDA", 1.1),
        ("TEST.MEMORY_GB", 0.0),
        ("INPUT.REA.AREA", (0.0, 0.4)),
    ],
)
def test_numbers_of_no_use_are_refused(name, value):
    key = next(key for key in KEYS if key.name == name)
    assert type(value) is type(get_key(get_cfg(), name))
    with pytest.raises(ValueError, match=rf"{name} = .*: expected"):
        check_key(key, value)


BOMB = "a: &a [1, 1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, r"the alias \*b names keys or itself"),
        ("A: &a [1, *a]\n", "names keys or itself"),
        ("A: &a {B: *a}\n", "names keys or itself"),
        ("SEED: 1\nSEED: 2\n", "'SEED' is set twice"),
        ("<<: {SEED: 1}\nSEED: 2\n", "expected the name of a key before ':'"),
        ("? [SEED]\n: 1\n", "expected the name of a key before ':'"),
        ("[" * 1500, "not valid YAML"),
        ("A: 2020-99-99\n", "not valid YAML"),
        ("[" + "1, " * 999 + "1]", "expected KEY: value lines"),
    ],
    ids=["bomb", "itself", "own keys", "twice", "merge", "list key", "deep", "no date", "long"],
)
def test_yaml_of_others_is_a_short_sentence(tmp_path, text, words):
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(ValueError, match=words) as raised:
        read_config_file(tmp_path / "a.yml")
    assert "a.yml" in str(raised.value) and len(str(raised.value)) < 1000


def test_alias_of_a_row_of_numbers_is_what_yaml_says(tmp_path):
    (tmp_path / "a.yml").write_text("INPUT:\n  SIZE_TRAIN: &size [32, 16]\n  SIZE_TEST: *size\n")
    assert read_config_file(tmp_path / "a.yml")["INPUT.SIZE_TEST"] == [32, 16]


def test_number_of_comparisons_is_linear_in_the_keys_and_aliases(tmp_path, monkeypatch):
    """20,000 keys of one group, 30,000 aliases of one list: neither is searched for each."""

    class Counted(str):
        compared = 0
        __hash__ = str.__hash__

        def __eq__(self, other):
            Counted.compared += 1
            return str.__eq__(self, other)

    names = [Counted(f"KEY{number}") for number in range(2000)]
    assert yaml_file.first_repeated(names) is None
    assert yaml_file.first_repeated([*names, Counted("KEY7")]) == 2000
    assert Counted.compared < 2 * len(names)
    is_row, looked_at = yaml_file._is_row, []

    def counted(node):
        looked_at.append(node)
        return is_row(node)

    monkeypatch.setattr(yaml_file, "_is_row", counted)
    (tmp_path / "a.yml").write_text(f"A: &a [1, 2]\nB: [{', '.join(['*a'] * 500)}]\n")
    assert read_config_file(tmp_path / "a.yml")["B"] == [[1, 2]] * 500
    assert len(looked_at) == 1


def test_chain_of_bases_ends_in_words(tmp_path):
    for number in range(40):
        (tmp_path / f"{number}.yml").write_text(f"_BASE_: {number + 1}.yml\n")
    with pytest.raises(ValueError, match=r"21\.yml is base number 21; 20 at most"):
        read_config_file(tmp_path / "0.yml")


def test_program_in_an_image_is_not_run(tmp_path, monkeypatch):
    """Ghostscript would run what an EPS file says, whatever its name."""
    started = []
    monkeypatch.setattr(subprocess, "check_call", lambda *words, **_: started.append(words))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(UnreadableImageError, match="not an image"):
        read_rgb(str(tmp_path / "a.jpg"))
    assert not started


def npz_bytes():
    file = io.BytesIO()
    np.savez_compressed(file, features=np.arange(600.0))
    return file.getvalue()


def flagged(content):
    """The archive, its first record marked as encrypted."""
    content = bytearray(content)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    "damage", [flagged, lambda c: c[:-30], lambda c: c[:200] + b"\0" + c[201:]]
)
def test_damaged_npz_is_named(tmp_path, damage):
    (tmp_path / "a.npz").write_bytes(damage(npz_bytes()))
    with pytest.raises(ValueError, match=r"a\.npz cannot be read as an npz file"):
        load_arrays(tmp_path / "a.npz")


def write_permutations(path, rows):
    cell = np.empty((6, 1), dtype=object)
    for camera in range(6):
        identities = np.empty((1, 1), dtype=object)
        identities[0, 0] = np.array(rows)
        cell[camera, 0] = identities
    savemat(path, {"rand_perm_cam": cell})


@pytest.mark.parametrize("rows", [[[0, 1]], [[1, 1]], [[1.5, 2.0]], [[-1, 2]]])
def test_rows_that_are_no_permutations_are_refused(tmp_path, rows, monkeypatch):
    monkeypatch.setattr("wrimnet.evaluation.galleries._survive_reading", lambda path: None)
    write_permutations(tmp_path / "a.mat", [[2, 1]])
    assert OfficialPermutations.load(tmp_path / "a.mat").images(1, 1, 0, 1) == [2]
    write_permutations(tmp_path / "a.mat", rows)
    with pytest.raises(ValueError, match="identity 1 of camera 1: expected a matrix of image"):
        OfficialPermutations.load(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (SimpleNamespace(returncode=-11), "was ended by signal 11"),
        (subprocess.TimeoutExpired("python", 120), "took longer than 120 s"),
    ],
)
def test_mat_file_that_crashes_or_hangs_its_reader_is_named(tmp_path, monkeypatch, result, words):
    def run(*_, **__):
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr("wrimnet.evaluation.galleries.subprocess.run", run)
    write_permutations(tmp_path / "a.mat", [[2, 1]])
    with pytest.raises(ValueError, match=rf"a\.mat is not a MATLAB file .*{words}"):
        OfficialPermutations.load(tmp_path / "a.mat")


def test_json_of_others_is_no_traceback(tmp_path):
    for text in ("[1]", "[" * 10**5, "{"):
        (tmp_path / "results.json").write_text(text)
        assert find_results(tmp_path) is None
    (tmp_path / "metrics.jsonl").write_text("[" * 10**5 + "\n")
    with pytest.raises(ValueError, match=r"line 1 of .*metrics\.jsonl is damaged"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda entry: entry["mean"].update(mAP=None), r"\[1\].mean.mAP is None, expected a numb"),
        (lambda entry: entry["mean"].update(cmc=[0.1, "x"]), r"cmc\[1\] is 'x', expected a number"),
        (lambda entry: entry["mean"].update(mAP=35.2), r"mAP is 35\.2, expected a share from 0 to"),
        (lambda entry: entry["mean"].update(mINP=float("nan")), "mINP is nan, expected a share"),
        (lambda entry: entry.pop("mean"), r"results\[1\].mean is None, expected an object"),
        (lambda entry: entry.update(queries=3), r"results\[1\].queries is 3, expected a list"),
        (lambda entry: entry.update(whole="yes"), "whole is 'yes', expected true or false"),
        (lambda entry: entry.update(num_trials=True), "num_trials is True, expected an integer"),
    ],
)  # fmt: skip
def test_results_with_another_content_are_named(tmp_path, change, problem):
    content = fake_runs.results()
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert find_results(tmp_path) == content
    change(content["results"][1])
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"results\.json is damaged: .*{problem}"):
        find_results(tmp_path)


def test_fault_of_the_program_has_a_code_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tool"])
    for error, code in ((ValueError("a mistake"), 2), (AttributeError("a fault"), UNEXPECTED)):

        def main(error=error):
            raise error

        with pytest.raises(SystemExit) as ended:
            run_tool(main)
        assert ended.value.code == code
    assert "Traceback" in capsys.readouterr().err and UNEXPECTED == 70


class FullDisk(io.BytesIO):
    def write(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_is_called_so(tmp_path):
    with pytest.raises(OSError, match="No space left on device; free disk space"):
        write_atomically(tmp_path / "a", lambda _: torch.save({"a": torch.ones(9)}, FullDisk()))


def save_all(store, iteration, **changes):
    return store.save(iteration, {**dict.fromkeys(CONTENT, 0), "iteration": iteration, **changes})


def test_newest_is_only_what_has_its_checksums(tmp_path):
    """A bit inside a tensor, which PyTorch itself does not notice."""
    store = CheckpointStore(tmp_path)
    for iteration in (2, 4):
        path = save_all(store, iteration, model=torch.full((999,), 7.25))
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(7.25).tobytes() * 9) + 400] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["iteration"] == 4
    assert store.find_newest()[1]["iteration"] == 2


def test_other_names_and_pipes_are_no_checkpoints(tmp_path):
    store = CheckpointStore(tmp_path)
    save_all(store, 2)
    (tmp_path / "checkpoint_backup.pth").write_bytes(b"")
    os.mkfifo(tmp_path / "checkpoint_00000009.pth")
    assert store.find_newest()[1]["iteration"] == 2


def test_last_is_named_after_the_file_and_old_ones_go_last(tmp_path, monkeypatch):
    store, seen = CheckpointStore(tmp_path, keep=1), []
    save_all(store, 2)

    def watched(path, write):
        seen.append((path.name, sorted(p.name for p in tmp_path.glob("checkpoint_*"))))
        write_atomically(path, write)

    monkeypatch.setattr("wrimnet.engine.checkpointing.write_atomically", watched)
    save_all(store, 4)
    old, new = "checkpoint_00000002.pth", "checkpoint_00000004.pth"
    assert seen == [(new, [old]), ("last_checkpoint", [old, new])]
    assert [path.name for path in tmp_path.glob("checkpoint_*")] == [new]


def test_archive_with_a_damaged_end_is_a_sentence(tmp_path):
    """Python's zipfile may raise where it is asked whether such a file is an archive."""
    path = tmp_path / "model_final.pth"
    torch.save({"model": {"weight": torch.zeros(3)}}, path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x06\x07") + 4] = 1  # "on the second of several disks"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model_final\.pth is not a whole file"):
        read_checkpoint(path)


def test_weights_with_a_flipped_bit_or_of_another_dtype_are_not_evaluated(tmp_path):
    path = tmp_path / "model_final.pth"
    model = torch.nn.Linear(30, 30)
    torch.save({"model": model.state_dict()}, path)
    content = bytearray(path.read_bytes())
    place = content.index(model.weight.detach().numpy().tobytes()[:64])
    content[place : place + 512] = bytes(byte ^ 255 for byte in content[place : place + 512])
    path.write_bytes(content)
    cfg = SimpleNamespace(MODEL=SimpleNamespace(WEIGHTS=str(path)))
    for read in (
        lambda: load_weights(model, path, for_evaluation=True),
        lambda: check_weights(cfg),
    ):
        with pytest.raises(ValueError, match=r"model_final\.pth is damaged: the checksum of"):
            read()
    torch.save({"model": model.half().state_dict()}, path)
    with pytest.raises(ValueError, match=r"weight: torch.float16 in the file, torch.float32 in"):
        load_weights(torch.nn.Linear(30, 30), path, for_evaluation=True)


@pytest.mark.parametrize(("k1", "k2"), [(50, 6), (20, 30)])
def test_reranking_is_compared_with_the_gallery_before_training(k1, k2):
    scoring = Scoring(reranking=Reranking(k1=k1, k2=k2, original_weight=0.3))
    with pytest.raises(
        ValueError,
        match=r"K1 of re-ranking is 50, expected 1 to 39|K2 of re-ranking is 30, expected 1 to",
    ):
        scoring.check(num_queries=10, num_gallery=30)
    Scoring(reranking=Reranking(k1=20, k2=6, original_weight=0.3)).check(10, 30)


def test_corrupt_test_image_is_named_before_training(data, tmp_path):
    folder = make_noise_tree(tmp_path / "data")
    cfg = tiny_cfg(folder.parent, tmp_path / "out")
    assert preflight(cfg, resume=False).checkpoint is None
    broken = build_dataset(cfg).test[-1].path
    Path(broken).write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=Path(broken).name):
        preflight(cfg, resume=False)
    assert not (tmp_path / "out").exists()


def test_error_before_the_first_iteration_is_not_hidden(data, tmp_path, monkeypatch):
    def fail(_):
        raise OSError("no place for the log")

    monkeypatch.setattr("wrimnet.engine.hooks.LogHook.before_train", fail)
    with pytest.raises(OSError, match="no place for the log"):
        make_trainer(tiny_cfg(data, tmp_path)).train()


def test_checkpoint_of_another_content_is_a_sentence(data, tmp_path):
    trainer = make_trainer(tiny_cfg(data, tmp_path))
    trainer.data_loader.close()
    trainer.iter = 1
    trainer.save_checkpoint()
    path = tmp_path / "checkpoint_00000002.pth"
    whole = torch.load(path, weights_only=True)
    for changes in ({"model": 0}, {"model": {}}, {"optimizer": []}):
        torch.save({**whole, **changes}, path)
        with pytest.raises(ValueError, match=r"00000002\.pth is complete, but from another run"):
            make_trainer(tiny_cfg(data, tmp_path), resume=True)
    torch.save(whole, path)
    with pytest.raises(ValueError, match=r"size mismatch.*use the\s+MODEL.HEADS.NUM_CLASSES and"):
        make_trainer(tiny_cfg(data, tmp_path, MODEL__HEADS__NUM_CLASSES="50"), resume=True)


def test_resumed_trainer_has_all_that_shapes_what_comes(data, tmp_path):
    """Generators, the best so far, the log period that has begun."""

    def draw():
        return random.random(), np.random.rand(), float(torch.rand(()))

    trainer = make_trainer(tiny_cfg(data, tmp_path))
    trainer.data_loader.close()
    trainer.iter, trainer.best = 0, {"value": 0.5, "iteration": 1}
    batch = {"iteration": 0, "img_paths": ["a.jpg"], "repeats": 0}
    losses = {"total_loss": torch.tensor(2.0), "grad_norm": torch.tensor(1.0)}
    trainer.progress.add(batch, losses, learning_rate=0.1, data_seconds=0.0)
    trainer.save_checkpoint()
    expected, best = draw(), trainer.best
    trainer = make_trainer(tiny_cfg(data, tmp_path), resume=True)
    trainer.data_loader.close()
    assert draw() == expected
    assert (trainer.best, trainer.start_iter) == (best, 1)
    assert trainer.progress.summarize()["total_loss"] == 2.0
    losses = {"total_loss": torch.tensor(float("nan")), "grad_norm": torch.tensor(1.0)}
    trainer.progress.add(batch, losses, learning_rate=0.1, data_seconds=0.0)
    trainer.iter = 5
    with pytest.raises(NonFiniteError, match="total_loss became nan"):
        trainer.save_checkpoint()
    assert [path.name for path in tmp_path.glob("checkpoint_*")] == ["checkpoint_00000001.pth"]


def test_downloaded_weights_run_no_code(monkeypatch):
    asked = {}
    source = SimpleNamespace(url="", get_state_dict=lambda **options: asked.update(options))
    monkeypatch.setitem(weights._IMAGENET, "18x", source)
    weights._download("18x")
    assert asked["weights_only"] is True and asked["check_hash"] is True


def test_read_that_goes_on_after_a_stop_has_not_stalled(monkeypatch):
    """A process stopped for longer than the timeout finds its clock far ahead."""
    watch, goes_on = ReadingWatch(), threading.Event()
    watch._started[0] = (-1e6, "a.jpg")

    def continued(_):
        watch._started.clear()
        goes_on.set()

    monkeypatch.setattr("wrimnet.data.reading.time.sleep", continued)

    def load(argument):
        goes_on.wait(10)
        return argument

    assert [*read_ahead(load, ["read"], ahead=1, watch=watch, timeout=30.0)] == ["read"]
