"""A small table on a real Slurm: python -m pytest -m slurm."""

import json
import shutil
import subprocess
import sys
import time

import pytest
import yaml
from fake_runs import PROJECT
from tiny_runs import TINY, make_noise_tree

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(shutil.which("sbatch") is None, reason="there is no sbatch"),
]
LONGER = {"SOLVER.ITERS_PER_EPOCH": "20", "SOLVER.MAX_EPOCH": "3", "DATALOADER.CACHE": "disk"}
RUNS = ("WRIM-Net/seed0", "s1_none/seed0", "WRIM-Net/seed1", "s1_none/seed1")


def wait_for(condition):
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.5)


def test_stopped_and_requeued_jobs_end_with_the_numbers_of_local_runs(tmp_path):
    make_noise_tree(tmp_path / "data")
    rows = {"WRIM-Net": {}, "no MIIM": {"overlay": "configs/ablation/s1_none.yml"}}
    content = {"config": "configs/LLCM/wrim.yml", "against": "WRIM-Net", "rows": rows}
    content |= {"seeds": [0, 1], "costs": ["parameters"]}
    (tmp_path / "t.yml").write_text(yaml.safe_dump(content))
    keys = {**TINY, **LONGER, "DATASETS.ROOT": str(tmp_path / "data"), "SOLVER.STEPS": "[2]"}

    def run(out, *words):
        tool = str(PROJECT / "tools/run_table.py")
        pairs = [f"{key}={value}" for key, value in keys.items()]
        command = [sys.executable, tool, str(tmp_path / "t.yml"), "--out", str(tmp_path / out)]
        subprocess.run([*command, *words, *pairs], cwd=PROJECT, check=True)

    slurm = ("--slurm", "cpus_per_task=1", "timeout_min=60")
    run("slurm", "--detach", *slurm)
    folders = [tmp_path / "slurm" / name for name in RUNS]
    jobs = [json.loads((folder / "job.json").read_text())["id"] for folder in folders]
    for folder, words in (
        (folders[0], ("scancel", "--signal=TERM", jobs[0])),
        (folders[1], ("scontrol", "requeue", jobs[1])),
    ):
        wait_for(lambda folder=folder: list(folder.glob("checkpoint_*.pth")))
        subprocess.run(words, check=True)
    run("slurm", *slurm)
    run("here", "--gpus", "--threads", "1")
    for name in RUNS:
        ours, theirs = (
            json.loads((tmp_path / out / name / "results.json").read_text())["results"]
            for out in ("slurm", "here")
        )
        assert ours == theirs
    attempts = json.loads((folders[0] / "run.json").read_text())["attempts"]
    assert len(attempts) == 2 and attempts[-1]["exit_code"] == 0
