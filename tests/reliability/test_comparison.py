"""The comparison behind the drill finds every difference but those of times."""

import pytest
import torch
from fault_drill.comparison import unequal, unreadable_last

from wrimnet.engine.checkpointing import CheckpointStore

STATE = {"model": {"w": torch.ones(2)}, "best": [1, {"time": 3.0}], "name": "a", "seconds": 9.0}


def changed(**values):
    return {**STATE, **values}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (changed(model={"w": torch.tensor([1.0, 1.0 + 1e-7])}), "state.model.w has other numbers"),
        (changed(model={"w": torch.ones(2).double()}), "state.model.w has other numbers"),
        (changed(model={}), "state.model.w is missing"),
        (changed(best=[1]), "state.best has 1 entries, expected 2"),
        (changed(best=[2, {}]), "state.best[0] is 2, expected 1"),
        (changed(name="b"), "state.name is 'b', expected 'a'"),
        (changed(more=1), "state.more is new"),
    ],
)
def test_difference_is_found(found, message):
    assert list(unequal(STATE, found, "state")) == [message]


def test_times_may_differ():
    assert list(unequal(STATE, changed(seconds=1.0, best=[1, {"time": 4.0}]), "state")) == []


def test_last_checkpoint_that_cannot_be_read_is_found(tmp_path):
    assert unreadable_last(tmp_path) == ""
    path = CheckpointStore(tmp_path).save(3, {"w": torch.ones(100)})
    assert unreadable_last(tmp_path) == ""
    path.write_bytes(path.read_bytes()[:-40])
    assert unreadable_last(tmp_path).startswith(f"checkpoint_00000003.pth: {path} is not a whole")
    path.unlink()
    assert unreadable_last(tmp_path) != ""
