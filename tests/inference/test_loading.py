"""wrimnet.load: a trained model to call."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import wrimnet
from wrimnet.config import config_hash, setup_cfg
from wrimnet.data.build import build_dataset
from wrimnet.evaluation.evaluator import build_evaluator
from wrimnet.evaluation.extraction import join_arrays
from wrimnet.modality import INFRARED, VISIBLE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def embedder(finished_run):
    run = finished_run.run
    return wrimnet.load(run / "config.yaml", run / "model_final.pth", device="cpu")


@pytest.fixture(scope="module")
def paths(finished_run):
    return sorted(map(str, (finished_run.data / "test_vis" / "cam1").rglob("*.jpg")))


def test_importing_the_package_imports_no_torch():
    code = "import sys, wrimnet; sys.exit('torch' in sys.modules or 'fastreid' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_embeddings_are_unit_float32_rows_of_the_documented_size(embedder, paths):
    embeddings = embedder.embed(paths, "visible")
    assert embeddings.shape == (len(paths), embedder.dim) == (6, 512 + 2 * 512 + 256)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_embeddings_are_those_of_the_evaluation(embedder, finished_run):
    cfg = setup_cfg(str(finished_run.run / "config.yaml"))
    dataset = build_dataset(cfg)
    parts = build_evaluator(cfg, dataset).extract(embedder.model)
    expected = join_arrays(parts, embedder.model.embedding_parts)
    np.testing.assert_allclose(embedder.embed_items(dataset.test), expected, atol=1e-6)


def test_folder_of_a_run_is_its_configuration_and_its_weights(embedder, finished_run, tmp_path):
    assert wrimnet.load(finished_run.run, device="cpu").facts == embedder.facts
    weights = finished_run.run / "model_final.pth"
    assert wrimnet.load(finished_run.run, weights, device="cpu").facts == embedder.facts
    with pytest.raises(ValueError, match=r"options is a list of words, such as \['A=b', 'C=d'\]"):
        wrimnet.load(finished_run.run, options="A=b C=d")
    with pytest.raises(ValueError, match=r"MODEL\.DEVICE = 'cuda:7'"):
        wrimnet.load(finished_run.run, options={"MODEL.DEVICE": "cuda:7"})
    for key, argument in (("MODEL.WEIGHTS", "weights"), ("MODEL.DEVICE", "device")):
        with pytest.raises(ValueError, match=f"{key} is 'a' in options, 'b' as an argument"):
            wrimnet.load(finished_run.run, options={key: "a"}, **{argument: "b"})
    (tmp_path / "other.pth").symlink_to(weights)
    options = {"MODEL.WEIGHTS": str(tmp_path / "other.pth")}
    assert wrimnet.load(finished_run.run, options=options).facts.weights == "other.pth"


def test_paths_pictures_and_arrays_give_the_same(embedder, paths):
    expected = embedder.embed(paths, INFRARED)
    pictures = [Image.open(path).convert("RGB") for path in paths]
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    np.testing.assert_array_equal(embedder.embed(pictures, "infrared"), expected)
    np.testing.assert_array_equal(embedder.embed(arrays, "infrared"), expected)


def test_one_image_gives_one_row_and_parts_stand_alone(embedder, paths):
    rows = embedder.embed(paths, "ir")
    np.testing.assert_allclose(embedder.embed(paths[1], "nir"), rows[1], atol=1e-6)
    parts = embedder.embed_parts(paths, "thermal", batch_size=2)
    assert set(parts) >= set(embedder.parts)
    joined = np.concatenate([parts[name] for name in embedder.parts], axis=1)
    joined /= np.linalg.norm(joined, axis=1, keepdims=True)
    np.testing.assert_allclose(joined, rows, atol=1e-5)
    one = embedder.embed_parts(paths[1], "ir")
    assert {name: part.shape[1:] for name, part in parts.items()} == {
        name: part.shape for name, part in one.items()
    }
    with pytest.raises(ValueError, match="batch_size is 0; expected at least 1"):
        embedder.embed(paths, "ir", batch_size=0)


def test_tensors_give_the_same_as_arrays(embedder, paths):
    arrays = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    expected = embedder.embed(arrays, "rgb")
    tensors = torch.from_numpy(arrays).movedim(-1, 1)
    np.testing.assert_array_equal(embedder.embed(tensors, "rgb"), expected)
    np.testing.assert_array_equal(embedder.embed(list(tensors / 255), "rgb"), expected)


def test_batch_size_and_modality(embedder, finished_run, paths):
    run = finished_run.run
    options = ["TEST.IMS_PER_BATCH", "4"]
    other = wrimnet.load(run / "config.yaml", run / "model_final.pth", options=options)
    embeddings = embedder.embed(paths, VISIBLE)
    np.testing.assert_allclose(other.embed(paths, VISIBLE), embeddings, atol=1e-5)
    assert np.abs(embedder.embed(paths, INFRARED) - embeddings).max() > 1e-4


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "the list is empty"),
        (["absent.jpg"], "absent.jpg: the file does not exist"),
        ([np.zeros((4, 4, 3))], r"expected uint8 \(H, W, 3\)"),
        ([Image.new("F", (4, 4))], "set INPUT.INFRARED_RANGE"),
        ([3], "an image of type int"),
    ],
)
def test_unusable_images_are_named(embedder, images, message):
    with pytest.raises(ValueError, match=message):
        embedder.embed(images, "visible")


def test_missing_weights_are_named(finished_run):
    with pytest.raises(FileNotFoundError, match=r"absent\.pth' does not exist"):
        wrimnet.load(finished_run.run / "config.yaml", "absent.pth")


def test_weights_of_another_network_are_refused_though_their_shapes_fit(finished_run, caplog):
    def load(*words):
        return wrimnet.load(run / "config.yaml", run / "model_final.pth", options=words)

    run, other = finished_run.run, ("MODEL.WRIM.MIIM.FUSION", "add")
    with pytest.raises(
        ValueError, match=r"trained with MODEL\.WRIM\.MIIM\.FUSION 'sigmoid', here 'a"
    ):
        load(*other)
    with pytest.raises(
        ValueError, match=r"trained with MODEL\.WRIM\.MIIM\.NORM 'entrance', here 'gate'"
    ):
        load("MODEL.WRIM.MIIM.NORM", "gate")
    load("MODEL.WRIM.TRIPLET.SOFT_MARGIN", "True", "MODEL.WRIM.EMBEDDING_PARTS", "('global',)")
    assert "trained with" not in caplog.text
    load("INPUT.SIZE_TEST", "(64, 32)")  # allowed, and told
    assert "trained with INPUT.SIZE_TEST [32, 16], here [64, 32]; used" in caplog.text
    with pytest.raises(FileNotFoundError, match=r"config.yaml is a file; give the folder of a run"):
        wrimnet.load(run / "config.yaml")
    load(*other, "MODEL.WEIGHTS_STRICT", "False")
    assert "FUSION 'sigmoid', here 'add'; used anyway" in caplog.text


def test_dumped_configuration_is_the_configuration(finished_run):
    path = str(finished_run.run / "config.yaml")
    cfg = setup_cfg(path)
    assert setup_cfg(path).dump() == (finished_run.run / "config.yaml").read_text()
    assert len(config_hash(cfg)) == 12


def test_model_hash_follows_what_evaluation_uses_and_nothing_else(finished_run, tmp_path, embedder):
    config = finished_run.run / "config.yaml"
    state = torch.load(finished_run.run / "model_final.pth", weights_only=True)["model"]
    bare = {name: t for name, t in state.items() if "classifiers" not in name}
    torch.save(bare, tmp_path / "bare.pth")
    changed = {**bare, "heads.main.necks.0.weight": bare["heads.main.necks.0.weight"] * 2}
    torch.save(changed, tmp_path / "changed.pth")
    other = [wrimnet.load(config, tmp_path / f"{n}.pth").facts for n in ("bare", "changed")]
    resized = wrimnet.load(
        config, tmp_path / "bare.pth", options=["INPUT.SIZE_TEST", "[48, 16]"]
    ).facts
    assert other[0].model_hash == embedder.facts.model_hash
    assert len({other[0].model_hash, other[1].model_hash, resized.model_hash}) == 3


def test_documented_example_runs(finished_run, monkeypatch, capsys):
    text = (ROOT / "docs" / "using_a_model.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(finished_run.workspace)
    exec(compile(example, "using_a_model.md", "exec"), {})
    assert "(18, 1792)" in capsys.readouterr().out
