"""The examples beside the library run as they stand."""

import runpy

import pytest
from source_tree import ROOT


def test_quickstart(finished_run, monkeypatch, capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="figures are an optional extra")
    monkeypatch.chdir(finished_run.workspace)
    with pyplot.rc_context({"backend": "agg"}):
        names = runpy.run_path(str(ROOT / "examples" / "quickstart.py"))
    assert names["query_rows"].shape == (len(names["queries"]), 1792)
    assert names["similarity"].shape == (len(names["queries"]), 18)
    assert (finished_run.workspace / "logs" / "quickstart.png").stat().st_size > 1000
    assert "llcm_ir2vis {'Rank-1': " in capsys.readouterr().out
