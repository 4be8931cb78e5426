"""The short form of tests/run_fault_drill.py: real runs, killed and resumed to the same bits."""

from pathlib import Path

import pytest
from fault_drill.drill import SHORT, run_drill, table
from fault_drill.faults import Outcome
from source_tree import ROOT
from warm_python import run_python

CONFIG_FILE = Path(__file__).resolve().parents[2] / "configs" / "Synthetic" / "wrim.yml"


@pytest.mark.slow
def test_short_drill_loses_nothing(tmp_path):
    rows = run_drill(  # with this seed the first kill comes early: one run takes all of them
        folder=tmp_path, config_file=str(CONFIG_FILE), size=SHORT, report=print, seed=1
    )
    print(table(rows))
    assert [row for row in rows if row.survived < row.tries] == []
    assert sum(row.tries for row in rows if row.fault.startswith("SIGKILL")) == SHORT.kills
    faults = " ".join(row.fault for row in rows)
    names = "SIGTERM,second run,full disk,YAML,image cache,search index,checkpoint empty"
    for name in f"{names},one bit changed,image cut short,bad images,weights".split(","):
        assert name in faults


def test_table_counts_what_was_lost():
    assert (
        table([Outcome("a fault", 5, 3, "seen")]).splitlines()[-1]
        == "| a fault | 5 | 3 | 2 | seen |"
    )


def test_the_program_starts_outside_of_the_test_suite(tmp_path):
    done = run_python(str(ROOT / "tests" / "run_fault_drill.py"), "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--kills" in done.stdout
