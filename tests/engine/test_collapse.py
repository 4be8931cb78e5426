"""The warning when features shrink to a point."""

import pytest
import torch

from wrimnet.engine.collapse import CollapseWatch
from wrimnet.engine.progress import Progress


def rows(norms, losses):
    return [{"feature_norm": n, "raw/tri": t} for n, t in zip(norms, losses, strict=True)]


def test_norm_below_a_hundredth_of_its_start_is_warned_of_once(warnings):
    watch = CollapseWatch(0.3)
    watch.look([1, 2, 3], rows([20.0, 0.2, 0.21], [0.8] * 3))
    assert warnings.text == ""
    watch.look([4, 5], rows([0.19, 0.1], [0.8] * 2))
    assert "collapsed at iteration 4: their mean L2 norm is 0.19, it was 20 at" in warnings.text
    for key in ("MODEL.WRIM.MIIM.NORM entrance", "MODEL.WRIM.TRIPLET.UNIT_LENGTH True"):
        assert key in warnings.text
    assert "iteration 5" not in warnings.text


@pytest.mark.parametrize("loss", [0.286, 0.314])
def test_triplet_loss_near_its_margin_is_warned_of_after_200_iterations_in_a_row(warnings, loss):
    watch = CollapseWatch(0.3)
    watch.look(range(1, 200), rows([9.0] * 199, [loss] * 199))
    watch.look([200], rows([9.0], [0.4]))
    watch.look(range(201, 400), rows([9.0] * 199, [loss] * 199))
    assert warnings.text == ""
    watch.look([400], rows([9.0], [loss]))
    assert f"at iteration 400: the triplet loss is {loss}, near its margin 0.3" in warnings.text


@pytest.mark.parametrize(("margin", "loss"), [(0.3, 0.284), (0.3, 0.316), (0.0, 0.0)])
def test_other_losses_are_no_sign(warnings, margin, loss):
    watch = CollapseWatch(margin)
    watch.look(range(500), rows([9.0] * 500, [loss] * 500))
    assert warnings.text == ""


def test_network_that_logs_neither_is_left_alone(warnings):
    CollapseWatch(0.3).look(range(300), [{"total_loss": 1.0}] * 300)
    assert warnings.text == ""


def test_resumed_watch_goes_on(warnings):
    whole, resumed = CollapseWatch(0.3), CollapseWatch(0.3)
    whole.look([1], rows([20.0], [0.8]))
    resumed.load_state_dict(whole.state_dict())
    resumed.look([2], rows([0.1], [0.8]))
    assert "iteration 2" in warnings.text
    again = CollapseWatch(0.3)
    again.load_state_dict(resumed.state_dict())
    again.look([3], rows([0.1], [0.8]))
    assert "iteration 3" not in warnings.text


def test_the_log_line_brings_the_values_to_the_watch(warnings):
    progress = Progress(4, lambda values: values, 1, CollapseWatch(0.3))
    for iteration, norm in enumerate([20.0, 0.1]):
        batch = {"iteration": iteration, "img_paths": [], "repeats": 0}
        values = {"grad_norm": torch.tensor(1.0), "feature_norm": torch.tensor(norm)}
        progress.add(batch, values, learning_rate=0.1, data_seconds=0.0)
    progress.summarize()
    assert "collapsed at iteration 2" in warnings.text
