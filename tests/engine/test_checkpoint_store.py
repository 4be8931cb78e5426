"""Checkpoint files: written whole, verified, kept in number; weights load strictly."""

import pickle
import re

import pytest
import torch
from torch import nn

from wrimnet.engine.checkpointing import CheckpointStore, on_device, write_atomically
from wrimnet.modeling.weights import load_weights, read_state_dict, start_from_weights, verify


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path, keep=2)


def state(value):
    return {"model": {"weight": torch.full((500,), float(value))}, "iteration": value}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_newest_files_stay_and_the_last_is_named(store, tmp_path):
    for iteration in (10, 20, 30):
        store.save(iteration, state(iteration))
    kept = ["checkpoint_00000020.pth", "checkpoint_00000030.pth"]
    assert names(tmp_path) == [*kept, "last_checkpoint"]
    assert (tmp_path / "last_checkpoint").read_text() == "checkpoint_00000030.pth"


def test_saving_again_replaces_the_file_whole(store, tmp_path):
    store.save_weights("model_best.pth", state(1))
    store.save_weights("model_best.pth", state(2))
    assert names(tmp_path) == ["model_best.pth"]
    assert torch.load(tmp_path / "model_best.pth", weights_only=True)["iteration"] == 2


def test_whole_file_is_accepted(store):
    verify(store.save(1, state(1)))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncation_is_found(store, share):
    path = store.save(1, state(1))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="not a whole file"):
        verify(path)


def test_every_flipped_bit_of_the_weights_is_found(store):
    path = store.save(1, state(1))
    content = path.read_bytes()
    start = content.index(torch.full((500,), 1.0).numpy().tobytes())
    for offset in range(0, 2000, 97):
        damaged = bytearray(content)
        damaged[start + offset] ^= 1 << (offset % 8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"checksum|whole file"):
            verify(path)


def test_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a whole file"):
        verify(tmp_path / "a.pth")


def test_error_while_writing_leaves_the_earlier_file_and_no_other(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"before")

    def fail(file):
        file.write(b"half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match=r"cannot write .*a.pth: no space left.*--resume"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["a.pth"]


def test_empty_folder_has_no_newest_checkpoint(store):
    assert store.find_newest() is None


def save(path, content):
    torch.save(content, path)
    return str(path)


def test_weights_load_from_a_checkpoint_and_from_a_flat_file(tmp_path):
    source = nn.Linear(2, 3)
    for content in (source.state_dict(), {"model": source.state_dict(), "iteration": 4}):
        model = nn.Linear(2, 3)
        load_weights(model, save(tmp_path / "a.pth", content), for_evaluation=False)
        assert torch.equal(model.weight, source.weight)


def test_weights_of_another_architecture_list_the_differences(tmp_path):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    content = {"0.weight": torch.zeros(3, 5), "0.bias": torch.zeros(3), "2.bias": torch.zeros(1)}
    path = save(tmp_path / "a.pth", content)
    before = model[0].bias.clone()
    with pytest.raises(ValueError, match="do not fit this model") as error:
        load_weights(model, path, for_evaluation=False)
    lines = str(error.value).splitlines()[1:]
    assert lines == [
        "  missing in the file: 1.weight",
        "  missing in the file: 1.bias",
        "  not in the model: 2.bias",
        "  0.weight: (3, 5) in the file, (3, 2) in the model",
    ]
    assert torch.equal(model[0].bias, before)


def test_long_list_of_differences_is_shortened(tmp_path):
    path = save(tmp_path / "a.pth", {f"w{n}": torch.zeros(1) for n in range(30)})
    with pytest.raises(ValueError, match=r"  and 18 more$"):
        load_weights(nn.Linear(1, 1), path, for_evaluation=False)


def network(classes):
    model = nn.ModuleDict({"classifiers": nn.Linear(2, classes), "backbone": nn.Linear(2, 2)})
    model.training_only = ("classifiers.",)
    return model


def test_classifiers_may_differ_in_evaluation(tmp_path):
    path = save(tmp_path / "a.pth", network(5).state_dict())
    load_weights(network(3), path, for_evaluation=True)
    with pytest.raises(ValueError, match=r"classifiers.weight: \(5, 2\) in the file"):
        load_weights(network(3), path, for_evaluation=False)


FORMS = {
    "flat": lambda state: state,
    "fastreid": lambda state: {"model": state, "iteration": 7},
    "lightning": lambda state: {"state_dict": state},
    "data_parallel": lambda state: {"model": {f"module.{n}": t for n, t in state.items()}},
    "compiled": lambda state: {"model": {f"_orig_mod.{n}": t for n, t in state.items()}},
    "compiled_parallel": lambda state: {f"_orig_mod.module.{n}": t for n, t in state.items()},
    "parallel_compiled": lambda state: {f"module._orig_mod.{n}": t for n, t in state.items()},
    "exported": lambda state: {n: t for n, t in state.items() if "classifiers" not in n},
    "torchvision": lambda state: {
        **{n.removeprefix("backbone."): t for n, t in state.items() if "backbone" in n},
        "fc.weight": torch.zeros(1000, 2),
    },
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_training_starts_from_what_fits_and_names_what_is_made_anew(tmp_path, form, caplog):
    source, model = network(5), network(3)
    anew = model["classifiers"].weight.clone()
    path = save(tmp_path / "a.pth", form(source.state_dict()))
    with caplog.at_level("INFO"):
        start_from_weights(model, path, strict=True)
    assert torch.equal(model["backbone"].weight, source["backbone"].weight)
    assert torch.equal(model["classifiers"].weight, anew)
    assert "made anew: classifiers" in caplog.text


def test_a_training_refuses_what_else_does_not_fit_and_names_the_key(tmp_path):
    path = save(tmp_path / "a.pth", {**network(5).state_dict(), "neck.weight": torch.zeros(2)})
    model = network(5)
    with pytest.raises(ValueError, match=r"MODEL.WEIGHTS_STRICT False[^$]*model: neck.weight$"):
        start_from_weights(model, path, strict=True)
    start_from_weights(model, path, strict=False)
    nothing = save(tmp_path / "b.pth", {"neck.weight": torch.zeros(2)})
    with pytest.raises(ValueError, match="none of its 1 tensors fits this model"):
        start_from_weights(model, nothing, strict=False)


class Runs:
    """Would make a folder if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (self.path,)


def test_file_that_would_run_code_is_refused_and_does_not(tmp_path):
    proof = tmp_path / "ran"
    path = save(tmp_path / "a.pth", {"model": Runs(str(proof))})
    with pytest.raises(ValueError, match=r"refers to \w+\.mkdir, which could run code") as refusal:
        read_state_dict(path)
    assert not re.search("weights_only|safe_globals", str(refusal.value))  # no unsafe advice
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Runs(str(proof))))
    with pytest.raises(ValueError, match="not a checkpoint that can be read safely"):
        read_state_dict(str(tmp_path / "b.pth"))
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "holds a list, expected"), ({"model": 3}, "no weights"), ({"a": 1}, "no weights")],
)
def test_file_without_weights_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_state_dict(save(tmp_path / "a.pth", content))


def test_missing_weights_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.pth' does not exist"):
        load_weights(nn.Linear(1, 1), str(tmp_path / "nowhere.pth"), for_evaluation=True)


def test_tensors_of_a_state_are_moved_wherever_they_are():
    one = torch.zeros(2)
    state = {"a": one, "b": [one, 3], "c": (one, {"d": one}), "e": None}
    moved = on_device(state, torch.device("meta"))
    tensors = [moved["a"], moved["b"][0], moved["c"][0], moved["c"][1]["d"]]
    assert all(tensor.is_meta for tensor in tensors)
    assert moved["b"][1] == 3 and type(moved["c"]) is tuple and moved["e"] is None
