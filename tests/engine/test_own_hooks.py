"""Custom hooks and writers: saved, resumed, evaluated beside the model, chosen by name."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fastreid.utils.events import EventStorage, EventWriter, get_event_storage
from tiny_runs import losses_of, make_trainer, tiny_cfg

import wrimnet
from wrimnet.command_line import find_weights
from wrimnet.engine.hooks import Hook, WeightsCheckHook, state_of
from wrimnet.engine.run import train
from wrimnet.registries import HOOK_REGISTRY, WRITER_REGISTRY

LINES = []
KEYS = {"HOOKS": "['Average']", "WRITERS": "['ListWriter']", "SOLVER__CHECKPOINT_PERIOD": "0"}


@HOOK_REGISTRY.register()
class Average(Hook):
    """Exponential moving average of the weights, and the number of its updates."""

    def __init__(self, cfg):
        self.decay, self.num_updates, self.weights, self.reports = 0.5, 0, {}, []

    def after_step(self):
        model = self.trainer.model.state_dict()
        for name, tensor in model.items():
            if tensor.is_floating_point():
                before = self.weights.get(name, tensor).clone()
                self.weights[name] = before.lerp_(tensor, self.decay)
        self.num_updates += 1

    def after_evaluation(self, report):
        self.reports.append(report)

    def state_dict(self):
        return {"weights": self.weights, "num_updates": self.num_updates}

    def load_state_dict(self, state):
        self.weights, self.num_updates = state["weights"], state["num_updates"]

    def evaluated_weights(self):
        return self.weights


@WRITER_REGISTRY.register()
class ListWriter(EventWriter):
    def __init__(self, cfg):
        LINES.clear()

    def write(self):
        storage = get_event_storage()
        LINES.append((storage.iter, storage.latest()["total_loss"][0]))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("hooks") / "out"
    train(tiny_cfg(data, output, **KEYS))
    return output


def weights_in(path):
    return torch.load(path, weights_only=True)["model"]


def test_weights_of_a_hook_are_evaluated_and_kept_beside_the_model(trained):
    own, average = (weights_in(trained / f"model_final{end}.pth") for end in ("", "_average"))
    last = torch.load(trained / "checkpoint_00000004.pth", weights_only=True)
    assert all(torch.equal(last["model"][name], tensor) for name, tensor in own.items())
    saved = last["hooks"]["average"]
    assert saved["num_updates"] == 4
    assert all(torch.equal(average[name], tensor) for name, tensor in saved["weights"].items())
    content = json.loads((trained / "results.json").read_text())
    assert [entry["protocol"] for entry in content["hooks"]["average"]] == [
        entry["protocol"] for entry in content["results"]
    ]
    assert content["hooks"]["average"] != content["results"]
    with open(trained / "results.csv", newline="") as file:
        means = [row for row in csv.DictReader(file) if row["trial"] == "mean"]
    rows = wrimnet.read_results(trained)
    assert [row["weights"] for row in rows] == [row["weights"] for row in means]
    saved = [entry["mean"]["mAP"] for entry in content["hooks"]["average"]]
    assert [float(row["mAP"]) for row in means if row["weights"] == "average"] == saved
    assert [row["mAP"] / 100 for row in rows if row["weights"] == "average"] == pytest.approx(saved)
    assert [loss for _, loss in LINES] == [line["total_loss"] for line in losses_of(trained)]


def test_statistics_of_a_hook_are_shared_by_the_processes_before_they_are_evaluated(
    data, tmp_path, monkeypatch
):
    """Without synchronized normalization each process has averaged its own."""
    trainer = make_trainer(tiny_cfg(data, tmp_path, **KEYS))
    trainer.data_loader.close()
    trainer.iter, norm, seen = 0, trainer.model.backbone.bn1, []
    trainer.own_hooks[0].weights = {"backbone.bn1.running_mean": torch.full((64,), 7.0)}

    def run_evaluator(_):
        seen.append(norm.running_mean[0].item())
        return SimpleNamespace(logged=lambda label: {}, summary=str)

    share = "wrimnet.engine.trainer.share_statistics"
    monkeypatch.setattr(share, lambda model: model.backbone.bn1.running_mean.sub_(4))
    monkeypatch.setattr(trainer, "_run_evaluator", run_evaluator)
    with EventStorage() as trainer.storage:
        trainer._evaluate_hooks(final=False)
    assert seen == [3.0] and norm.running_mean[0] == 0.0


def test_module_that_a_hook_has_frozen_stays_so_after_an_evaluation(data, tmp_path):
    trainer = make_trainer(tiny_cfg(data, tmp_path))
    trainer.data_loader.close()
    frozen, modes = trainer.model.backbone.bn1.eval(), []
    trainer.model.backbone.register_forward_pre_hook(
        lambda *_: modes.extend(module.training for module in trainer.model.modules())
    )
    trainer._run_evaluator(None)
    assert modes and not any(modes)
    assert [m for m in trainer.model.modules() if not m.training] == [frozen]


def test_step_is_measured_after_the_hooks_on_the_batch_that_they_have_chosen(
    data, tmp_path, monkeypatch
):
    """SOLVER.COMPILE auto measures with the first batch; a hook may relabel the images before."""
    events, trainer = [], make_trainer(tiny_cfg(data, tmp_path))
    loader = trainer.data_loader
    _, labels = np.unique(loader.dataset.pids, return_inverse=True)
    before = loader.load(0)["img_paths"]

    class Relabelling(Hook):
        def before_train(self):
            events.append(("epoch", self.trainer.epoch))
            loader.relabel(labels.max() - labels)

        def after_step(self):
            if self.trainer.iter == 0:
                events.append(("trained", self.trainer.progress._batches[0].img_paths))

    def measure(_, batch):
        events.append(("measured", batch["img_paths"]))
        return {"compiled": False}

    monkeypatch.setattr("wrimnet.engine.trainer.measure_compiling", measure)
    trainer.measures_compiling = True
    trainer.register_hooks([Relabelling()])
    trainer.own_hooks.append(trainer._hooks[-1])
    trainer.train()
    (_, measured), (_, trained) = events[1:]
    assert events[0] == ("epoch", 0) and measured == trained != before


def test_hook_goes_on_as_if_never_interrupted(data, trained, tmp_path, monkeypatch):
    """Also where the evaluation after the last step failed: that step is not counted twice."""

    def fail(*_):
        raise OSError("a disk fails")

    cfg = tiny_cfg(data, tmp_path, **KEYS)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="a disk fails"):
        patch.setattr("wrimnet.evaluation.evaluator.Evaluator.run", fail)
        train(cfg)
    train(cfg, resume=True)
    again, before = (weights_in(f / "model_final_average.pth") for f in (tmp_path, trained))
    assert all(torch.equal(again[name], tensor) for name, tensor in before.items())


def test_hook_from_python_sees_every_evaluation_and_its_state_is_not_lost(data, tmp_path):
    keys = {"SOLVER__ITERS_PER_EPOCH": "1", "TEST__EVAL_PERIOD": "1"}
    cfg, hook = tiny_cfg(data, tmp_path, **keys), Average(None)
    train(cfg, hooks=[hook])
    assert len(hook.reports) == 2 and hook.num_updates == 2
    with pytest.raises(ValueError, match="holds the state of the hook average, not named in HOOKS"):
        train(cfg, resume=True)


def test_weights_of_a_hook_are_chosen_by_its_name(trained, tmp_path):
    assert find_weights(trained, "average") == str(trained / "model_final_average.pth")
    assert find_weights(trained, "model_best.pth") == str(trained / "model_best.pth")
    assert find_weights(trained, "gone") == "gone"
    assert find_weights(tmp_path, str(trained / "model_best.pth")).endswith("model_best.pth")


@pytest.mark.parametrize("key", ["HOOKS", "WRITERS"])
def test_unknown_name_lists_what_there_is(tmp_path, key):
    own = {"HOOKS": "Average", "WRITERS": "ListWriter"}[key]
    with pytest.raises(ValueError, match=f"{key} = 'Nothing': expected one of .*{own}.*PLUGINS"):
        tiny_cfg(tmp_path, tmp_path, **{key: "['Nothing']"})


class Misnamed(Hook):
    def __init__(self, weights):
        self.weights = weights

    def evaluated_weights(self):
        return self.weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"weigth": torch.zeros(2, 3)}, r"'weigth' of shape \(2, 3\), the model no such tensor"),
        ({"bias": torch.zeros(3)}, r"'bias' of shape \(3,\), the model of shape \(2,\)"),
    ],
)
def test_weights_that_the_model_does_not_have_are_reported_after_the_first_step(weights, message):
    check = WeightsCheckHook([Misnamed(weights)])
    check.trainer = SimpleNamespace(model=torch.nn.Linear(3, 2))
    with pytest.raises(ValueError, match=f"hook misnamed: evaluated_weights has {message}"):
        check.after_step()
    check.after_step()  # once


class Strange(Hook):
    def state_dict(self):
        return {"queue": [1, {"last": np.float64(2.0)}]}


def test_state_that_a_checkpoint_cannot_hold_is_named():
    with pytest.raises(ValueError, match=r"hook strange\['queue'\]\[1\]\['last'\] is a float64"):
        state_of(Strange())
