"""Values that hooks log: in every line from then on, also in a run that is resumed."""

import pytest
import torch

from wrimnet.engine.collapse import CollapseWatch
from wrimnet.engine.progress import Progress


def make_progress():
    return Progress(4, lambda values: values, 1, CollapseWatch(0.3))


def add(progress, iteration):
    batch = {"iteration": iteration, "img_paths": [], "repeats": 0}
    values = {"grad_norm": torch.tensor(1.0)}
    progress.add(batch, values, learning_rate=0.1, data_seconds=0.0)


def test_newest_value_is_in_every_line():
    progress = make_progress()
    add(progress, 0)
    progress.log("count", 1)
    progress.log("count", 2)
    assert progress.summarize()["count"] == 2.0
    add(progress, 1)
    assert progress.summarize()["count"] == 2.0


def test_resumed_run_has_it():
    progress, resumed = make_progress(), make_progress()
    add(progress, 0)
    progress.log("count", 3)
    resumed.load_state_dict(progress.state_dict())
    assert resumed.summarize()["count"] == 3.0


def test_name_of_a_metric_is_refused():
    """A reader would show the value times 100, as a percentage."""
    progress = make_progress()
    with pytest.raises(ValueError, match=r"without /.*use 'clusters_visible'"):
        progress.log("clusters/visible", 57)
