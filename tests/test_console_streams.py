"""Consoles that cannot print: no encoding, closed, nobody reads, a full disk. Work goes on."""

import json
import os
import subprocess
import sys

import pytest
import torch
from source_tree import ROOT
from tiny_runs import CONFIG_FILE, losses_of, words
from warm_python import run_python

SCRIPT = """
import logging, subprocess, sys, warnings
from wrimnet.console import open_log, open_streams
open_streams()
open_log()
for _ in range(2000):
    print("mAP 38.76 \\u00b1 2.49, file \\udcff.png")
    print("on stderr \\u00b1", file=sys.stderr)
logging.getLogger("wrimnet.console").info("head \\u00b1")
logging.getLogger("wrimnet").warning("beware \\u00b1")
warnings.warn("also \\u00b1")
print("x" * 100_000)
with open("work", "w+") as file:
    assert file.fileno() > 2
    command = [sys.executable, "-c", "print('child')"]
    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
    file.write("done")
"""


def run_script(folder, redirection, **environment):
    """Runs SCRIPT below a shell; returns exit code, stdout, stderr."""
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = f"{sys.executable} script.py {redirection}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    "redirection",
    ["", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "| head -1", "2>&1 | head -1", ">/dev/full"],
)
def test_nothing_that_is_printed_ends_the_work(tmp_path, redirection):
    code, _, stderr = run_script(tmp_path, redirection)
    assert code == 0, stderr
    assert (tmp_path / "work").read_text() == "done"
    assert "Traceback" not in stderr and "Exception ignored" not in stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": "1"},
    ],
)
def test_what_cannot_be_encoded_is_escaped(tmp_path, environment):
    code, stdout, stderr = run_script(tmp_path, "", **environment)
    assert code == 0, stderr
    assert "mAP 38.76 \\xb1 2.49, file \\udcff.png\n" in stdout
    assert "head \\xb1\n" in stdout and "warning: beware \\xb1\n" in stdout
    assert "on stderr \\xb1\n" in stderr


def test_a_console_of_utf_8_is_as_before(tmp_path):
    _, stdout, _ = run_script(tmp_path, "", PYTHONIOENCODING="utf-8")
    lines = stdout.splitlines()
    assert lines.count("mAP 38.76 ± 2.49, file \\udcff.png") == 2000
    assert lines.index("head ±") == 2000 and lines[-1] == "child"


CONSOLES = {
    "ascii": "import io, sys; sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='ascii')",
    "closed": "import os, sys; os.close(1); os.close(2); sys.stdout = sys.stderr = None",
    "head": "import os; reader, writer = os.pipe(); os.dup2(writer, 1); os.close(reader)",
}


def train_below(console, data, output):
    """Trains a tiny run with a console; returns its process."""
    command = ["train_net.py", "--config-file", CONFIG_FILE, "--no-report"]
    code = f"""
{CONSOLES.get(console, "")}
import runpy, sys
sys.argv = {[*command, *words(data, output, TEST__EVAL_PERIOD="1")]}
runpy.run_path({str(ROOT / "tools" / "train_net.py")!r}, run_name="__main__")
"""
    return run_python("-c", code, cwd=ROOT)


@pytest.fixture(scope="module")
def normal(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("normal") / "out"
    assert train_below("", data, output).returncode == 0
    return output


@pytest.mark.slow
@pytest.mark.parametrize("console", CONSOLES)
def test_a_training_leaves_the_same_files(data, normal, tmp_path, console):
    output = tmp_path / "out"
    ended = train_below(console, data, output)
    assert ended.returncode == 0, ended.stderr
    names = [{p.name for p in f.iterdir() if "tfevents" not in p.name} for f in (output, normal)]
    assert names[0] == names[1]
    for name in sorted(path.name for path in normal.glob("*.pth")):
        ours, theirs = (torch.load(f / name, weights_only=True) for f in (output, normal))
        assert ours["iteration"] == theirs["iteration"]
        assert all(torch.equal(ours["model"][key], theirs["model"][key]) for key in theirs["model"])
    results = [json.loads((folder / "results.json").read_text()) for folder in (output, normal)]
    assert results[0]["results"] == results[1]["results"]
    assert losses_of(output) == losses_of(normal)
