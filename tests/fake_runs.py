"""Runs of an experiment without any training: their files, and a stand-in for train_net.py."""

import copy
import json
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PROTOCOLS = ("llcm_ir2vis", "llcm_vis2ir")

# Writes results of the configuration that run.json names. What it does beside that is read from
# plan.json beside itself: "fail", "silent", "stop", "save" and "hang" list words of OUTPUT_DIR,
# "plugins" are sources other than those of run.json.
TRAIN = """
import json, os, signal, sys, time
from pathlib import Path

words = sys.argv[1:]
folder = Path(words[words.index("OUTPUT_DIR") + 1])
plan = json.loads((Path(__file__).parent / "plan.json").read_text())
with (folder / "calls.txt").open("a") as file:
    file.write(json.dumps({"words": words, "threads": os.environ["OMP_NUM_THREADS"],
                           "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
                           "pid": os.getpid(), "parent": os.getppid()}) + chr(10))
print("iter 5/10")
if any(word in str(folder) for word in plan.get("fail", [])):
    sys.exit("out of luck")
if any(word in str(folder) for word in plan.get("silent", [])):
    sys.exit(0)
if any(word in str(folder) for word in plan.get("stop", [])):
    sys.exit(75)
if any(word in str(folder) for word in plan.get("save", [])) and "--resume" not in words:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    (folder / "checkpoint_00000001.pth").write_bytes(b"")
    sys.stdout.flush()
    time.sleep(600)
if any(word in str(folder) for word in plan.get("hang", [])):
    (folder / "checkpoint_00000001.pth").write_bytes(b"")
    sys.stdout.flush()
    time.sleep(600)
sys.path.insert(0, plan["tests"])
from fake_runs import results
record = json.loads((folder / "run.json").read_text())
split = {"regdb_trial": record["split"]} if plan.get("by_split") else {}
about = {**split, "plugins": plan.get("plugins", record.get("plugins", []))}
(folder / "results.json").write_text(json.dumps(results(record["config"], **about)))
"""


def write_fake_train(folder: Path, **plan) -> tuple[str, ...]:
    """Writes the stand-in; returns the command that runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train_net.py").write_text(TRAIN)
    content = {"tests": str(PROJECT / "tests"), **plan}
    (folder / "plan.json").write_text(json.dumps(content))
    return (sys.executable, str(folder / "train_net.py"))


def results(config="abc", rank1=0.3, mean_average_precision=0.4, ema_rank1=None, **changes):
    """Content of results.json; ``changes`` go to the description or, by name, to each protocol.

    With ``ema_rank1`` a hook's weights were evaluated, too.
    """
    entries = [
        {
            "protocol": protocol,
            "table": "main",
            "draw": "agw",
            "shots": 1,
            "num_trials": 10,
            "camera_rule": "llcm_same_identity_same_camera",
            "cmc": "identities",
            "queries": [320] * 10,
            "whole": True,
            "mean": {"cmc": [rank1, 0.6], "mAP": mean_average_precision, "mINP": 0.2},
        }
        for protocol in changes.pop("protocols", PROTOCOLS)
    ]
    ema = copy.deepcopy(entries) if ema_rank1 is not None else []
    for entry in ema:
        entry["mean"]["cmc"] = [ema_rank1, 0.6]
    for name in [name for name in changes if name in entries[0]]:
        value = changes.pop(name)
        for entry in entries:
            entry[name] = value
    description = {
        "dataset": "LLCM",
        "split": "trainval",
        "flip": False,
        "config": config,
        "code": {"commit": "c0ffee", "torch": "2.13.0"},
        **changes,
    }
    content = {"description": description, "results": entries}
    return {**content, "hooks": {"ema": ema}} if ema else content


COST = {
    "parameters": 11_600_000,
    "gflop": 0.5,
    "latency_ms": 7.0,
    "device": "a CPU",
    "input": "64x24",
    "precision": "fp32",
}


def write_run(root: Path, name: str, *, seed=0, finished=True, cost=None, about=None, **values):
    """Writes the folder of one run, ``name`` being a row's unless ``about`` says otherwise."""
    folder = root / name / f"seed{seed}"
    folder.mkdir(parents=True)
    record = {
        "name": f"{name}/seed{seed}",
        "kind": "row",
        "row": name,
        "dataset": "Synthetic",
        "seed": seed,
        "overrides": [],
        "started_by": "python tools/run_table.py",
        "config": "abc",
        "settings": {"MODEL.WRIM.CMKIC.WEIGHT": 0.5, "SEED": seed},
        "generated_data": None,
        "attempts": [{"seconds": 60.0, "exit_code": 0}],
        **(about or {}),
    }
    (folder / "run.json").write_text(json.dumps(record))
    if finished:
        (folder / "results.json").write_text(json.dumps(results(**values)))
    if cost is not None:
        (folder / "cost.json").write_text(json.dumps(cost))
    return folder
