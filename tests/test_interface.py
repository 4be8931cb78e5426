"""The Python interface: what it returns, what it reads, and what it refuses."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from source_tree import ROOT
from tiny_runs import tiny_cfg

import wrimnet
from wrimnet.config import setup_cfg
from wrimnet.config.tree import changed_cfg
from wrimnet.inference.export import build_features


@pytest.fixture(scope="module")
def root(finished_run):
    return finished_run.data.parent


@pytest.fixture(scope="module")
def embedder(finished_run):
    return wrimnet.load(finished_run.run, device="cpu")


@pytest.fixture(scope="module")
def expected(finished_run):
    """Metrics of results.json by protocol, in percent."""
    content = json.loads((finished_run.run / "results.json").read_text())
    wholes = [entry for entry in content["results"] if entry["whole"]]
    return {
        entry["protocol"]: {
            **{f"Rank-{k}": 100 * entry["mean"]["cmc"][k - 1] for k in (1, 5, 10, 20)},
            "mAP": 100 * entry["mean"]["mAP"],
            "mINP": 100 * entry["mean"]["mINP"],
        }
        for entry in wholes
    }


def test_every_public_name_is_there_and_typed():
    for name in wrimnet.__all__:
        assert getattr(wrimnet, name) is not None
    assert dir(wrimnet) == sorted(wrimnet.__all__)
    with pytest.raises(AttributeError, match=r"no attribute 'scor'; it has .*'train'"):
        wrimnet.scor  # noqa: B018


def test_importing_it_and_reading_runs_stay_light(finished_run):
    code = "import sys, wrimnet; dir(wrimnet); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_datasets_are_lists_of_items(root):
    dataset = wrimnet.load_dataset("llcm", root)
    assert {type(item) for item in dataset.train + dataset.test} == {wrimnet.ImageItem}
    assert dataset.test[0].relpath.startswith("test_vis/")
    held_out = wrimnet.load_dataset("LLCM", root, split="train")
    assert len(held_out.train) + len(held_out.test) == len(dataset.train)
    with pytest.raises(KeyError, match=r"'Market' is unknown; use one of LLCM, .*PLUGINS"):
        wrimnet.load_dataset("Market", root)


def test_evaluation_gives_the_results_of_the_training(finished_run, root, embedder, expected):
    run = finished_run.run
    words = {"MODEL.WEIGHTS": run / "model_final.pth", "DATASETS.ROOT": root}
    cfg = wrimnet.setup_cfg(run / "config.yaml", options=words)
    assert wrimnet.evaluate(cfg) == expected
    dataset = wrimnet.load_dataset("LLCM", root)
    ten_trials = {**words, "TEST.NUM_TRIALS": 10, "TEST.PROTOCOLS": ["llcm_vis2ir"]}
    cfg = wrimnet.setup_cfg(run / "config.yaml", options=ten_trials)
    assert wrimnet.evaluate(embedder, dataset) == expected
    assert wrimnet.evaluate(embedder, "llcm") == expected  # below the configuration's root
    found = wrimnet.evaluate(embedder, dataset, ["llcm_vis2ir"])
    assert found == {"llcm_vis2ir": expected["llcm_vis2ir"]}
    of_ten = wrimnet.evaluate(wrimnet.load(run, options=ten_trials), dataset)
    assert of_ten == wrimnet.evaluate(cfg, dataset)
    assert of_ten != found
    expanded = wrimnet.load(run, options={**words, "TEST.AQE.ENABLED": True})
    cfg_of_it = wrimnet.setup_cfg(run / "config.yaml", options={**words, "TEST.AQE.ENABLED": True})
    assert wrimnet.evaluate(expanded) == wrimnet.evaluate(cfg_of_it) != expected
    two = ["Rank-1", "mAP"]
    named = {"llcm_vis2ir": {name: found["llcm_vis2ir"][name] for name in two}}
    assert wrimnet.evaluate(embedder, dataset, ["llcm_vis2ir"], metrics=two) == named
    of_ten = {"llcm_vis2ir": {name: of_ten["llcm_vis2ir"][name] for name in two}}
    assert wrimnet.evaluate(cfg, dataset, metrics=two) == of_ten
    of_two = wrimnet.load(run, options={"TEST.METRICS": two})
    assert wrimnet.evaluate(of_two, dataset, ["llcm_vis2ir"]) == named
    for word in ("protocols", "metrics"):
        with pytest.raises(ValueError, match=f"{word} is the text 'mAP', expected a list"):
            wrimnet.evaluate(embedder, dataset, **{word: "mAP"})
    with pytest.raises(ValueError, match=r"overlays is a list of files, such as \['a\.yml'\]"):
        wrimnet.setup_cfg(run / "config.yaml", "a.yml")
    with pytest.raises(ValueError, match="belongs to RegDB, the dataset is LLCM"):
        wrimnet.evaluate(cfg, protocols=["regdb_v2t"])


def test_scores_of_features_from_memory_and_from_a_file(
    finished_run, root, embedder, expected, tmp_path
):
    cfg = setup_cfg(str(finished_run.run / "config.yaml"), options=[f"DATASETS.ROOT={root}"])
    path = build_features(cfg, embedder, tmp_path)
    with pytest.raises(ValueError, match=r"DATASETS\.SPLIT is 'train': .*SPLIT trainval for featu"):
        build_features(changed_cfg(cfg, {"DATASETS.SPLIT": "train"}), embedder, tmp_path)
    items = wrimnet.load_dataset("LLCM", root).test
    features = embedder.embed_items(items)
    trials = {"num_trials": cfg.TEST.NUM_TRIALS}
    for protocol, metrics in expected.items():
        for given, images in (
            (features, items),
            (torch.from_numpy(features), [item.relpath for item in items]),
            (path, None),
        ):
            found = wrimnet.score(given, protocol, images, **trials)
            assert found == pytest.approx(metrics, rel=1e-6)
    few = wrimnet.score(features, "llcm_ir2vis", items, metrics=("Rank-1", "Rank-3", "mAP"))
    assert list(few) == ["Rank-1", "Rank-3", "mAP"]
    wrimnet.save_features(tmp_path / "again.npz", items, features)
    assert wrimnet.score(tmp_path / "again.npz", "llcm_ir2vis") == wrimnet.score(
        path, "llcm_ir2vis"
    )


def test_unfit_features_are_refused(embedder, root):
    items = wrimnet.load_dataset("LLCM", root).test
    features = np.eye(len(items), dtype=np.float32)
    assert wrimnet.score(features.tolist(), "llcm_ir2vis", items) == pytest.approx(
        wrimnet.score(features.astype(np.float64), "llcm_ir2vis", items)
    )
    with pytest.raises(ValueError, match=r"the features of test_vis/.* and 35 more of 36"):
        wrimnet.score(0 * features, "llcm_ir2vis", items)
    with pytest.raises(ValueError, match="features have dtype bfloat16, expected float32"):
        wrimnet.score(torch.from_numpy(features).bfloat16(), "llcm_ir2vis", items)
    with pytest.raises(ValueError, match="no gallery sampling 'official'"):
        wrimnet.score(features, "llcm_ir2vis", items, draw="official")
    with pytest.raises(ValueError, match="items is the text 'LLCM', expected a list"):
        wrimnet.score(features, "llcm_ir2vis", "LLCM")
    with pytest.raises(ValueError, match="items is None: give the image of each row"):
        wrimnet.score(features, "llcm_ir2vis")
    with pytest.raises(ValueError, match="one row per image"):
        wrimnet.score(features[:-1], "llcm_ir2vis", items)
    with pytest.raises(KeyError, match="unknown protocol 'llcm'; choose one of"):
        wrimnet.score(features, "llcm", items)


def test_runs_are_read_as_records_in_percent(finished_run, expected):
    results = wrimnet.read_results(finished_run.run)
    for protocol, metrics in expected.items():
        (row,) = (r for r in results if r["whole"] and r["protocol"] == protocol)
        assert {name: row[name] for name in metrics} == metrics
        assert row["mAP std"] >= 0
        assert (row["dataset"], row["num_trials"]) == ("LLCM", 2)
    assert {row["embedding"] for row in results} > {"global", "global+stripes+auxiliary"}
    assert all(row.keys() == results[0].keys() for row in results)
    logged = wrimnet.read_metrics(finished_run.run)
    assert logged[-1]["llcm_ir2vis/mAP"] == 25.0
    assert [line["total_loss"] for line in logged] == [9 / i for i in (1, 2, 3, 4)]
    for record in (*results, *logged):  # a table takes them
        assert all(isinstance(value, int | float | str) for value in record.values())
    with pytest.raises(FileNotFoundError, match="not the folder of a run"):
        wrimnet.read_metrics(finished_run.workspace)


def test_synthetic_data_are_drawn_once(tmp_path):
    folder = wrimnet.make_synthetic_dataset(
        tmp_path, train_ids=2, test_ids=2, images_per_id=2, seed=5
    )
    dataset = wrimnet.load_dataset("LLCM", tmp_path)
    assert (len(dataset.train), len(dataset.test)) == (8, 8)
    again = wrimnet.make_synthetic_dataset(
        tmp_path, train_ids=2, test_ids=2, images_per_id=2, seed=5
    )
    assert again == folder == tmp_path / "LLCM"
    with pytest.raises(ValueError, match="layout 'market' is unknown; use one of llcm, regdb, sy"):
        wrimnet.make_synthetic_dataset(tmp_path, layout="market")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A training that is watched: its folder, what it returned, what was seen on the way."""
    output, seen = tmp_path_factory.mktemp("trained") / "out", []
    cfg = tiny_cfg(data, output, TEST__EVAL_PERIOD="1")
    found = wrimnet.train(cfg, on_evaluation=lambda epoch, metrics: seen.append((epoch, metrics)))
    return output, found, seen


def test_a_training_returns_its_metrics_and_can_be_watched(trained):
    output, found, seen = trained
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert seen[-1][1] == found
    for row in wrimnet.read_results(output):
        if row["whole"]:
            assert {name: row[name] for name in found[row["protocol"]]} == found[row["protocol"]]
    logged = [line for line in wrimnet.read_metrics(output) if "llcm_ir2vis/mAP" in line]
    assert [line["iteration"] for line in logged] == [2, 4]
    assert [line["llcm_ir2vis/mAP"] for line in logged] == pytest.approx(
        [metrics["llcm_ir2vis"]["mAP"] for _, metrics in seen], rel=1e-6
    )


def test_a_finished_training_is_resumed_to_its_metrics(trained, data):
    output, found, _ = trained
    assert wrimnet.train(tiny_cfg(data, output, TEST__EVAL_PERIOD="1"), resume=True) == found


def test_a_callback_may_end_the_training_which_any_thread_may_start(data, tmp_path):
    def prune(epoch, metrics):
        raise LookupError(f"pruned after epoch {epoch}")

    cfg = tiny_cfg(data, tmp_path / "out", TEST__EVAL_PERIOD="1")
    with ThreadPoolExecutor(1) as pool, pytest.raises(LookupError, match="pruned after epoch 1"):
        pool.submit(wrimnet.train, cfg, on_evaluation=prune).result()
    assert (tmp_path / "out" / "checkpoint_00000002.pth").is_file()
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.slow
def test_documented_example_runs(tmp_path, monkeypatch, capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="figures are an optional extra")
    (example,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL
    )
    statements = [line for line in example.splitlines() if line.strip()]
    assert len(statements) <= 30
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    with pyplot.rc_context({"backend": "agg"}):
        exec(compile(example, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out.count("llcm_ir2vis") >= 3
    for name in ("similarity.png", "loss.png", "results.json"):
        assert (tmp_path / "logs" / "Synthetic" / "python" / name).is_file()
