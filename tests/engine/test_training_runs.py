"""Whole runs of seconds: what they write, that they repeat, that they go on, that they are read."""

import json
import os
import shutil
import signal
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tiny_runs import (
    contents_of,
    evaluation_folder,
    losses_of,
    make_trainer,
    read_lines,
    tiny_cfg,
)
from trees import digests

from wrimnet.atomic_files import sole_writer
from wrimnet.config import config_hash
from wrimnet.console import open_log
from wrimnet.data.datasets import LLCM
from wrimnet.engine.preflight import preflight
from wrimnet.engine.run import evaluate, train
from wrimnet.engine.trainer import WRIMTrainer
from wrimnet.modeling import weights


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Output folder of a run of two epochs of two iterations."""
    output = tmp_path_factory.mktemp("trained") / "out"
    train(tiny_cfg(data, output))
    return output


def results_of(output):
    """The results of a run without what tells when, where and on which file it was made."""
    content = json.loads((output / "results.json").read_text())
    return content["results"]


def test_run_leaves_its_files(trained):
    found = {path.name for path in trained.iterdir()}
    assert found >= {
        "checkpoint_00000002.pth",
        "checkpoint_00000004.pth",
        "last_checkpoint",
        "model_best.pth",
        "model_final.pth",
        "results.json",
        "results.csv",
        "metrics.jsonl",
        "config.yaml",
        "log.txt",
    }
    assert any(name.startswith("events.out.tfevents") for name in found)


def test_metrics_hold_losses_rate_speed_and_waiting(trained):
    lines = read_lines(trained)
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4]
    terms = ("cls", "tri", "cmkic", "cls_aux", "tri_aux")
    for line in lines:
        losses = [line[f"loss_{term}"] for term in terms]
        assert line["total_loss"] == pytest.approx(sum(losses), rel=1e-5)
        assert line["loss_cmkic"] == pytest.approx(0.5 * line["raw/cmkic"], rel=1e-5)
        assert line["images_per_second"] == pytest.approx(8 / line["time"])
        assert 0 <= line["data_time"] <= line["time"]
        assert line["repeated_images"] >= 0
    assert [line["lr"] for line in lines] == pytest.approx([3.5e-4, 3.5e-4, 3.5e-5, 3.5e-5])
    assert "llcm_ir2vis/mAP" in lines[-1]
    assert "llcm_vis2ir/Rank-1" in lines[-1]


def test_tensorboard_groups_what_metrics_hold(trained):
    events = read_tensorboard(trained)
    last, tags = read_lines(trained)[-1], events.Tags()["scalars"]
    assert {tag.split("/", 1)[1] for tag in tags} == set(last) - {"iteration"}
    assert {tag.split("/")[0] for tag in tags} == {"loss", "speed", "test"}
    assert {"loss/total_loss", "loss/raw/tri", "speed/lr", "test/llcm_ir2vis/mAP"} <= set(tags)
    for tag in tags:
        (found,) = (value for value in events.Scalars(tag) if value.step == last["iteration"])
        kind, name = tag.split("/", 1)
        percent = 100 if kind == "test" else 1
        assert found.value == pytest.approx(percent * last[name], rel=1e-6)


def test_tensorboard_compares_runs_by_what_differs(trained):
    """Its HPARAMS page: the keys that differ from the paper's, the metrics of the evaluations."""
    tags = read_tensorboard(trained)
    content = tags.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["MODEL.BACKBONE.DEPTH"].string_value == "18x"
    assert values["SOLVER.IMS_PER_BATCH"].number_value == 8
    assert {"SEED", "SOLVER.BASE_LR"} <= set(values)
    assert not any(name.startswith(("OUTPUT_DIR", "DATASETS.ROOT")) for name in values)
    content = tags.SummaryMetadata("_hparams_/experiment").plugin_data.content
    metrics = HParamsPluginData.FromString(content).experiment.metric_infos
    shown = {metric.name.tag for metric in metrics}
    assert (
        {"test/llcm_ir2vis/mAP", "test/llcm_vis2ir/Rank-1"} <= shown <= set(tags.Tags()["scalars"])
    )


def read_tensorboard(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_losses_of_a_line_are_means_over_its_period(data, trained, tmp_path):
    train(tiny_cfg(data, tmp_path, SOLVER__LOG_PERIOD="2"))
    single, pairs = losses_of(trained), losses_of(tmp_path)
    assert [line["iteration"] for line in read_lines(tmp_path)] == [2, 4]
    for index, pair in enumerate(pairs):
        for name, value in pair.items():
            mean = (single[2 * index][name] + single[2 * index + 1][name]) / 2
            assert value == pytest.approx(mean, rel=1e-6), name


def test_log_names_epoch_losses_rate_speed_waiting_and_time_left(trained):
    lines = (trained / "log.txt").read_text().splitlines()
    line = next(line for line in lines if "iter 4/4" in line)
    for part in ("epoch 2/2", "loss ", ": cls ", " tri_aux ", "lr 3.5e-05", "img/s", "wait "):
        assert part in line
    assert "eta 0:00:00" in line


def test_the_progress_line_of_an_iteration_stands_before_its_evaluation(trained):
    text = (trained / "log.txt").read_text()
    assert text.count("iter 4/4") == text.count("evaluating after epoch 2") == 1
    assert text.index("iter 4/4") < text.index("evaluating after epoch 2")
    assert {"iteration", "total_loss", "llcm_ir2vis/mAP"} <= set(read_lines(trained)[-1])


def test_written_configuration_is_the_one_of_the_run(trained, data):
    cfg = tiny_cfg(data, trained)
    text = (trained / "config.yaml").read_text()
    assert "NUM_CLASSES: 5" in text
    assert f"OUTPUT_DIR: {trained}" in text
    state = torch.load(trained / "model_final.pth", weights_only=True)
    assert state["config_hash"] == config_hash(cfg)
    assert state["network"]["MODEL.WRIM.MIIM.SHARED_STAGES"] == [3, 4]
    (record,) = state["trained_on"]
    assert (record["dataset"], record["start"]) == ("LLCM", "random")
    assert record["identities"] == [1, 2, 3, 5, 9]
    described = json.loads((trained / "results.json").read_text())["description"]
    assert described["start"] == "random" and described["train_images"] == record["images"]
    assert described["compiled"] == state["compiled"] == {"compiled": False}


def test_evaluation_of_the_final_weights_gives_the_very_same_numbers(data, trained, tmp_path):
    weights = str(trained / "model_final.pth")
    cfg = tiny_cfg(data, tmp_path / "again", MODEL__WEIGHTS=weights)
    assert evaluate(cfg) == 0
    folder = evaluation_folder(tmp_path / "again")
    assert results_of(folder) == results_of(trained)
    assert {"results.csv", "config.yaml", "log.txt"} <= {path.name for path in folder.iterdir()}
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["eval"]


def test_evaluations_of_a_run_change_nothing_in_it_and_lie_apart(data, trained):
    before = contents_of(trained)
    found = set()
    for changes in ({}, {"TEST__FLIP__ENABLED": "True"}, {"TEST__FLIP__ENABLED": "True"}):
        for name in ("model_final.pth", "model_best.pth"):
            weights = str(trained / name)
            evaluate(tiny_cfg(data, trained, MODEL__WEIGHTS=weights, **changes))
            found.add(evaluation_folder(trained))
    assert contents_of(trained) == before
    names = sorted(folder.name.rpartition("-")[0] for folder in found)
    assert names == ["model_best", "model_best-flip", "model_final", "model_final-flip"]
    flips = {json.loads((f / "results.json").read_text())["description"]["flip"] for f in found}
    assert flips == {False, True}


def test_best_and_checkpoint_weights_can_be_evaluated_too(data, trained, tmp_path):
    for name in ("model_best.pth", "checkpoint_00000004.pth"):
        output = tmp_path / name
        evaluate(tiny_cfg(data, output, MODEL__WEIGHTS=str(trained / name)))
        found = results_of(evaluation_folder(output))
        assert found == results_of(trained)  # one evaluation: the best is the last


def test_run_that_is_cut_short_goes_on_to_the_same_end(data, trained, tmp_path):
    """The checkpoint of the second epoch is taken away, as if it had never been reached."""
    cfg = tiny_cfg(data, tmp_path / "cut")
    train(cfg)
    (tmp_path / "cut" / "checkpoint_00000004.pth").unlink()
    train(cfg, resume=True)
    assert losses_of(tmp_path / "cut") == losses_of(trained)
    assert results_of(tmp_path / "cut") == results_of(trained)
    ours, theirs = (
        torch.load(path / "model_final.pth", weights_only=True)["model"]
        for path in (tmp_path / "cut", trained)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("final", [False, True])
def test_failed_evaluation_loses_no_training(data, trained, tmp_path, monkeypatch, final):
    """It is done first by the run that goes on, which ends as one that never failed."""
    changes = {"SOLVER__CHECKPOINT_PERIOD": "0", "TEST__EVAL_PERIOD": "0" if final else "1"}
    cfg = tiny_cfg(data, tmp_path / "out", **changes)
    with monkeypatch.context() as patch:
        patch.setattr("wrimnet.evaluation.evaluator.Evaluator.run", _fail)
        with pytest.raises(OSError, match="a disk fails"):
            train(cfg)
    steps = []
    monkeypatch.setattr(WRIMTrainer, "run_step", _counted(steps, WRIMTrainer.run_step))
    train(cfg, resume=True)
    assert len(steps) == (0 if final else 2)
    assert losses_of(tmp_path / "out") == losses_of(trained)
    assert results_of(tmp_path / "out") == results_of(trained)


def _fail(*_):
    raise OSError("a disk fails")


def _counted(calls, method):
    def counting(trainer, batches):
        calls.append(trainer.iter)
        method(trainer, batches)

    return counting


def content_with_times(folder):
    """Digest and modification time of everything below a folder."""
    times = {str(path): path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    return digests(folder), times


@pytest.mark.parametrize("keys", [{}, {"SOLVER__BASE_LR": "1e-5", "SOLVER__MAX_EPOCH": "3"}])
def test_folder_in_use_is_refused_and_nothing_in_it_changes(data, trained, keys):
    unfinished = trained / ".checkpoint_00000006.pth.1.tmp"
    unfinished.write_bytes(b"half")
    with sole_writer(trained, ""):
        before = content_with_times(trained)
        with pytest.raises(BlockingIOError, match="choose another OUTPUT_D"):
            train(tiny_cfg(data, trained, **keys), resume=True)
        assert content_with_times(trained) == before
    unfinished.unlink()


def test_new_folder_in_use_is_refused_and_stays_empty(data, tmp_path):
    with sole_writer(tmp_path, ""), pytest.raises(BlockingIOError, match="another process is"):
        train(tiny_cfg(data, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_evaluation_in_use_is_refused_and_nothing_in_it_changes(data, trained, tmp_path):
    keys = {"MODEL__WEIGHTS": str(trained / "model_final.pth")}
    evaluate(tiny_cfg(data, tmp_path, **keys))
    open_log()  # the second process has a log of its own
    with sole_writer(evaluation_folder(tmp_path), ""):
        before = content_with_times(tmp_path)
        with pytest.raises(BlockingIOError, match=r"is writing to .*eval/model_final"):
            evaluate(tiny_cfg(data, tmp_path, TEST__MEMORY_GB="1", **keys))
        assert content_with_times(tmp_path) == before


def test_run_that_ended_while_another_was_checked_is_not_written_over(data, trained, monkeypatch):
    def slow_preflight(cfg, *, resume):
        checked = preflight(cfg, resume=resume)
        (trained / "checkpoint_00000006.pth").write_bytes(b"by another process")
        return checked

    monkeypatch.setattr("wrimnet.engine.run.preflight", slow_preflight)
    before = contents_of(trained)
    with pytest.raises(BlockingIOError, match=r"has written to .* in the meantime; start again"):
        train(tiny_cfg(data, trained), resume=True)
    (trained / "checkpoint_00000006.pth").unlink()
    assert contents_of(trained) == before


def test_dataset_is_built_and_checkpoint_read_once(data, trained, tmp_path, monkeypatch):
    """Also their CRCs are computed once; the images of the dataset are looked at once."""
    calls = Counter()

    def counted(place, name):
        function = getattr(place, name)

        def call(*arguments, **options):
            calls[name] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(place, name, call)

    counted(LLCM, "__init__")
    counted(weights, "verify")
    counted(torch, "load")
    output = tmp_path / "out"
    shutil.copytree(trained, output)
    train(tiny_cfg(data, output, SOLVER__MAX_EPOCH="3"), resume=True)
    assert calls == {"__init__": 1, "verify": 1, "load": 1}


def test_folder_of_another_run_is_refused(data, trained):
    with pytest.raises(ValueError, match="holds an earlier run; add --resume"):
        train(tiny_cfg(data, trained))
    with pytest.raises(ValueError, match=r"another configuration: SEED is 0, now 9\. --resume cha"):
        train(tiny_cfg(data, trained, SEED="9", SOLVER__MAX_EPOCH="3"), resume=True)


def test_resumed_run_may_be_longer_and_slower_and_says_so(data, trained, tmp_path):
    longer = {"SOLVER__MAX_EPOCH": "3", "SOLVER__BASE_LR": "1e-5", "SOLVER__LOG_PERIOD": "2"}
    longer["SOLVER__ACTIVATION_CHECKPOINTING"] = "True"
    output = copy_without_results(trained, tmp_path)
    train(tiny_cfg(data, output, **longer), resume=True)
    lines = read_lines(output)
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4, 6]
    assert lines[-1]["lr"] == pytest.approx(1e-6)  # after the step of epoch 1
    keys = {"SOLVER.BASE_LR": [3.5e-4, 1e-5], "SOLVER.MAX_EPOCH": [2, 3]}
    keys["SOLVER.ACTIVATION_CHECKPOINTING"] = [False, True]
    assert changes_in_results(output) == [{"first_iteration": 5, "keys": keys}]
    assert "changed  SOLVER.MAX_EPOCH from 2 to 3, from iteration 5 on" in log_of(output)
    with pytest.raises(ValueError, match=r"SOLVER\.OPT is 'Adam', now 'SGD'"):
        train(tiny_cfg(data, output, SOLVER__OPT="SGD", **longer), resume=True)
    weights = str(output / "model_final.pth")
    evaluate(tiny_cfg(data, tmp_path / "again", MODEL__WEIGHTS=weights))
    assert changes_in_results(evaluation_folder(tmp_path / "again"))[0]["keys"] == keys


def copy_without_results(run, tmp_path):
    output = tmp_path / "resumed"
    shutil.copytree(run, output)
    for name in ("model_final.pth", "results.json"):
        (output / name).unlink()
    return output


def changes_in_results(output):
    return json.loads((output / "results.json").read_text())["description"].get("changes")


def log_of(output):
    return (output / "log.txt").read_text()


def end_before_an_iteration(cfg, monkeypatch, number=0):
    """Resumes and ends as a killed process does, after so many iterations."""
    run_step, left = WRIMTrainer.run_step, iter(range(number))

    def ending(trainer, batches):
        if next(left, None) is None:
            raise KeyboardInterrupt
        run_step(trainer, batches)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WRIMTrainer, "run_step", ending)
        train(cfg, resume=True)


@pytest.mark.parametrize("iterations", [0, 1])
def test_change_of_a_dead_attempt_is_recorded_nowhere(
    data, trained, tmp_path, monkeypatch, iterations
):
    """Its iterations are trained again from the checkpoint, under the keys of then."""
    output = copy_without_results(trained, tmp_path)
    (output / "checkpoint_00000004.pth").unlink()
    slower = tiny_cfg(data, output, SOLVER__BASE_LR="0.005")
    end_before_an_iteration(slower, monkeypatch, iterations)
    train(tiny_cfg(data, output), resume=True)
    assert changes_in_results(output) is None
    assert losses_of(output) == losses_of(trained)


def test_change_is_told_from_the_checkpoint_not_from_a_dead_attempt(
    data, trained, tmp_path, monkeypatch
):
    output = copy_without_results(trained, tmp_path)
    end_before_an_iteration(
        tiny_cfg(data, output, SOLVER__MAX_EPOCH="3", SOLVER__GAMMA="0.5"), monkeypatch
    )
    train(tiny_cfg(data, output, SOLVER__MAX_EPOCH="4"), resume=True)
    entry = {"first_iteration": 5, "keys": {"SOLVER.MAX_EPOCH": [2, 4]}}
    assert changes_in_results(output) == [entry]
    state = torch.load(output / "checkpoint_00000008.pth", weights_only=True)
    assert state["changes"] == [entry]
    assert state["settings"]["SOLVER.MAX_EPOCH"] == 4


def test_each_change_is_recorded_with_its_first_iteration(data, trained, tmp_path, monkeypatch):
    output = copy_without_results(trained, tmp_path)
    end_before_an_iteration(tiny_cfg(data, output, SOLVER__MAX_EPOCH="4"), monkeypatch, number=3)
    assert (output / "last_checkpoint").read_text() == "checkpoint_00000006.pth"
    train(tiny_cfg(data, output, SOLVER__MAX_EPOCH="4", SOLVER__BASE_LR="1e-5"), resume=True)
    found = [(c["first_iteration"], list(c["keys"])) for c in changes_in_results(output)]
    assert found == [(5, ["SOLVER.MAX_EPOCH"]), (7, ["SOLVER.BASE_LR"])]


def test_checkpoint_of_an_untrained_change_holds_what_was_trained(data, tmp_path, monkeypatch):
    """The evaluation is made up for under other keys, and saved; nothing is trained under them."""
    output = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(OSError, match="a disk fails"):
        patch.setattr("wrimnet.evaluation.evaluator.Evaluator.run", _fail)
        train(tiny_cfg(data, output, SOLVER__CHECKPOINT_PERIOD="0"))
    before = torch.load(output / "checkpoint_00000004.pth", weights_only=True)
    train(tiny_cfg(data, output, TEST__EVAL_PERIOD="1"), resume=True)
    after = torch.load(output / "checkpoint_00000004.pth", weights_only=True)
    assert (before["evaluated"], after["evaluated"]) == (False, True)
    assert (after["settings"], after["changes"]) == (before["settings"], [])
    entry = {"first_iteration": 5, "keys": {"TEST.EVAL_PERIOD": [0, 1]}}
    assert changes_in_results(output) == [entry]


def test_run_from_imagenet_weights_is_resumed_twice(data, trained, tmp_path):
    """Its checkpoint replaces the weights, not the key that it was started by."""
    backbone = torch.load(trained / "model_final.pth", weights_only=True)["model"]
    own = {n.removeprefix("backbone."): t for n, t in backbone.items() if "backbone." in n}
    torch.save({n: t for n, t in own.items() if "miims" not in n}, tmp_path / "imagenet.pth")
    keys = {"MODEL__BACKBONE__PRETRAIN": "True"}
    keys["MODEL__BACKBONE__PRETRAIN_PATH"] = str(tmp_path / "imagenet.pth")
    for epochs in ("1", "2", "3"):
        cfg = tiny_cfg(data, tmp_path / "out", SOLVER__MAX_EPOCH=epochs, **keys)
        train(cfg, resume=True)
    assert len(changes_in_results(tmp_path / "out")) == 2


def test_first_resumed_iteration_has_the_new_rate(data, trained, tmp_path):
    """And of equal evaluations the first one stays the best."""
    shutil.copytree(trained, tmp_path / "out")
    cfg = tiny_cfg(data, tmp_path / "out", SOLVER__MAX_EPOCH="3", SOLVER__BASE_LR="1e-5")
    trainer = make_trainer(cfg, resume=True)
    trainer.data_loader.close()
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx(
        [1e-6] * len(trainer.optimizer.param_groups)
    )
    for iteration, value in ((4, 2.0), (5, 2.0)):
        trainer.iter = iteration
        trainer._keep_best(SimpleNamespace(metrics={"llcm_ir2vis": {"mAP": value}}))
    assert trainer.best == {"value": 2.0, "iteration": 5}
    kept = torch.load(tmp_path / "out" / "model_best.pth", weights_only=True)
    assert (kept["iteration"], kept["best"]) == (5, trainer.best)


def test_finished_run_gets_lost_files_again(data, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "out")
    cfg = tiny_cfg(data, tmp_path / "out")
    for name in ("results.csv", "model_best.pth"):
        (tmp_path / "out" / name).unlink()
    assert train(cfg, resume=True) == 0
    best = torch.load(tmp_path / "out" / "model_best.pth", weights_only=True)
    expected = torch.load(trained / "model_best.pth", weights_only=True)
    assert best.keys() == expected.keys() and best["best"] == expected["best"]
    assert (tmp_path / "out/results.csv").read_text() == (trained / "results.csv").read_text()


def test_results_of_another_run_are_no_results_of_this_one(data, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "out")
    path = tmp_path / "out" / "results.json"
    content = json.loads(path.read_text())
    content["description"]["train_images"] = "of another"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="are of another run: train_images is 'of another'"):
        train(tiny_cfg(data, tmp_path / "out"), resume=True)


def test_identities_of_training_are_not_tested_unless_allowed(data, trained, tmp_path):
    changes = {"DATASETS__SPLIT": "train", "MODEL__WEIGHTS": str(trained / "model_final.pth")}
    with pytest.raises(ValueError, match="weights were trained on 2 of the 2 identities that LLCM"):
        evaluate(tiny_cfg(data, tmp_path / "out", **changes))
    allowed = {**changes, "TEST__ALLOW_SEEN_IDENTITIES": "True", "TEST__NUM_TRIALS": "1"}
    assert evaluate(tiny_cfg(data, tmp_path / "out", **allowed)) == 0
    content = json.loads((evaluation_folder(tmp_path / "out") / "results.json").read_text())
    assert content["description"]["seen_identities"] == 2


def test_shorter_run_is_refused_and_nothing_changes(data, trained):
    before = contents_of(trained)
    with pytest.raises(ValueError, match=r"MAX_EPOCH = 1: the run in .* has trained 2 epochs"):
        train(tiny_cfg(data, trained, SOLVER__MAX_EPOCH="1"), resume=True)
    assert contents_of(trained) == before


def test_stopped_run_names_the_iteration_of_its_checkpoint(data, tmp_path, monkeypatch):
    def stopping(trainer, batches):
        run_step(trainer, batches)
        if trainer.iter == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    run_step = WRIMTrainer.run_step
    monkeypatch.setattr(WRIMTrainer, "run_step", stopping)
    with pytest.raises(SystemExit):
        train(tiny_cfg(data, tmp_path / "out", SOLVER__MAX_EPOCH="3"))
    assert (tmp_path / "out" / "last_checkpoint").read_text() == "checkpoint_00000002.pth"
    assert (
        "saved after iteration 2, continue with --resume" in (tmp_path / "out/log.txt").read_text()
    )


def test_training_starts_from_given_weights(data, trained, tmp_path):
    weights = str(trained / "model_final.pth")
    trainer = make_trainer(tiny_cfg(data, tmp_path / "out", MODEL__WEIGHTS=weights))
    trainer.data_loader.close()
    expected = torch.load(weights, weights_only=True)["model"]
    found = trainer.model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert trainer.start_iter == 0


@pytest.mark.parametrize(("given", "expected"), [("0", 5), ("3", 3), ("7", 7)])
def test_iterations_per_epoch_are_the_key_or_images_by_batch(data, tmp_path, given, expected):
    cfg = tiny_cfg(data, tmp_path, SOLVER__ITERS_PER_EPOCH=given, SOLVER__MAX_EPOCH="3")
    trainer = make_trainer(cfg)
    trainer.data_loader.close()
    assert (trainer.iters_per_epoch, trainer.max_iter) == (expected, 3 * expected)


def test_fewer_identities_than_asked_for_is_a_sentence(data, tmp_path):
    cfg = tiny_cfg(data, tmp_path, SOLVER__IMS_PER_BATCH="24")
    with pytest.raises(ValueError, match=r"5 .*identit|identit.* 5"):
        make_trainer(cfg)


def test_fewer_classes_than_identities_is_a_sentence(data, tmp_path):
    cfg = tiny_cfg(data, tmp_path, MODEL__HEADS__NUM_CLASSES="4")
    with pytest.raises(ValueError, match=r"NUM_CLASSES = 4, but there are 5 .*; set it to 0"):
        make_trainer(cfg)


def test_evaluation_every_epoch_is_written_each_time(data, tmp_path):
    train(tiny_cfg(data, tmp_path, TEST__EVAL_PERIOD="1"))
    evaluated = [line["iteration"] for line in read_lines(tmp_path) if "llcm_ir2vis/mAP" in line]
    assert evaluated == [2, 4]


def test_other_cache_gives_the_same_losses(data, trained, tmp_path):
    overrides = {"DATALOADER__CACHE": "ram", "DATALOADER__CACHE_DIR": str(tmp_path / "cache")}
    train(tiny_cfg(data, tmp_path / "out", **overrides))
    assert losses_of(tmp_path / "out") == losses_of(trained)
