"""Compiled training, memory formats and PyTorch's switches."""

import logging
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from step_batches import gradients_of, make_batch, make_step, step_cfg
from torch.utils._python_dispatch import TorchDispatchMode

from wrimnet.engine import step
from wrimnet.engine.step import (
    CompiledStep,
    CompiledTraining,
    TrainingStep,
    build_acceleration,
    setup_pytorch,
)

FRONT_END = partial(torch.compile, backend="eager")


@pytest.fixture(scope="module")
def compiled():
    """A step whose backbone and losses went through the compiler's front end."""
    torch.compiler.reset()
    step = make_step()
    step.acceleration = CompiledTraining(step.model, FRONT_END)
    return step


def test_compiled_training_computes_the_same(compiled):
    plain = make_step()
    for iteration in range(2):
        expected = plain(make_batch(iteration=iteration))
        found = compiled(make_batch(iteration=iteration))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, msg=name)


def test_checkpoints_of_compiled_and_plain_training_fit_each_other(compiled):
    plain = make_step().model
    assert compiled.model.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(compiled.model.state_dict())


def test_compiled_code_is_gone_outside_of_the_step(compiled):
    assert "forward" not in vars(compiled.model.backbone)
    assert "loss_terms" not in vars(compiled.model)
    with compiled.acceleration:
        assert "forward" in vars(compiled.model.backbone)
        assert "loss_terms" in vars(compiled.model)


def test_labels_are_checked_before_compiled_code(compiled):
    batch = make_batch()
    batch["labels"] = torch.zeros(16, dtype=torch.long)
    with pytest.raises(ValueError, match="has no negative"):
        compiled(batch)


class CompilerFailedError(RuntimeError):
    """In the form of PyTorch's BackendCompilerFailed, which versions build differently."""

    def __init__(self):
        super().__init__("backend='inductor' raised:\nRuntimeError: no working C++ compiler")
        self.inner_exception = RuntimeError("no working C++ compiler")


def fail_on_call(function, **options):
    """A compiler that fails in the first forward pass."""

    def compiled(*arguments):
        raise CompilerFailedError

    return compiled


def fail_at_once(function, **options):
    """A compiler that knows nothing of this Python."""
    raise RuntimeError("no working C++ compiler")


def fail_at_launch(function, **options):
    """A kernel that does not start."""

    def compiled(*arguments):
        function(*arguments)
        raise RuntimeError("no working C++ compiler")

    return compiled


class FailingBackward(torch.autograd.Function):
    """Passes values on; the backward pass finds that the compiler fails."""

    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        raise CompilerFailedError


def fail_in_backward(function, **options):
    """A compiler that fails once the running statistics have moved."""

    def compiled(*arguments):
        output = function(*arguments)
        return {name: FailingBackward.apply(values) for name, values in output.items()}

    return compiled


@pytest.mark.parametrize(
    ("compiler", "parts"),
    [
        (fail_at_once, "1"),
        (fail_on_call, "1"),
        (fail_at_launch, "1"),
        (fail_in_backward, "1"),
        (fail_in_backward, "2"),
    ],
)
def test_failing_compiler_is_a_warning_and_changes_nothing(caplog, compiler, parts):
    plain = make_step(SOLVER__ACCUMULATION_STEPS=parts)
    tried = make_step(SOLVER__ACCUMULATION_STEPS=parts, SOLVER__COMPILE="always")
    tried.acceleration = CompiledTraining(tried.model, compiler)
    logger = logging.getLogger("fastreid.wrimnet.console")
    logger.addHandler(caplog.handler)  # FastReID's logger passes nothing on
    try:
        for iteration in range(2):
            expected = plain(make_batch(iteration=iteration))
            found = tried(make_batch(iteration=iteration))
            assert {name: value.item() for name, value in found.items()} == {
                name: value.item() for name, value in expected.items()
            }
    finally:
        logger.removeHandler(caplog.handler)
    assert isinstance(tried.acceleration, nullcontext)
    (warning,) = {record.message for record in caplog.records if record.levelname == "WARNING"}
    assert "training continues eagerly" in warning
    assert warning.endswith("is missing): RuntimeError: no working C++ compiler")
    for name, value in plain.model.state_dict().items():
        assert torch.equal(tried.model.state_dict()[name], value), name
    assert gradients_of(tried.model).keys() == gradients_of(plain.model).keys()


def test_error_that_is_not_the_compilers_is_not_hidden(monkeypatch):
    tried = make_step(SOLVER__COMPILE="always")
    tried.acceleration = CompiledTraining(tried.model, FRONT_END)
    monkeypatch.setattr(tried.model, "losses", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tried(make_batch())


@pytest.mark.parametrize(
    ("device", "keys", "compiles"),
    [
        ("cuda", {}, True),
        ("cpu", {}, False),
        ("cuda", {"DETERMINISTIC": "True"}, False),
        ("cuda", {"SOLVER__ACTIVATION_CHECKPOINTING": "True"}, False),
        ("cuda", {"SOLVER__COMPILE": "never"}, False),
        ("cpu", {"SOLVER__COMPILE": "always"}, True),
        ("cuda", {"DETERMINISTIC": "True", "SOLVER__COMPILE": "always"}, True),
    ],
)
def test_what_is_compiled_by_itself(device, keys, compiles):
    cfg = step_cfg(**keys).clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = device
    model = make_step().model
    assert isinstance(build_acceleration(cfg, model), CompiledTraining) is compiles


def test_nothing_to_compile_is_refused_if_asked_for_and_else_no_matter(monkeypatch):
    model = make_step().model
    monkeypatch.setattr(type(model), "compiled_functions", lambda model: [])
    with pytest.raises(ValueError, match="WRIMNet declares no modules to compile"):
        build_acceleration(step_cfg(SOLVER__COMPILE="always"), model)
    cfg = step_cfg().clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cuda"
    assert isinstance(build_acceleration(cfg, model), nullcontext)


def test_several_processes_do_not_repeat_a_batch(monkeypatch):
    tried = make_step(SOLVER__COMPILE="always")
    tried.acceleration = CompiledTraining(tried.model, fail_at_once)
    monkeypatch.setattr(step.comm, "get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match=r"no working C\+\+ compiler"):
        tried.accumulate(tried.augment(make_batch()))


def test_several_processes_are_not_compiled_by_themselves(monkeypatch):
    cfg = step_cfg().clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cuda"
    model = make_step().model
    monkeypatch.setattr(step.comm, "get_world_size", lambda: 2)
    assert isinstance(build_acceleration(cfg, model), nullcontext)


def test_compiled_recipe_gets_the_step_that_can_do_without():
    assert type(make_step(SOLVER__COMPILE="always")) is CompiledStep
    assert type(make_step()) is TrainingStep


def test_compiling_and_recomputing_are_refused_together():
    with pytest.raises(ValueError, match="the compiler chooses by itself what to recompute"):
        step_cfg(SOLVER__COMPILE="always", SOLVER__ACTIVATION_CHECKPOINTING="True")


@pytest.fixture
def switches():
    """Puts PyTorch's switches back."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.allow_tf32, torch.get_float32_matmul_precision()
    yield
    cudnn.benchmark, cudnn.allow_tf32 = before[:2]
    torch.set_float32_matmul_precision(before[2])
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("deterministic", [False, True])
def test_switches(switches, deterministic):
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = False
    setup_pytorch(step_cfg(DETERMINISTIC=str(deterministic)))
    assert torch.are_deterministic_algorithms_enabled() is deterministic
    assert torch.backends.cudnn.benchmark is not deterministic
    assert torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"  # CMKIC's products stay exact


class LayoutCopies(TorchDispatchMode):
    """Notes every copy of a feature map that no layer asked for."""

    def __init__(self, smallest):
        super().__init__()
        self.smallest, self.found = smallest, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        copies = ("aten::clone", "aten::copy_", "aten::_to_copy", "aten::contiguous")
        if func.name() in copies and result.ndim == 4 and result.numel() >= self.smallest:
            self.found.append((func.name(), tuple(result.shape)))
        return result


def test_maps_stay_channels_last_without_a_copy():
    """Through stem, Blocks, MIIMs of both kinds, head and back, in training."""
    step = make_step()
    outputs = []

    def note(module, arguments, output):
        if isinstance(output, torch.Tensor) and output.ndim == 4:
            outputs.append((type(module).__name__, output))

    for module in step.model.modules():
        module.register_forward_hook(note)
    augmented = step.augment(make_batch())
    maps = 16 * 512 * 2  # the smallest map, that of Block 4
    with LayoutCopies(maps) as copies:
        sum(step.forward(augmented).values()).backward()
    kinds = {name for name, _ in outputs}
    assert {"Conv2d", "MaxPool2d", "MIIM", "PerModality", "BasicBlock"} <= kinds
    wrong = [
        (name, tuple(one.shape))
        for name, one in outputs
        if not one.is_contiguous(memory_format=torch.channels_last)
    ]
    assert wrong == []
    assert copies.found == []
