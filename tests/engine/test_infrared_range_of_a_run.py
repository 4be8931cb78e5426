"""INPUT.INFRARED_RANGE auto: measured by training, recorded, and used by all that follows."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from thermal_frames import CAMERAS, eight_bit_twin, make_thermal_tree, save_frame, thermal_frame
from tiny_runs import CONFIG_FILE, evaluation_folder, make_noise_tree, tiny_cfg, words

import wrimnet
from wrimnet.config import config_hash, setup_cfg
from wrimnet.engine.run import evaluate, train

LOW, HIGH = CAMERAS["centikelvin"][1:]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Root of the data and folder of a run on centikelvin, by auto, with a cache."""
    root = tmp_path_factory.mktemp("thermal")
    make_thermal_tree(make_noise_tree(root), "centikelvin")
    cfg = auto(root, root / "out")
    assert train(cfg) == 0
    return root, root / "out"


def auto(root, output, **overrides):
    overrides = {"DATALOADER__CACHE": "disk", **overrides}
    return tiny_cfg(root, output, INPUT__INFRARED_RANGE="auto", **overrides)


def test_the_range_is_recorded_everywhere(run):
    root, output = run
    measured = setup_cfg(str(output / "config.yaml")).INPUT.MEASURED_RANGE
    assert LOW <= measured[0] < LOW + 60 and HIGH - 60 < measured[1] <= HIGH
    weights = torch.load(output / "model_final.pth", weights_only=True)
    assert weights["network"]["INPUT.INFRARED_RANGE"] == list(measured)
    description = json.loads((output / "results.json").read_text())["description"]
    assert description["infrared_range"] == list(measured)
    assert description["config"] == config_hash(auto(root, output))


def test_resuming_keeps_the_range_without_measuring(run, tmp_path, monkeypatch):
    root, output = run
    shutil.copytree(output, tmp_path / "out")
    monkeypatch.setattr("wrimnet.engine.preflight.measure_infrared_range", None)
    assert train(auto(root, tmp_path / "out"), resume=True) == 0
    again, before = (setup_cfg(str(f / "config.yaml")) for f in (tmp_path / "out", output))
    assert again.INPUT.MEASURED_RANGE == before.INPUT.MEASURED_RANGE


def test_evaluation_and_loading_take_the_range_of_the_weights(run, tmp_path):
    root, output = run
    cfg = auto(root, tmp_path / "out", MODEL__WEIGHTS=str(output / "model_final.pth"))
    assert evaluate(cfg) == 0
    again = json.loads((evaluation_folder(tmp_path / "out") / "results.json").read_text())
    first = json.loads((output / "results.json").read_text())
    assert again["results"] == first["results"]
    percent = wrimnet.evaluate(cfg)["llcm_ir2vis"]["mAP"]
    assert percent == pytest.approx(100 * first["results"][0]["mean"]["mAP"], abs=1e-9)
    options = words(root, tmp_path, INPUT__INFRARED_RANGE="auto")
    loaded = wrimnet.load(CONFIG_FILE, output / "model_final.pth", options=options)
    measured = setup_cfg(str(output / "config.yaml")).INPUT.MEASURED_RANGE
    assert loaded.extraction.infrared_range == measured


@pytest.mark.parametrize("camera", CAMERAS)
def test_frames_rank_their_8_bit_twins_first(run, tmp_path, camera):
    """Of 20 frames of another camera, whose range the user gives."""
    low, high = CAMERAS[camera][1:]
    options = ["INPUT.INFRARED_RANGE", f"({low}, {high})"]
    embedder = wrimnet.load(run[1], device="cpu", options=options)
    frames = [thermal_frame(100 + number, camera) for number in range(20)]
    for number, frame in enumerate(frames):
        save_frame(tmp_path / f"{number}.png", frame)
        Image.fromarray(eight_bit_twin(frame, camera)).save(tmp_path / f"{number}_twin.png")
    wide = embedder.embed([tmp_path / f"{number}.png" for number in range(20)], "infrared")
    twins = embedder.embed([tmp_path / f"{number}_twin.png" for number in range(20)], "infrared")
    similarity = wide @ twins.T
    assert (similarity.argmax(axis=1) == np.arange(20)).all()
    assert similarity.diagonal().min() > 0.99
    assert wrimnet.load(run[1], device="cpu").facts.model_hash == embedder.facts.model_hash


def test_without_the_key_the_first_frame_names_it(run, tmp_path):
    root, _ = run
    with pytest.raises(ValueError, match=r"11 of 256 gray levels are left; set INPUT\.INFRARED_RA"):
        train(tiny_cfg(root, tmp_path / "out"))
