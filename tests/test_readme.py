"""README's commands, copied from it, in its order, on a tiny dataset in LLCM's layout."""

import re
import runpy
import shlex
import shutil
import sys

import numpy as np
import pytest
from source_tree import ROOT
from tiny_runs import TINY, make_noise_tree

import wrimnet

README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = ["MODEL.DEVICE", "cpu", *(word for pair in TINY.items() for word in pair)]
TRAIN = ["tools/train_net.py", "--config-file", "configs/LLCM/wrim.yml"]
RUN, OTHER = "logs/LLCM/wrim", "logs/LLCM/wrim-s1_none"
pytestmark = pytest.mark.slow


def commands():
    """Each command on a line of its own or in the table of tasks."""
    found = re.findall(r"^(?:\| .* \| `)?(python tools/[^`\n]+)", README, re.MULTILINE)
    return [shlex.split(line) for line in found]


def command(tool, *parts):
    """The one command of a tool that has these parts."""
    (words,) = [c for c in commands() if c[1] == f"tools/{tool}.py" and {*parts} <= {*c}]
    return words[1:]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    for name in ("tools", "configs"):
        (folder / name).symlink_to(ROOT / name)
    make_noise_tree(folder / "datasets")
    return folder


@pytest.fixture
def run(workspace, monkeypatch):
    monkeypatch.chdir(workspace)

    def run_words(words, *more):
        monkeypatch.setattr(sys, "argv", [*words, *more])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        return end.value.code

    return run_words


def test_check_of_the_dataset(run):
    assert run(command("check_dataset", "--dataset"), "--skip-counts") == 0


def test_training_a_row_of_a_table_evaluation_and_comparison(run, workspace):
    assert ["python", *TRAIN] in commands()
    assert run(TRAIN, *SMALL) == 0
    assert (workspace / RUN / "report.html").is_file()
    assert run(TRAIN, *SMALL, "--resume") == 0  # "continue an interrupted run"
    assert run(command("train_net", "--eval-only"), *SMALL) == 0
    overlay = re.search(r"`(--overlay [^`]+)` writes to `([^`]+)`", README)
    assert run(TRAIN, *shlex.split(overlay[1]), *SMALL) == 0
    assert overlay[2] == OTHER and (workspace / OTHER / "results.json").is_file()
    assert run(command("compare_runs")) == 0
    assert (workspace / "comparison.html").is_file()


def test_features_of_other_code(run):
    items = wrimnet.load_dataset("LLCM", "datasets").test
    features = np.random.default_rng(0).standard_normal((len(items), 8))
    wrimnet.save_features("F.npz", items, features.astype(np.float32))
    assert run(command("evaluate_features", "--features")) == 0


def test_python(run, workspace):
    images = sorted((workspace / "datasets" / "LLCM").rglob("*.jpg"))
    for name, image in zip(("infrared", "a", "b"), images, strict=False):
        shutil.copy(image, f"{name}.jpg")
    program = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    names = {}
    exec(compile(program, "README.md", "exec"), names)
    assert names["similarity"].shape == (1, 2)


@pytest.mark.parametrize("table", ["s1", "fair"])
def test_tables_have_a_command_for_each_run(run, capfd, table):
    words = command("run_table", f"configs/tables/{table}.yml")
    assert run(words, "--list") == 0
    assert capfd.readouterr().out.count("tools/train_net.py") >= 3
