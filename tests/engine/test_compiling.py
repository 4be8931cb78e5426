"""SOLVER.COMPILE auto, on a CPU with compilers that are faster, slower and failing."""

import logging
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from wrimnet.engine import compiling
from wrimnet.engine.compiling import (
    NUM_STEPS,
    WARM_UP,
    describe_compiling,
    keep_choice,
    measure_compiling,
)
from wrimnet.engine.step import CompiledStep, CompiledTraining


class SmallNetwork(nn.Module):
    """A layer with running statistics and random numbers, as networks have them."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(4, 3)
        self.neck = nn.BatchNorm1d(3)
        self.raw_losses = {}
        self.statistics = {}

    def compiled_functions(self):
        return [(self.backbone, "forward")]

    def forward(self, batch):
        features = self.neck(self.backbone(batch["images"]))
        return {"loss": nn.functional.dropout(features).square().mean()}


def small_step():
    torch.manual_seed(0)
    model = SmallNetwork()
    return CompiledStep(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), 0.1),
        augmentation=SimpleNamespace(augment=lambda batch: batch),
        autocast=torch.autocast("cpu", enabled=False),
        clip_gradients=None,
    )


def make_batch(iteration=0):
    return {"images": torch.randn(6, 4, generator=torch.Generator().manual_seed(iteration))}


class Clock:
    """Seconds that pass as a model runs: 2 for each eager forward pass."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(compiling.time, "perf_counter", lambda: self.now)

    def compiler(self, seconds, *, fails=False):
        """Returns a compiler whose code takes that long."""

        def compile_function(function, **options):
            if fails:
                raise RuntimeError("no working C++ compiler")

            def compiled(*arguments):
                self.now += seconds - 2
                return function(*arguments)

            return compiled

        return compile_function


def timed_step(monkeypatch, clock, *, seconds=2.0, fails=False):
    step = small_step()
    step.acceleration = CompiledTraining(step.model, clock.compiler(seconds, fails=fails))

    def pass_time(*_):
        clock.now += 2

    step.model.register_forward_pre_hook(pass_time)
    return step


@pytest.mark.parametrize(
    ("seconds", "fails", "expected"),
    [
        (1.5, False, {"compiled": True, "eager_ms": 2000.0, "compiled_ms": 1500.0}),
        (2.5, False, {"compiled": False, "eager_ms": 2000.0, "compiled_ms": 2500.0}),
        (2.0, False, {"compiled": False, "eager_ms": 2000.0, "compiled_ms": 2000.0}),
        (1.5, True, {"compiled": False, "eager_ms": 2000.0, "compiled_ms": None}),
    ],
    ids=["faster", "slower", "equal", "failing"],
)
def test_faster_form_is_kept_and_both_times_are_returned(monkeypatch, seconds, fails, expected):
    step = timed_step(monkeypatch, Clock(monkeypatch), seconds=seconds, fails=fails)
    messages = []
    monkeypatch.setattr(compiling._console, "info", messages.append)
    assert measure_compiling(step, make_batch()) == expected
    assert isinstance(step.acceleration, CompiledTraining) is expected["compiled"]
    assert describe_compiling(step) == {"compiled": expected["compiled"]}
    message = messages[-1]
    assert "2000.0 ms per step eager" in message
    assert message.endswith("compiled" if expected["compiled"] else "eager")


def test_measured_steps_leave_no_trace(monkeypatch):
    """Weights, statistics, optimizer and generators are those of a step that was never measured."""
    plain, measured = small_step(), timed_step(monkeypatch, Clock(monkeypatch), seconds=1.0)
    before = torch.get_rng_state()
    batch = make_batch()
    kept = {name: value.clone() for name, value in batch.items() if torch.is_tensor(value)}
    measure_compiling(measured, batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(batch[name], value) for name, value in kept.items())
    assert not measured.optimizer.state
    assert all(parameter.grad is None for parameter in measured.model.parameters())
    for iteration in range(2):
        losses = []
        for step in (plain, measured):
            torch.manual_seed(iteration)
            losses.append(step(make_batch(iteration)))
        expected, found = losses
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    for name, value in plain.model.state_dict().items():
        assert torch.equal(measured.model.state_dict()[name], value), name


def test_each_form_is_run_as_often(monkeypatch):
    step, forms = timed_step(monkeypatch, Clock(monkeypatch)), []
    step.model.register_forward_pre_hook(
        lambda *_: forms.append("forward" in vars(step.model.backbone))
    )
    measure_compiling(step, make_batch())
    assert forms == [False] * (WARM_UP + NUM_STEPS) + [True] * (WARM_UP + NUM_STEPS)


@pytest.mark.parametrize("compiled", [True, False])
def test_resumed_training_keeps_the_form(compiled):
    step = small_step()
    step.acceleration = CompiledTraining(step.model)
    keep_choice(step, {"compiled": False})  # nothing was measured: SOLVER.COMPILE decides
    assert isinstance(step.acceleration, CompiledTraining)
    keep_choice(step, {"compiled": compiled, "eager_ms": 1.0, "compiled_ms": 2.0})
    assert isinstance(step.acceleration, nullcontext) is not compiled


def test_failing_compiler_is_a_warning(monkeypatch, caplog):
    step = timed_step(monkeypatch, Clock(monkeypatch), fails=True)
    logger = logging.getLogger("fastreid.wrimnet.console")
    logger.addHandler(caplog.handler)
    try:
        measure_compiling(step, make_batch())
    finally:
        logger.removeHandler(caplog.handler)
    assert "torch.compile failed; training continues eagerly" in caplog.text
