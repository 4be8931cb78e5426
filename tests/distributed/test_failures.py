"""What a process says when it fails, what it answers when it is alone, what it refuses."""

import copy
import logging
import signal
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from wrimnet.engine import hooks
from wrimnet.engine.data_parallel import AllReduceBatchNorm, synchronize_batch_norm
from wrimnet.engine.distributed import Agreement, reported_to_all
from wrimnet.engine.signals import SIGNALS, StopRequest
from wrimnet.lab.benchmarks.counting import CostCounter

LOST = RuntimeError("Connection closed by peer [127.0.0.1]:4321")


@pytest.fixture
def log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("fastreid"), "propagate", True)
    return caplog


def fail_with(error, store, rank):
    with pytest.raises(type(error)), reported_to_all(store, rank, 4):
        raise error


def test_error_is_logged_with_its_rank(log):
    fail_with(ValueError("no such thing"), dist.HashStore(), 3)
    assert "rank 3 of 4 failed: ValueError: no such thing" in log.text


def test_broken_connection_names_what_came_first(log):
    store = dist.HashStore()
    fail_with(ValueError("no such thing"), store, 3)
    log.clear()
    fail_with(LOST, store, 0)
    assert "rank 0 of 4 failed: RuntimeError: Connection closed" in log.text
    assert "before that, rank 3 of 4 failed: ValueError: no such thing" in log.text


def test_broken_connection_without_a_word_speaks_of_a_killed_process(log):
    fail_with(LOST, dist.HashStore(), 0)
    assert "another process was killed or hangs" in log.text


def test_error_of_its_own_is_not_put_on_others(log):
    fail_with(RuntimeError("mat1 and mat2 cannot be multiplied"), dist.HashStore(), 0)
    assert "another process" not in log.text


def test_asked_program_end_is_no_failure(log):
    with pytest.raises(SystemExit), reported_to_all(dist.HashStore(), 0, 4):
        raise SystemExit(75)
    assert "failed" not in log.text


def test_process_alone_agrees_with_itself_at_once():
    agreement = Agreement(2, 1.0)
    assert agreement(True, False) == [True, False]
    assert agreement(False, True) == [False, True]
    assert agreement.finish() == [False, False]


def test_save_by_minutes_happens_once_though_the_answer_comes_a_step_later(monkeypatch):
    now, saved, answers = [0.0], [], [(False, False)]

    def agree(*asked):
        answers.append(asked)
        return answers[-2]

    monkeypatch.setattr(hooks, "time", SimpleNamespace(monotonic=lambda: now[0]))
    options = {"epochs": 0, "iterations": 0, "request": StopRequest(2), "agreement": agree}
    hook = hooks.CheckpointHook(minutes=1.0, **options)
    hook.trainer = SimpleNamespace(
        max_iter=99, iters_per_epoch=99, save_checkpoint=lambda: saved.append(hook.trainer.iter)
    )
    for hook.trainer.iter in range(20):  # ten seconds each
        hook.after_step()
        now[0] += 10
    assert saved == [7, 14]  # asked for after 60 s, and after 60 s more


def test_second_signal_is_ignored_among_several_processes(log):
    with StopRequest(2) as request, request.deferred():
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        for number in (*SIGNALS, *SIGNALS):
            signal.raise_signal(number)
        assert request.requested == "SIGTERM"
    assert "a second signal changes nothing" in log.text


def test_batch_norm_refuses_a_vector():
    with pytest.raises(ValueError, match=r"expected \(B, C, ...\), got \(3,\)"):
        AllReduceBatchNorm(3)(torch.zeros(3))


def test_batch_norm_in_evaluation_is_the_usual_one():
    torch.manual_seed(0)
    values = torch.randn(4, 3, 2, 2)
    usual, own = torch.nn.BatchNorm2d(3), AllReduceBatchNorm(3)
    usual(values)
    own.load_state_dict(usual.state_dict())
    assert torch.equal(own.eval()(values), usual.eval()(values))


@pytest.fixture
def group_of_one(monkeypatch):
    monkeypatch.setattr(dist, "get_world_size", lambda: 1)
    monkeypatch.setattr(dist, "all_gather", lambda places, value: places[0].copy_(value))
    monkeypatch.setattr(dist, "all_reduce", lambda value: None)


def run_forward_and_backward(norm, values, gradient):
    """The result and the gradients of the values, weight and bias."""
    leaf = values.clone().requires_grad_()
    result = norm(leaf)
    return result, *torch.autograd.grad(result, (leaf, *norm.parameters()), gradient)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str
)
def test_batch_norm_of_a_group_of_one_is_the_usual_one(group_of_one, dtype, tolerance):
    """Results, gradients, statistics; their formats, and the layout of the maps."""
    torch.manual_seed(0)
    values = (3 * torch.randn(6, 4, 5, 3) + 1).to(dtype, memory_format=torch.channels_last)
    gradient, usual, own = torch.randn_like(values), torch.nn.BatchNorm2d(4), AllReduceBatchNorm(4)
    usual.weight.data.uniform_(0.5, 2)
    own.load_state_dict(usual.state_dict())
    found = run_forward_and_backward(own, values, gradient)
    expected = run_forward_and_backward(usual, values, gradient)
    for ours, theirs in zip(found, expected, strict=True):  # assert_close compares formats, too
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(own.buffers(), usual.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in found[:2])


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_timm_keeps_its_activation(group_of_one, training):
    timm = pytest.importorskip("timm", reason="timm is an optional extra")
    torch.manual_seed(0)
    values = torch.randn(6, 4, 5, 3)
    usual = torch.nn.Sequential(timm.layers.BatchNormAct2d(4, act_layer=torch.nn.SiLU))
    usual[0].running_var.fill_(2.0)
    own = synchronize_batch_norm(copy.deepcopy(usual))
    assert (
        type(own[0]) is AllReduceBatchNorm and own.state_dict().keys() == usual.state_dict().keys()
    )
    gradient = torch.randn_like(values)
    found, expected = (
        run_forward_and_backward(norm.train(training), values, gradient) for norm in (own, usual)
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


class ScaledNorm(torch.nn.BatchNorm2d):
    def forward(self, values):
        return 2 * super().forward(values)


def test_batch_norm_with_a_forward_of_its_own_is_refused():
    with pytest.raises(ValueError, match=r"SYNC_BN cannot replace ScaledNorm of .*SYNC_BN False"):
        synchronize_batch_norm(torch.nn.Sequential(ScaledNorm(3)))


def test_batch_norm_passes_over_its_maps_eleven_times(group_of_one):
    """The usual one's 5, 1 for statistics apart from the result, 5 for what all processes add."""
    norm = AllReduceBatchNorm(8)
    values = torch.randn(16, 8, 24, 24, dtype=torch.bfloat16, requires_grad=True)
    gradient = torch.randn_like(values)
    with CostCounter() as counter:
        norm(values).backward(gradient)
    assert counter.cost.num_bytes / values.nbytes == pytest.approx(11, abs=0.1)
