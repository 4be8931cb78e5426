"""Whatever happens to the bytes of a file: its content as it was, or an error that names it."""

import io
import json
import random

import numpy as np
import pytest
import torch
from fault_drill.comparison import unequal
from fuzz_examples import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wrimnet.data.images import UnreadableImageError, read_rgb
from wrimnet.modeling import weights
from wrimnet.modeling.weights import read_checkpoint
from wrimnet.run_folder import drop_metrics_after, read_metrics


@st.composite
def damages(draw):
    """A function of bytes: cut, overwrite, insert, double, or leave alone."""
    seed, kind = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 5))

    def damage(content):
        rng, content = random.Random(seed), bytearray(content)
        place = rng.randrange(len(content))
        if kind == 0:
            return bytes(content[:place])
        if kind == 1:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            content[place : place + rng.randrange(1, 50)] = rng.randbytes(rng.randrange(50))
        elif kind == 3:
            content += content[place:]
        elif kind == 4:
            return rng.randbytes(rng.randrange(100))
        return bytes(content)

    return damage


def image_bytes(form, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 12, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form)
    return file.getvalue()


IMAGES = [
    image_bytes(form, mode)
    for form, mode in (
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("BMP", "RGB"),
    )
]


@given(st.sampled_from(IMAGES), damages())
@examples(60)
def test_images(tmp_path_factory, content, damage):
    path = tmp_path_factory.mktemp("image") / "a.jpg"
    path.write_bytes(damage(content))
    try:
        image = read_rgb(str(path))
    except UnreadableImageError as error:
        assert str(path) in str(error) and error.reason
        return
    assert image.mode == "RGB" and min(image.size) > 0
    if path.read_bytes() == content:
        assert image.size == (12, 24)


def checkpoint_bytes():
    file = io.BytesIO()
    torch.save({"model": {"weight": torch.arange(300.0)}, "iteration": 3}, file)
    return file.getvalue()


CHECKPOINT = checkpoint_bytes()
STATE = torch.load(io.BytesIO(CHECKPOINT), weights_only=True)


@given(damages())
@examples(60)
def test_checkpoints(tmp_path_factory, damage):
    path = tmp_path_factory.mktemp("checkpoint") / "a.pth"
    path.write_bytes(damage(CHECKPOINT))
    try:
        state = read_checkpoint(path)
    except ValueError as error:
        assert str(error)
        return
    assert list(unequal(STATE, state, "state")) == []


METRICS = b"".join(
    json.dumps({"iteration": i, "total_loss": i / 7}).encode() + b"\n" for i in range(5)
)


@given(damages(), st.integers(-1, 6))
@examples(40)
def test_metrics_json(tmp_path_factory, damage, iteration):
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    path.write_bytes(damage(METRICS))
    try:
        before = read_metrics(path.parent)
        drop_metrics_after(path.parent, iteration)
    except ValueError as error:
        assert str(path) in str(error)
        return
    assert read_metrics(path.parent) == [line for line in before if line["iteration"] <= iteration]


def test_a_changed_number_is_noticed(tmp_path):
    """The oracle above can fail: the same checkpoint with another number is not the same."""
    other = {"model": {"weight": STATE["model"]["weight"] + 1}, "iteration": 3}
    assert list(unequal(STATE, other, "state")) == ["state.model.weight has other numbers"]
    path = tmp_path / "a.pth"
    path.write_bytes(CHECKPOINT[:-10])
    with pytest.raises(ValueError, match="not a checkpoint that can be read safely"):
        read_checkpoint(path)


def test_a_reader_that_compares_no_checksums_is_noticed(tmp_path, monkeypatch):
    """PyTorch itself reads a changed tensor without a word."""
    monkeypatch.setattr(weights, "verify", lambda path: None)
    content, path = bytearray(CHECKPOINT), tmp_path / "a.pth"
    content[content.index(np.arange(300, dtype=np.float32).tobytes()) + 402] ^= 1
    path.write_bytes(content)
    found = list(unequal(STATE, read_checkpoint(path), "state"))
    assert found == ["state.model.weight has other numbers"]
