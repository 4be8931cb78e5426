"""examples/optuna_search.py: a tiny study prunes, is interrupted, and goes on."""

import importlib.util
import json
import sys

import pytest
from source_tree import ROOT
from tiny_runs import CONFIG_FILE, TINY
from trees import make_llcm_tree

from wrimnet.engine.trainer import WRIMTrainer

optuna = pytest.importorskip("optuna", reason="optuna is an optional extra")
RUNNING, PRUNED, COMPLETE, FAIL = (
    optuna.trial.TrialState[name] for name in ("RUNNING", "PRUNED", "COMPLETE", "FAIL")
)


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Calls the example for so many trials; returns its study."""
    path = ROOT / "examples" / "optuna_search.py"
    spec = importlib.util.spec_from_file_location("optuna_search", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    make_llcm_tree(tmp_path, train_ids=range(1, 21), test_ids=(31, 32))
    keys = {
        **TINY,
        "SOLVER.ITERS_PER_EPOCH": "1",
        "DATASETS.ROOT": tmp_path,
        "MODEL.DEVICE": "cpu",
        "TEST.EVAL_PERIOD": "1",
    }
    options = [str(word) for pair in keys.items() for word in pair]
    folder = tmp_path / "search"

    def call(trials):
        words = [CONFIG_FILE, "--trials", str(trials), "--out", str(folder), *options]
        monkeypatch.setattr(sys, "argv", ["optuna_search.py", *words])
        example.main()
        return optuna.load_study(study_name="search", storage=f"sqlite:///{folder / 'study.db'}")

    return folder, call


def test_a_study_prunes_is_interrupted_and_goes_on(search, monkeypatch, capsys):
    folder, call = search
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "should_prune", lambda trial: True)
        call(1)
    assert "best" not in capsys.readouterr().out
    assert not (folder / "trial0" / "results.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(WRIMTrainer, "_keep_best", stop_as_a_signal_does)
        with pytest.raises(SystemExit):
            call(2)
    study = call(2)
    states = [trial.state for trial in study.trials]
    assert states == [PRUNED, FAIL, COMPLETE]
    assert study.trials[2].params == study.trials[1].params
    results = json.loads((folder / "trial1" / "results.json").read_text())
    assert results["description"]["split"] == "train"
    means = [entry["mean"]["mAP"] for entry in results["results"] if entry["whole"]]
    assert study.best_value == pytest.approx(100 * sum(means) / len(means))
    assert not (folder / "trial2").exists()
    assert "best: trial 2, mAP" in capsys.readouterr().out
    assert len(call(2).trials) == 3


def stop_as_a_signal_does(*_):
    raise SystemExit(75)
