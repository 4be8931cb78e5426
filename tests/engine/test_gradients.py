"""The norm of all gradients, and the warning when it leaps."""

import pytest
import torch
from torch import nn

from wrimnet.engine.progress import GradientWatch, gradient_norm


def test_norm_is_that_of_all_gradients_in_one_vector():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 1))
    model[2].requires_grad_(False)
    model(torch.randn(5, 3)).square().sum().backward()
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert flat.numel() == 3 * 4 + 4 + 4 * 2 + 2
    assert gradient_norm(model.parameters()).item() == pytest.approx(flat.norm().item(), rel=1e-6)


def test_norm_leaves_the_gradients_alone():
    weight = nn.Parameter(torch.ones(3))
    (weight * torch.tensor([1.0, 2.0, 2.0])).sum().backward()
    assert gradient_norm([weight]).item() == 3.0
    assert weight.grad.tolist() == [1.0, 2.0, 2.0]


def test_leap_above_ten_medians_is_logged_with_its_iteration(warnings):
    watch = GradientWatch(factor=10.0, least=20)
    watch.look(range(30), [1.0, 2.0, 3.0] * 10)
    assert warnings.text == ""
    watch.look([30, 31], [20.0, 20.1])
    assert "exploding gradient: norm 20.1 at iteration 31" in warnings.text
    assert "at iteration 30," not in warnings.text


def test_first_iterations_are_not_judged(warnings):
    GradientWatch(least=20).look(range(20), [1.0] * 19 + [1e6])
    assert warnings.text == ""


def test_resumed_watch_goes_on(warnings):
    whole, resumed = GradientWatch(), GradientWatch()
    whole.look(range(25), [1.0] * 25)
    resumed.load_state_dict(whole.state_dict())
    resumed.look([25], [50.0])
    assert "norm 50 at iteration 25, 50.0 times the median 1" in warnings.text
