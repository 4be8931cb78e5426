"""Exported files on a small stand-in for a model, and the model card."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from wrimnet.config import config_hash, get_cfg, setup_cfg
from wrimnet.inference import export as export_module
from wrimnet.inference.embedder import build_embedder
from wrimnet.inference.export import build_model_card, build_onnx, build_safetensors
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.modeling.weights import read_checkpoint, read_state_dict
from wrimnet.peers.embedding_expansion import COPIES, EmbeddingExpansion, StageAggregation
from wrimnet.peers.two_stream_net import NeckLevel, TwoStreamHead


class TwoBranches(nn.Module):
    """Means of each channel, turned round for infrared images."""

    def embed_parts(self, images, modality):
        means = images.mean(dim=(2, 3)) + 1
        return {"global": means if modality == VISIBLE else means.flip(1), "stripes": means**2}


class TinyDEEN(nn.Module):
    """DEEN's modules and the two-stream head, on feature maps of one convolution each."""

    def __init__(self):
        super().__init__()
        self.early, self.late = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 1)
        self.aggregation, self.expansion = StageAggregation(8, 4, 1), EmbeddingExpansion(8)
        main = NeckLevel(channels=8, num_classes=0, pooling="gem")
        self.head = TwoStreamHead(main=main, copies=COPIES, pooled_weight=0.5)

    def embed_parts(self, images, modality):
        early = self.early(images)
        features = self.expansion(self.aggregation(self.late(early), early))
        return self.head.parts(self.head({"main": features}, 0))


def export(path, modality=VISIBLE, **metadata):
    content, distance = build_onnx(
        TwoBranches(), parts=("global",), modality=modality, size=(8, 4), metadata=metadata
    )
    path.write_bytes(content)
    return distance


@pytest.fixture
def packages():
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason="export is an optional extra")


def test_file_gives_what_its_modality_gives_for_any_batch(packages, tmp_path):
    import onnx
    import onnxruntime

    for modality in (VISIBLE, INFRARED):
        path = tmp_path / f"{modality}.onnx"
        assert export(path, modality, config_hash="abc") < 1e-6
        session = onnxruntime.InferenceSession(path)
        for batch in (1, 4):
            images = np.random.default_rng(batch).random((batch, 3, 8, 4), dtype=np.float32)
            (found,) = session.run(["embeddings"], {"images": images})
            means = images.mean(axis=(2, 3)) + 1
            means = means if modality == VISIBLE else means[:, ::-1]
            expected = means / np.linalg.norm(means, axis=1, keepdims=True)
            np.testing.assert_allclose(found, expected, atol=1e-6)
        model = onnx.load(path)
        assert [(p.key, p.value) for p in model.metadata_props] == [("config_hash", "abc")]
        assert {entry.version for entry in model.opset_import if not entry.domain} == {18}


def test_peers_are_exported_for_any_batch(packages):
    network = TinyDEEN().eval()
    parts = tuple(network.head.part_dims)
    _, distance = build_onnx(
        network, parts=parts, modality=VISIBLE, size=(8, 4), metadata={}, flip=True
    )
    assert distance < 1e-6


@pytest.mark.parametrize("flip", [False, True])
def test_files_hold_what_the_embedder_embeds(packages, finished_run, tmp_path, monkeypatch, flip):
    run, exported = finished_run.run, []
    words = ["MODEL.WEIGHTS", str(run / "model_final.pth"), "TEST.FLIP.ENABLED", str(flip)]
    cfg = setup_cfg(str(run / "config.yaml"), (), words)
    embedder = build_embedder(cfg)

    def keep(network, example):
        exported.append(network)
        raise ValueError("the graph is of no interest")

    monkeypatch.setattr(export_module, "_graph_of", keep)
    with pytest.raises(ValueError, match="of no interest"):
        export_module.build_onnx_files(cfg, embedder, tmp_path)
    height, width = embedder.extraction.height, embedder.extraction.width
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    with torch.inference_mode():
        found = exported[0](torch.from_numpy(images).permute(0, 3, 1, 2).float())
    np.testing.assert_allclose(found, embedder.embed(images, "visible"), atol=1e-5)


def test_a_network_that_differs_is_not_written(packages, tmp_path, monkeypatch):
    monkeypatch.setattr("wrimnet.inference.export.largest_distance", lambda *arguments: 2e-4)
    with pytest.raises(ValueError, match=r"differ by a cosine distance of 2\.00e-04"):
        export(tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_missing_packages_are_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ValueError, match=r"needs onnx: pip install 'wrimnet\[export\]'"):
        export(tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=r"needs safetensors: pip install 'wrimnet\[export\]'"):
        build_safetensors(None, None, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def write_safetensors(folder, monkeypatch):
    """Weights as export writes them; returns the file and the tensors."""
    monkeypatch.setattr(export_module, "build_facts", lambda cfg, embedder: {"model": "a"})
    monkeypatch.setattr(export_module, "build_model_card", lambda *_: "")
    model = nn.BatchNorm1d(40)
    nn.init.normal_(model.weight)
    embedder = SimpleNamespace(model=model, facts=SimpleNamespace(lineage=[]))
    return build_safetensors(get_cfg(), embedder, folder), model.state_dict()


def test_flipped_bit_in_safetensors_is_refused(tmp_path, monkeypatch):
    torch_files = pytest.importorskip("safetensors.torch", reason="export is an optional extra")
    path, expected = write_safetensors(tmp_path, monkeypatch)
    found, network = read_state_dict(path), read_checkpoint(path)["network"]
    assert network["MODEL.WRIM.MIIM.FUSION"] == "sigmoid"
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    content = bytearray(path.read_bytes())
    content[content.index(expected["weight"].numpy().tobytes()) + 50] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"wrimnet\.safetensors is damaged: its tensors do not"):
        read_checkpoint(path)
    torch_files.save_file(torch_files.load_file(path), path)  # as others write it: no digest
    assert not torch.equal(read_state_dict(path)["weight"], expected["weight"])


def test_card_says_what_a_published_model_must_say(finished_run, tmp_path):
    cfg = setup_cfg(str(finished_run.run / "config.yaml"))
    content = json.loads((finished_run.run / "results.json").read_text())
    weights = content["description"]["weights"]["sha256"]
    facts = {"model": "WRIMNet-50x", "embedding_size": "7168", "weights_sha256": weights}
    card = build_model_card(cfg, facts, str(finished_run.run))
    for text in ("# WRIMNet-50x, trained on LLCM (synthetic)", "embedding_size | 7168",
                 "- llcm_ir2vis: infrared to visible, gallery draw agw", "2 trials",
                 "Measured on the test set.",
                 "`wrimnet.safetensors`: weights", "surveillance technology",
                 "show no real person", "Apache License 2.0"):  # fmt: skip
        assert text in card
    assert "Not measured" not in card
    content["description"]["synthetic"] = False
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert "show real persons" in build_model_card(cfg, facts, str(tmp_path))
    content["description"] |= {"synthetic": True, "stand_in": "places of photographs"}
    content["description"]["split"] = "train"
    (tmp_path / "results.json").write_text(json.dumps(content))
    card = build_model_card(cfg, facts, str(tmp_path))
    assert "trained on LLCM (places of photographs)" in card and "no real person" not in card
    assert "Measured on the held-out identities." in card
    others = {**facts, "weights_sha256": "of other weights"}
    assert "Not measured" in build_model_card(cfg, others, str(finished_run.run))
    loose = setup_cfg(str(finished_run.run / "config.yaml"), (), ["MODEL.WEIGHTS_STRICT", "False"])
    assert "Not measured" in build_model_card(loose, facts, str(finished_run.run))
    unmeasured = build_model_card(cfg, facts, None)
    assert "Not measured" in unmeasured and "show no real person" in unmeasured
    assert "Measured on the" not in unmeasured


def test_model_is_back_on_its_device_after_an_export_that_failed(tmp_path):
    moved = []
    model = SimpleNamespace(cpu=lambda: moved.append("cpu"), to=moved.append)
    embedder = SimpleNamespace(model=model, device="cuda:1")
    with pytest.raises(AttributeError, match="extraction"):  # a stand-in that has none
        export_module.build_onnx_files(None, embedder, tmp_path)
    assert moved == ["cpu", "cuda:1"]


def test_exported_weights_say_what_they_were_trained_on(finished_run, tmp_path):
    pytest.importorskip("safetensors", reason="export is an optional extra")
    run, record = finished_run.run, [{"dataset": "RegDB", "identities": [1], "stand_in": ""}]
    state = torch.load(run / "model_final.pth", weights_only=True)
    torch.save({**state, "trained_on": record}, tmp_path / "a.pth")
    cfg = setup_cfg(str(run / "config.yaml"), (), ["MODEL.WEIGHTS", str(tmp_path / "a.pth")])
    path = build_safetensors(cfg, build_embedder(cfg), tmp_path / "exported")
    assert read_checkpoint(path)["trained_on"] == record


def test_exported_weights_name_the_configuration_that_they_record(finished_run, tmp_path):
    """Not that of the export, whose precision is that of its device."""
    pytest.importorskip("safetensors", reason="export is an optional extra")
    run = finished_run.run
    state = torch.load(run / "model_final.pth", weights_only=True)
    torch.save({**state, "config_hash": "c0ffee123456"}, tmp_path / "a.pth")
    cfg = setup_cfg(str(run / "config.yaml"), (), ["MODEL.WEIGHTS", str(tmp_path / "a.pth")])
    path = build_safetensors(cfg, build_embedder(cfg), tmp_path / "exported")
    assert "c0ffee123456" in (path.parent / "README.md").read_text(encoding="utf-8")
    again = setup_cfg(str(path.parent / "config.yaml"), (), ["MODEL.WEIGHTS", str(path)])
    assert build_embedder(again).facts.config_hash == "c0ffee123456"
    own = setup_cfg(str(run / "config.yaml"), (), ["MODEL.WEIGHTS", str(run / "model_final.pth")])
    assert build_embedder(own).facts.config_hash == config_hash(own)  # these record none


def test_failed_export_leaves_the_earlier_files(finished_run, tmp_path, monkeypatch):
    """No file is opened before all of them can be written; a full disk is named with the file."""
    pytest.importorskip("safetensors", reason="export is an optional extra")
    path, run = tmp_path / "wrimnet.safetensors", finished_run.run
    path.write_bytes(b"earlier")
    cfg = setup_cfg(str(run / "config.yaml"), (), ["MODEL.WEIGHTS", str(run / "model_final.pth")])
    embedder = build_embedder(cfg)

    def fail(*_):
        raise OSError(28, "No space left on device")

    for target in ("wrimnet.inference.export.build_model_card", "os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(target, fail)
            with pytest.raises(OSError, match="No space left on device") as raised:
                build_safetensors(cfg, embedder, tmp_path)
        assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [
            (path.name, b"earlier")
        ]
    assert str(raised.value).startswith(
        f"cannot write {path}: No space left on device; free disk space"
    )


def test_a_torch_without_dynamic_shapes_traces(monkeypatch):
    written = {}

    def export_of_torch_2_4(network, example, file, *, dynamic_axes, **options):
        written.update(options, axes=dynamic_axes)
        file.write(b"graph")

    monkeypatch.setattr(export_module.torch.onnx, "export", export_of_torch_2_4)
    assert export_module._graph_of(nn.Identity(), torch.zeros(2, 3, 8, 4)) == b"graph"
    assert written["axes"] == {"images": {0: "batch"}, "embeddings": {0: "batch"}}
