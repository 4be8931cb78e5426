"""The whole walk: images on disk, a stand-in model, all protocols, every form of the result."""

import csv
import hashlib
import json

import numpy as np
import pytest
import torch
from drawn_items import embed, llcm_items

from wrimnet.config import config_hash, get_cfg
from wrimnet.data.datasets import LLCM, SYSU_MM01, RegDB
from wrimnet.data.images import ImageItem, UnreadableImageError
from wrimnet.evaluation.evaluator import build_evaluator
from wrimnet.evaluation.extraction import join_arrays
from wrimnet.evaluation.results import mean_metrics
from wrimnet.metrics.names import PRINTED
from wrimnet.modeling.embedding import embed_parts

WHOLE = ("global", "stripes", "auxiliary")


class MeanColors(torch.nn.Module):
    """Embeds an image by the colors of its rows: enough to tell drawn identities apart."""

    def __init__(self, names=WHOLE, embedding_parts=WHOLE):
        super().__init__()
        self.names, self.embedding_parts = names, embedding_parts
        self.calls = 0

    def embed_parts(self, images, modality):
        assert not self.training
        assert images.dtype == torch.uint8
        self.calls += len(images)
        rows = images.float().mean(2).flatten(1)  # (B, 3 H)
        halves = (rows, rows[:, ::2], images.float().mean(1).flatten(1))
        return dict(zip(self.names, halves, strict=False))


def stand_in(kind, items, folder=""):
    """A dataset of some items, without a tree of its own on the disk."""
    dataset = object.__new__(kind)
    dataset.test, dataset.folder, dataset.number = items, str(folder), 1
    return dataset


@pytest.fixture
def dataset(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    items = []
    for item in llcm_items(num_ids=5, cameras=(1, 2), per_camera=2):
        path = tmp_path / item.relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((16, 8, 3), 40 * item.pid) + rng.integers(0, 40, (16, 8, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path.with_suffix(".png"))
        items.append(ImageItem(str(path.with_suffix(".png")), *item[1:]))
    (tmp_path / "synthetic.json").write_text("{}")
    return stand_in(LLCM, items, tmp_path)


def configuration(**values):
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.INPUT.SIZE_TEST = [16, 8]
    cfg.SOLVER.PRECISION = "fp32"
    cfg.TEST.NUM_TRIALS = 3
    for name, value in values.items():
        cfg.merge_from_list([name.replace("__", "."), value])
    return cfg


def evaluate(dataset, model=None, weights=None, **values):
    evaluator = build_evaluator(configuration(**values), dataset)
    return evaluator.run(model or MeanColors(), weights)


def test_every_image_is_embedded_once(dataset):
    model = MeanColors().train()
    evaluate(dataset, model, TEST__IMS_PER_BATCH=7)
    assert model.calls == len(dataset.test)
    assert model.training


def test_batches_and_threads_change_nothing(dataset):
    one = evaluate(dataset, TEST__IMS_PER_BATCH=3, DATALOADER__NUM_WORKERS=1)
    other = evaluate(dataset, TEST__IMS_PER_BATCH=64, DATALOADER__NUM_WORKERS=4)
    assert one.metrics == other.metrics


def test_metrics_are_those_of_the_whole_embedding_per_default_protocol(dataset):
    report = evaluate(dataset)
    assert list(report.metrics) == ["llcm_ir2vis", "llcm_vis2ir"]
    for protocol, metrics in report.metrics.items():
        assert tuple(metrics) == PRINTED
        (whole,) = [r for r in report.results if r.whole and r.protocol.name == protocol]
        assert metrics == whole.mean()
        mean_ap = np.mean([trial.mean_average_precision for trial in whole.trials])
        assert metrics["mAP"] == pytest.approx(mean_ap, abs=1e-15)


def test_each_group_stands_alone_beside_the_whole(dataset):
    report = evaluate(dataset, TEST__PROTOCOLS=("llcm_ir2vis",))
    parts = [(result.parts, result.whole) for result in report.results]
    assert parts == [(WHOLE, True), (WHOLE[:1], False), (WHOLE[1:2], False), (WHOLE[2:], False)]
    whole, *parts_alone = (result.mean() for result in report.results)
    assert whole not in parts_alone
    assert mean_metrics(report.content()) == dict(report.metrics) == {"llcm_ir2vis": whole}
    one = evaluate(dataset, MeanColors(embedding_parts=("stripes",)))
    alone = [r.mean() for r in report.results if r.parts == ("stripes",)]
    assert one.metrics["llcm_ir2vis"] == alone[0]


def test_a_part_that_the_model_lacks_is_named(dataset):
    with pytest.raises(KeyError, match=r"EMBEDDING_PARTS names \['auxiliary'\], the model has"):
        evaluate(dataset, MeanColors(names=("global", "stripes")))


def test_flip_averages_with_the_mirrored_image(dataset):
    plain, flipped = evaluate(dataset), evaluate(dataset, TEST__FLIP__ENABLED=True)
    by_part = [{r.parts: r.mean() for r in report.results} for report in (plain, flipped)]
    assert by_part[0]["global",] == by_part[1]["global",]  # means over rows see no mirror
    assert by_part[0]["auxiliary",] != by_part[1]["auxiliary",]
    assert "flip=yes" in flipped.lines()[0]


def test_flip_is_the_mean_of_both_parts():
    model, rng = MeanColors().eval(), np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (3, 4, 6, 3), dtype=np.uint8))
    mirrored = torch.from_numpy(images.numpy()[:, :, ::-1].copy())
    one, other = (model.embed_parts(side, 0) for side in (images, mirrored))
    assert not torch.equal(one["auxiliary"], other["auxiliary"])
    found = embed_parts(model, images, 0, flip=True)
    for name in WHOLE:
        torch.testing.assert_close(found[name], (one[name] + other[name]) / 2)


def test_files_hold_every_trial_in_full_precision(dataset, tmp_path):
    report = evaluate(dataset, TEST__PROTOCOLS=("llcm_ir2vis", "llcm_vis2ir_swapped"))
    report.write(tmp_path / "new" / "folder")
    content = json.loads((tmp_path / "new" / "folder" / "results.json").read_text())
    assert len(content["results"]) == len(report.results) == 8
    for written, result in zip(content["results"], report.results, strict=True):
        assert written["protocol"] == result.protocol.name
        for numbers, trial in zip(written["trials"], result.trials, strict=True):
            assert numbers["mAP"] == trial.mean_average_precision
            np.testing.assert_array_equal(np.float32(numbers["cmc"]), trial.cmc)
        aps = [numbers["mAP"] for numbers in written["trials"]]
        assert written["mean"]["mAP"] == pytest.approx(np.mean(aps), abs=1e-15)
        assert written["std"]["mAP"] == pytest.approx(np.std(aps), abs=1e-15)
    with open(tmp_path / "new" / "folder" / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows[:5]] == ["0", "1", "2", "mean", "std"]
    assert float(rows[3]["mAP"]) == report.results[0].mean()["mAP"]
    assert len(rows) == 8 * 5


def test_line_and_files_say_what_was_measured(dataset, tmp_path):
    weights = tmp_path / "model.pth"
    weights.write_bytes(b"weights")
    options = {"TEST__RERANK__ENABLED": True, "TEST__RERANK__K1": 5, "TEST__RERANK__K2": 2,
               "TEST__AQE__ENABLED": True}  # fmt: skip
    report = evaluate(dataset, weights=str(weights), **options)
    (line,) = report.lines()[:1]
    assert len(report.lines()) == len(report.metrics)  # the parts alone are in the files
    for fact in (
        "llcm_ir2vis  Rank-1 ", "20 queries", "gallery draw agw, 1 per identity and camera",
        "3 trials", "dataset=LLCM", "synthetic=yes", "flip=no", "reranking=k1=5 k2=2 lambda=0.3",
        "query_expansion=k=5 alpha=3.0 rounds=1", f"config={config_hash(configuration(**options))}",
    ):  # fmt: skip
        assert fact in line, fact
    assert len(line) < 600 and "sha256" not in line
    found = report.description["weights"]
    assert found == {
        "path": str(weights), "sha256": hashlib.sha256(b"weights").hexdigest()
    }  # fmt: skip
    assert set(report.description) >= {"dataset", "synthetic", "weights", "code", "config", "flip"}


def test_reranking_and_expansion_are_named_only_when_on(dataset):
    line = evaluate(dataset).lines()[0]
    assert "reranking" not in line
    assert "query_expansion" not in line


def test_the_swapped_protocol_never_shares_a_table(dataset):
    report = evaluate(dataset, TEST__PROTOCOLS=("llcm_vis2ir", "llcm_vis2ir_swapped"))
    main, heading, swapped = report.markdown().split("\n\n")
    assert "swapped" not in main
    assert "not comparable" in heading
    rows = swapped.splitlines()[2:]
    assert len(rows) == 4
    assert all(row.startswith("| llcm_vis2ir_swapped |") for row in rows)


def test_unique_identities_are_regdbs_option():
    items = [
        ImageItem("", pid, modality + 1, modality, f"{modality}/{pid}/{number}.bmp")
        for modality in (0, 1)
        for pid in range(30)
        for number in range(5)
    ]
    dataset = stand_in(RegDB, items)
    curves = []
    for unique in (False, True):
        evaluator = build_evaluator(configuration(TEST__UNIQUE_IDS=unique), dataset)
        report = evaluator.score(dict.fromkeys(WHOLE, embed(items, noise=2.0)), WHOLE)
        assert len(report.results[0].trials) == 1
        assert f"CMC counts {'identities' if unique else 'images'}" in report.lines()[0]
        curves.append(report.metrics["regdb_v2t"])
    assert curves[0]["Rank-1"] == curves[1]["Rank-1"]
    assert curves[0]["Rank-10"] < curves[1]["Rank-10"]
    assert curves[0]["mAP"] == curves[1]["mAP"]
    assert "regdb_trial=1" in report.lines()[0]


def test_official_draw_looks_into_the_dataset(dataset):
    dataset = stand_in(SYSU_MM01, dataset.test, dataset.folder)
    with pytest.raises(FileNotFoundError, match=r"exp.rand_perm_cam\.mat'.*wuancong/SYSU-MM01"):
        build_evaluator(configuration(TEST__GALLERY_DRAW="official"), dataset)
    with pytest.raises(FileNotFoundError, match="permutation file 'elsewhere"):
        build_evaluator(
            configuration(TEST__GALLERY_DRAW="official", TEST__PERM_FILE="elsewhere.mat"), dataset
        )


def test_a_missing_weights_file_stops_before_any_image_is_read(dataset):
    model = MeanColors()
    with pytest.raises(FileNotFoundError, match=r"file 'absent\.pth' does not exist"):
        evaluate(dataset, model, weights="absent.pth")
    assert model.calls == 0


def test_broken_embeddings_and_images_are_named(dataset):
    class Broken(MeanColors):
        def embed_parts(self, images, modality):
            parts = super().embed_parts(images, modality)
            parts["stripes"] = parts["stripes"].clone()
            parts["stripes"][1] = torch.nan
            return parts

    with pytest.raises(ValueError, match=r"the stripes embedding of .*/test_0/.* holds NaN"):
        evaluate(dataset, Broken())
    with open(dataset.test[3].path, "wb") as file:
        file.write(b"")
    with pytest.raises(UnreadableImageError, match=dataset.test[3].path):
        evaluate(dataset)
    dataset.test = []
    with pytest.raises(ValueError, match="no infrared test image"):
        evaluate(dataset)


def test_an_embedding_without_length_is_named():
    parts = {"global": np.eye(3, dtype=np.float32)}
    parts["global"][1] = 0
    with pytest.raises(ValueError, match=r"embedding global of row 1 has L2 norm 0; 1 of 3"):
        join_arrays(parts, ("global",))
