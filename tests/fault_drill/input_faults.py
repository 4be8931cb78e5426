"""Weights and YAML that would run code, configurations that do not fit, losses that explode."""

import os
import shutil
from pathlib import Path

import torch
from fault_drill.comparison import unreadable_last
from fault_drill.faults import FaultDrill, Outcome, judged

from wrimnet.run_folder import FINAL


class RunsCode:
    """Makes a folder when it is unpickled by a careless reader."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self._marker),)


def hostile_weights(drill: FaultDrill) -> list[Outcome]:
    """Pickles that would run code, in both formats of torch, evaluated and trained from."""
    rows = []
    for zipped in (True, False):
        for eval_only in (True, False):
            marker, path = drill.folder / "marker", drill.folder / "hostile.pth"
            content = {"model": {"weight": RunsCode(marker)}}
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
            output = drill.folder / "hostile"
            code, text = drill.starter.finish(
                output, keys={"MODEL.WEIGHTS": str(path)}, eval_only=eval_only
            )
            rows.append(_refused(code, text, "cannot be read safely|can be read safely", marker))
            shutil.rmtree(output, ignore_errors=True)
    return [_sum("weights that would run code", rows, "refused, the code did not run")]


def hostile_yaml(drill: FaultDrill) -> list[Outcome]:
    """Python tags in a file and in its base, and a base from elsewhere."""
    marker = drill.folder / "marker"
    tag = f"OUTPUT_DIR: !!python/object/apply:os.mkdir ['{marker}']\n"
    (drill.folder / "tagged.yml").write_text(tag)
    (drill.folder / "heir.yml").write_text("_BASE_: tagged.yml\n")
    (drill.folder / "remote.yml").write_text("_BASE_: https://example.org/base.yml\n")
    said = {
        "tagged.yml": "YAML tag, which is refused",
        "heir.yml": "YAML tag, which is refused",
        "remote.yml": "not the path of a local file",
    }
    rows = []
    for name, sentence in said.items():
        code, text = drill.starter.finish(
            drill.folder / "hostile", config_file=str(drill.folder / name)
        )
        rows.append(_refused(code, text, sentence, marker))
    return [_sum("YAML that would run code", rows, "refused, the code did not run")]


def misfits(drill: FaultDrill) -> list[Outcome]:
    """Weights of another network, another configuration's folder, another dataset's protocol."""
    final, marker = drill.reference / FINAL, drill.folder / "marker"
    cases = [
        ({"MODEL.WEIGHTS": str(final), "MODEL.BACKBONE.DEPTH": "34x"}, "do not fit this model"),
        ({"TEST.PROTOCOLS": "('regdb_v2t',)"}, "belongs to RegDB"),
        ({"SOLVER.IMS_PER_BATCH": "9"}, "is not 2 x P x K"),
        ({"MODEL.WRIM.MAIN.STRIPES": "9"}, "stripes do not fit"),
        ({"MODEL.WRIM.MIIM.STRIDE": "(9, 2, 1, 1)"}, "is larger than its"),
    ]
    rows = []
    for keys, sentence in cases:
        code, text = drill.starter.finish(drill.folder / "misfit", keys=keys)
        rows.append(_refused(code, text, sentence, marker))
    output = drill.half_way("other")
    for resume, keys, sentence in (
        (False, {}, "holds an earlier run"),
        (True, {"SEED": "9"}, "run of another configuration"),
    ):
        code, text = drill.starter.finish(output, resume=resume, keys=keys)
        rows.append(_refused(code, text, sentence, marker))
    return [_sum("configuration or weights that do not fit", rows, "one sentence each")]


def exploding_loss(drill: FaultDrill) -> list[Outcome]:
    """Weights thrown out of all bounds: the term is named, the batch saved, no lost weights are."""
    output = drill.folder / "exploding"
    keys = {"SOLVER.OPT": "SGD", "SOLVER.BASE_LR": "1e6", "SOLVER.WEIGHT_DECAY": "1e6"}
    code, text = drill.starter.finish(output, keys=keys)
    last_line = text.rpartition("error: ")[2]  # it may be wrapped
    problems = (
        [] if code == 2 and "at iteration" in last_line else [f"exit code {code}: {last_line}"]
    )
    replays = list(output.glob("replay_*.pth"))
    if not replays:
        problems.append("the batch was not saved")
    for path in replays:
        batch = torch.load(path, weights_only=True)
        if len(batch["images"]) != len(batch["img_paths"]):
            problems.append("the saved batch is not whole")
    broken = unreadable_last(output)
    problems += [broken] if broken else []
    shutil.rmtree(output)
    return [judged("loss becomes NaN", problems, "term, iteration, rate, images; batch saved")]


def _refused(code: int | None, text: str, sentences: str, marker: Path) -> list[str]:
    problems = [f"{marker} was made: the code ran"] if marker.exists() else []
    if code != 2 or not any(sentence in text for sentence in sentences.split("|")):
        problems.append(f"exit code {code}: {text[-300:]}")
    return problems


def _sum(fault: str, rows: list[list[str]], note: str) -> Outcome:
    problems = [problem for row in rows for problem in row]
    survived = sum(not row for row in rows)
    return Outcome(fault, len(rows), survived, judged(fault, problems, note).note)
