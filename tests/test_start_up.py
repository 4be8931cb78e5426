"""What a program imports before its command line is read: nothing that takes seconds."""

import json
import os
import subprocess
import sys

import pytest
from source_tree import ROOT, paths_in

SLOW = ("torch", "torchvision", "matplotlib", "fastreid.data")
PROGRAMS = [path for path in paths_in("tools") if path.suffix == ".py"]

# Runs each program in turn in one process, and prints which left a slow module behind.
RUN_ALL = """
import contextlib, json, os, runpy, sys
slow, programs, words = json.loads(sys.argv[1])
guilty = {}
for program in programs:
    sys.argv = [program, *words]
    text = open(os.devnull, "w")
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            runpy.run_path(program, run_name="__main__")
        except SystemExit as end:
            code = end.code
    guilty[program] = [code, [name for name in slow if name in sys.modules]]
print(json.dumps(guilty))
"""


def run_all(*words):
    """Exit code and slow modules of every program, by its name, with a fresh Python for all."""
    argument = json.dumps([SLOW, [str(path) for path in PROGRAMS], words])
    return json.loads(run_cold(RUN_ALL, argument).splitlines()[-1])


def run_cold(program, *words):
    """What a program prints in a Python that has imported nothing."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("words", "code"), [(("--help",), 0), (("--no-such-flag",), 2)])
def test_help_and_a_misspelt_flag_are_answered_without_slow_imports(words, code):
    outcomes = run_all(*words)
    assert {name: outcome for name, outcome in outcomes.items() if outcome != [code, []]} == {}


def test_a_wrong_key_is_reported_without_importing_pytorch():
    program = (
        "import sys\n"
        "from wrimnet.config import setup_cfg\n"
        "try:\n"
        "    setup_cfg('configs/LLCM/wrim.yml', (), ['SOLVER.MAX_EPOC', '3'])\n"
        "except KeyError as error:\n"
        "    print('SOLVER.MAX_EPOCH' in str(error), 'torch' in sys.modules)\n"
    )
    assert run_cold(program).split() == ["True", "False"]
