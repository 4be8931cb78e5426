"""Lets every test import its literal oracle: ``from reference.cmkic_loop import ...``."""

import logging
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "tools")]
if "PYTEST_XDIST_WORKER" in os.environ:  # a process per core: one thread each, children too
    os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


def pytest_collection_modifyitems(items):
    """Files with the most slow tests first: the quick ones fill the gaps that they leave."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def logs_end_with_the_test():
    """FastReID's log writes to the standard output of the test that opened it, for ever."""
    yield
    for name in ("fastreid", "wrimnet"):
        logging.getLogger(name).handlers.clear()


@pytest.fixture
def deterministic_algorithms():
    """Makes torch refuse every operation that has no deterministic algorithm."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """DATASETS.ROOT with LLCM's layout, its images noise."""
    from tiny_runs import make_noise_tree

    root = tmp_path_factory.mktemp("data")
    make_noise_tree(root)
    return root


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A tiny run as training leaves it; tests may add files to it, not change them."""
    from finished_runs import make_finished_run

    return make_finished_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def subject(finished_run):
    """The finished run's model and test images, as figures show them."""
    from wrimnet.config import setup_cfg
    from wrimnet.visualization.figures import build_subject

    run = finished_run.run
    options = ["MODEL.WEIGHTS", str(run / "model_final.pth")]
    return build_subject(setup_cfg(str(run / "config.yaml"), options=options))


@pytest.fixture
def warnings(caplog):
    """What the project's loggers say; FastReID's set-up keeps it from the root logger."""
    logger = logging.getLogger("fastreid.wrimnet")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
