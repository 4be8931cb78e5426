"""The parts of the gates' variance, against the definition on the whole array."""

import numpy as np
import pytest

from wrimnet.visualization.gate_spread import GateSpread


def spread_of(gates, batches=1):
    gathered = GateSpread()
    for batch in np.array_split(gates, batches):
        gathered.add(batch)
    return gathered.spread()


def test_parts_are_their_definition_and_add_up():
    gates = np.random.default_rng(0).random((7, 5, 4, 3))
    found = spread_of(gates)
    assert found.mean == pytest.approx(gates.mean())
    assert found.variance == pytest.approx(gates.var())
    assert found.channels == pytest.approx(gates.mean(axis=(0, 2, 3)).var())
    assert found.images == pytest.approx(gates.mean(axis=(2, 3)).var(axis=0).mean())
    assert found.positions == pytest.approx(gates.var(axis=(2, 3)).mean())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gates_that_vary_with_one_thing_have_one_part(axis):
    shape = [4, 3, 5, 2]
    values = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(4)])
    found = spread_of(np.broadcast_to(values, shape))
    parts = (found.images, found.channels, found.positions)
    assert parts[axis] == pytest.approx(np.arange(shape[axis]).var())
    assert sum(parts) == pytest.approx(parts[axis])


def test_batches_do_not_matter():
    gates = np.random.default_rng(1).random((9, 3, 2, 2)).astype(np.float32)
    assert spread_of(gates, batches=4) == pytest.approx(spread_of(gates), rel=1e-12)


def test_nothing_has_no_mean():
    with pytest.raises(ValueError, match="no gates were added"):
        GateSpread().spread()
