"""examples/unsupervised in training: its configurations, its state, what it never reads."""

import shutil

import numpy as np
import pytest
import torch
from source_tree import ROOT
from tiny_runs import TINY, make_trainer, read_lines
from trees import make_llcm_tree

from wrimnet.config import setup_cfg
from wrimnet.engine import preflight
from wrimnet.engine.run import train
from wrimnet.modeling.weights import build_model, start_from_weights

pytest.importorskip("sklearn", reason="scikit-learn is an optional extra")
from examples.unsupervised.pgm_hook import check_clusters

CONFIGS = ROOT / "examples" / "unsupervised" / "configs"
KEYS = {
    **TINY,
    "MODEL.WEIGHTS": "",
    "MODEL.DEVICE": "cpu",
    "MODEL.TWO_STREAM.NUM_BLOCKS": "2",  # for speed
    "MODEL.TWO_STREAM.NON_LOCAL": "(0, 0, 0, 0)",
    "UNSUPERVISED.K1": "5",
    "UNSUPERVISED.K2": "2",
    "UNSUPERVISED.EPS": "0.7",
    "SOLVER.CHECKPOINT_ITERS": "3",
    "SOLVER.KEEP_CHECKPOINTS": "3",  # after iterations 2, 3 and 4
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_llcm_tree(root)
    return root


def pgm_cfg(data, output, file="Synthetic/pgm.yml", **overrides):
    changed = {name.replace("__", "."): value for name, value in overrides.items()}
    keys = {**KEYS, "DATASETS.ROOT": str(data), "OUTPUT_DIR": str(output), **changed}
    return setup_cfg(str(CONFIGS / file), (), [word for pair in keys.items() for word in pair])


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("pgm") / "out"
    assert train(pgm_cfg(data, output)) == 0
    return output


def content_of(output, name="model_final.pth"):
    return torch.load(output / name, weights_only=True)


def same_weights(one, two):
    ours, theirs = (content_of(folder)["model"] for folder in (one, two))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_every_line_has_the_terms_and_what_the_epoch_found(trained):
    lines = read_lines(trained)
    assert len(lines) == 4
    for line in lines:
        terms = [line[f"loss_{kind}_clusters"] for kind in ("visible", "infrared", "matched")]
        assert line["loss_matched_clusters"] == pytest.approx(
            0.25 * line["raw/matched_clusters"], rel=1e-5
        )
        assert line["total_loss"] == pytest.approx(sum(terms), rel=1e-5)
        for name in ("visible", "infrared"):
            assert line[f"clusters_{name}"] >= 2
            assert 0 < line[f"purity_{name}"] <= 1 and 0 < line[f"coverage_{name}"] <= 1
        most = max(line["clusters_visible"], line["clusters_infrared"])
        assert line["matched_pairs"] == most
        assert 0 <= line["purity_matches"] <= 1
    log = (trained / "log.txt").read_text()
    assert all(f"clusters before epoch {epoch}: clusters visible" in log for epoch in (1, 2))


def hook_state(output, iteration):
    state = content_of(output, f"checkpoint_{iteration:08d}.pth")
    return state["hooks"]["progressivegraphmatching"]


def test_direction_alternates_and_memories_move_within_an_epoch(trained):
    end_of_first, second, last = (hook_state(trained, iteration) for iteration in (2, 3, 4))
    assert [state["crossing"] for state in (end_of_first, second, last)] == [1, 0, 0]
    assert torch.equal(second["labels"], last["labels"])
    for kind in (0, 1):
        assert not torch.equal(second["rows"][kind], last["rows"][kind])
        norms = last["rows"][kind].norm(dim=1)
        torch.testing.assert_close(norms, torch.ones_like(norms))


def test_identities_of_the_dataset_change_no_weight(data, trained, tmp_path, monkeypatch):
    read = preflight.build_dataset

    def shuffled(cfg):
        dataset = read(cfg)
        pids = np.random.default_rng(0).permutation([item.pid for item in dataset.train])
        dataset.train = [
            item._replace(pid=int(pid)) for item, pid in zip(dataset.train, pids, strict=True)
        ]
        return dataset

    monkeypatch.setattr(preflight, "build_dataset", shuffled)
    keys = {"SOLVER__CHECKPOINT_ITERS": "0", "SOLVER__CHECKPOINT_PERIOD": "0"}
    assert train(pgm_cfg(data, tmp_path / "out", **keys)) == 0
    assert same_weights(trained, tmp_path / "out")
    purities = [read_lines(folder)[0]["purity_visible"] for folder in (trained, tmp_path / "out")]
    assert purities[0] != purities[1]


@pytest.mark.parametrize("iteration", [2, 3])  # at an epoch's end, within one
def test_a_run_that_was_killed_goes_on_to_the_same_bits(data, trained, tmp_path, iteration):
    output = tmp_path / "out"
    output.mkdir()
    for name in (f"checkpoint_{iteration:08d}.pth", "config.yaml", "metrics.jsonl"):
        shutil.copy(trained / name, output)
    (output / "last_checkpoint").write_text(f"checkpoint_{iteration:08d}.pth")
    assert train(pgm_cfg(data, output), resume=True) == 0
    assert same_weights(trained, output)
    speed = {"time", "data_time", "images_per_second"}
    ours, theirs = (
        [{n: v for n, v in line.items() if n not in speed} for line in read_lines(folder)]
        for folder in (trained, output)
    )
    assert ours == theirs
    ours, theirs = (hook_state(folder, 4)["rows"] for folder in (trained, output))
    assert all(torch.equal(ours[kind], theirs[kind]) for kind in (0, 1))


@pytest.mark.parametrize(
    ("visible", "infrared", "said"),
    [
        ([-1, -1, -1], [0, 1, 2], "0 clusters in the 3 visible images, 3 of"),
        ([0, 0, -1], [0, 1, 2], "1 cluster in the 3 visible images, 1 of"),
        ([0, 1, 2, 3], [1, 0, 1, -1, -1], "2 clusters in the 5 infrared images, 2 of"),
    ],
)
def test_too_few_clusters_are_a_sentence_with_the_numbers(visible, infrared, said):
    labels, modality = (
        np.array(visible + infrared),
        np.repeat([0, 1], [len(visible), len(infrared)]),
    )
    expected = rf"^epoch 7: DBSCAN found {said} which are outliers; a batch takes 3 clusters of "
    with pytest.raises(ValueError, match=expected + r".*EPS = 0.6: lower it"):
        check_clusters(labels, modality, least=3, when="epoch 7", eps=0.6)


def test_a_training_stops_where_nothing_clusters(data, tmp_path):
    trainer = make_trainer(pgm_cfg(data, tmp_path, UNSUPERVISED__MIN_SAMPLES="100"))
    with pytest.raises(ValueError, match=r"epoch 1: DBSCAN found 0 clusters in the 20 visible"):
        trainer.train()


def test_images_of_nobody_are_trained_on_and_nothing_is_evaluated(data, tmp_path):
    for modality, source in (("visible", "vis"), ("infrared", "nir")):
        folder = tmp_path / "UnlabelledFolder" / modality
        folder.mkdir(parents=True)
        for path in sorted((data / "LLCM" / source).rglob("*.jpg")):
            shutil.copy(path, folder)
    keys = {
        "DATASETS__NAMES": "('UnlabelledFolder',)", "SOLVER__MAX_EPOCH": "1",
        "SOLVER__CHECKPOINT_ITERS": "0", "TEST__EVAL_PERIOD": "1",
    }  # fmt: skip
    cfg = pgm_cfg(tmp_path, tmp_path / "out", **keys)
    assert train(cfg) == 0
    lines, log = read_lines(tmp_path / "out"), (tmp_path / "out" / "log.txt").read_text()
    assert lines[0]["clusters_visible"] >= 2 and "purity_visible" not in lines[0]
    assert "UnlabelledFolder has no protocols: nothing is evaluated" in log
    assert "best mAP" not in log
    assert (tmp_path / "out" / "model_final.pth").is_file()
    assert not (tmp_path / "out" / "model_best.pth").exists()
    assert train(cfg, resume=True) == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"DATALOADER__SAMPLER_TRAIN": "cross_modality"}, "needs clusters"),
        ({"MODEL__HEADS__NAME": "TwoStreamHead"}, "needs ClusterHead"),
        ({"INPUT__AUGMENTATION": "default"}, "needs build_two_views"),
        ({"DATALOADER__NUM_INSTANCE": "1", "SOLVER__IMS_PER_BATCH": "6"}, "of P = 3 clusters"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(data, tmp_path, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        pgm_cfg(data, tmp_path, **change)


def test_several_processes_are_refused(data, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"2 processes: .* start it without torchrun"):
        pgm_cfg(data, tmp_path)


def test_weights_of_a_supervised_model_start_it(data, tmp_path):
    network = {
        name: KEYS[name] for name in KEYS if name.startswith(("MODEL.BACKBONE", "MODEL.TWO"))
    }
    options = {**network, "MODEL.DEVICE": "cpu", "MODEL.HEADS.NUM_CLASSES": "5"}
    words = [word for pair in options.items() for word in pair]
    supervised = build_model(setup_cfg(str(ROOT / "configs/Synthetic/agw.yml"), (), words))
    own = build_model(pgm_cfg(data, tmp_path))
    torch.save({"model": supervised.state_dict()}, tmp_path / "weights.pth")
    start_from_weights(own, str(tmp_path / "weights.pth"), strict=True)
    theirs = {n: t for n, t in supervised.state_dict().items() if "classifiers" not in n}
    assert own.state_dict().keys() == theirs.keys()
    assert all(torch.equal(own.state_dict()[name], tensor) for name, tensor in theirs.items())


@pytest.mark.parametrize("name", ["SYSU", "RegDB", "LLCM", "Synthetic"])
def test_both_stages_differ_in_the_matched_term_and_the_start_alone(name):
    stages = [setup_cfg(str(CONFIGS / name / f)) for f in ("pgm_stage1.yml", "pgm.yml")]
    assert [cfg.UNSUPERVISED.CROSS_WEIGHT for cfg in stages] == [0.0, 0.25]
    assert f"{stages[0].OUTPUT_DIR}/model_final.pth" == stages[1].MODEL.WEIGHTS
    assert f"logs/{name}/pgm" == stages[1].OUTPUT_DIR
