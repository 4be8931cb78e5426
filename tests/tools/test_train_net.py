"""The main command as a user meets it: it trains, evaluates, and tells mistakes in a sentence."""

import importlib.metadata
import json
import re
import runpy
import sys

import pytest
import torch
from source_tree import ROOT
from tiny_runs import CONFIG_FILE, evaluation_folder, make_noise_tree, words
from warm_python import run_python

TOOL = str(ROOT / "tools" / "train_net.py")


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process: exit code and what it wrote to stderr."""

    def run_command(*arguments):
        monkeypatch.setattr(sys, "argv", [TOOL, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(TOOL, run_name="__main__")
        captured = capsys.readouterr()
        return end.value.code, captured.err, captured.out

    return run_command


def run_alone(*arguments, cwd):
    """Runs the command in a process and a folder of its own."""
    return run_python(TOOL, *map(str, arguments), cwd=cwd)


def sentence_of(stderr):
    """The one line that tells a mistake; fails if there is a stack as well."""
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, stderr
    assert "Traceback" not in stderr
    return lines[0]


def test_training_and_evaluation_of_its_weights_print_the_same_numbers(data, tmp_path):
    """From another folder, in processes of their own, as the documentation has it."""
    trained, again = tmp_path / "trained", tmp_path / "again"
    arguments = ("--config-file", CONFIG_FILE, "--no-report", *words(data, trained))
    first = run_alone(*arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    weights = ("MODEL.WEIGHTS", trained / "model_final.pth")
    second = run_alone(
        "--config-file", CONFIG_FILE, "--eval-only", *words(data, again), *weights, cwd=tmp_path
    )
    assert second.returncode == 0, second.stderr
    tables = [table_of(process.stdout) for process in (first, second)]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 2
    results = [
        json.loads((folder / "results.json").read_text())["results"]
        for folder in (trained, evaluation_folder(again))
    ]
    assert results[0] == results[1]


def table_of(output):
    """The rows of the table that was printed."""
    return [line for line in output.splitlines() if line.startswith("llcm_")]


def test_console_is_short_and_says_what_to_do_next(run, data, tmp_path):
    """A head, a line per log period, a table, an end: the rest is in the log."""
    out = tmp_path / "out"
    code, _, trained = run("--config-file", CONFIG_FILE, "--no-report", *words(data, out))
    assert code == 0
    first, *warning, lines = split_head(trained)
    assert max(map(len, trained.splitlines())) <= 160 + len(str(out))
    assert [line.split()[0] for line in lines] == [
        *("data", "model", "recipe", "solver", "output", "epoch", "epoch", "epoch", "epoch"),
        *("evaluating", "direction", "llcm_ir2vis", "llcm_vis2ir", "percent,", "done", "next"),
    ]
    assert warning[0].startswith("warning: ") and trained.count("warning: ") == 1
    assert len({line.index("lr ") for line in lines if line.startswith("epoch")}) == 1
    installed = importlib.metadata.version("fastreid")
    assert f"FastReID {installed}; cpu" in first and first.endswith("seed 0")
    assert f"wrimnet.load({json.dumps(str(out))})" in lines[-1]
    log = (out / "log.txt").read_text()
    assert all(line in log for line in lines[:-1])
    assert "called as" in log
    assert not {"generated random seed", "fastreid 1.3"} & set(re.findall(r"[\w. ]+", log))
    weights = ("MODEL.WEIGHTS", out / "model_final.pth")
    arguments = ("--eval-only", *words(data, tmp_path / "again"), *weights)
    _, _, evaluated = run("--config-file", CONFIG_FILE, *arguments)
    *_, lines = split_head(evaluated)
    assert [line.split()[0] for line in lines] == [
        *("data", "model", "output", "direction", "llcm_ir2vis", "llcm_vis2ir", "percent,"),
    ]


def split_head(output):
    """The first line, the lines of a warning, the rest from the data on."""
    lines = output.splitlines()
    first = lines.pop(next(i for i, line in enumerate(lines) if line.startswith("WRIM-Net ")))
    data = next(index for index, line in enumerate(lines) if line.startswith("data "))
    return first, *lines[:data], lines[data:]


def test_missing_dataset_is_told_first_and_leaves_nothing(run, tmp_path):
    overrides = words(tmp_path / "nowhere", tmp_path / "out")
    for option in ((), ("--eval-only",)):
        code, stderr, out = run("--config-file", CONFIG_FILE, *option, *overrides)
        assert (code, out) == (2, "")
        assert f"looked for the folder {tmp_path / 'nowhere' / 'LLCM'}" in sentence_of(stderr)
    assert list(tmp_path.iterdir()) == []


def test_expected_results_decide_the_exit_code(run, data, tmp_path):
    weights = tmp_path / "trained" / "model_final.pth"
    code, *_ = run("--config-file", CONFIG_FILE, "--no-report", *words(data, weights.parent))
    assert code == 0
    evaluate = ("--config-file", CONFIG_FILE, "--eval-only", *words(data, tmp_path / "again"))
    for tolerance, expected_code in ((1.0, 0), (0.0, 1)):
        expected = f'[["llcm_ir2vis", "mAP", 1.0, {tolerance}]]'
        code, *_ = run(*evaluate, "MODEL.WEIGHTS", weights, "TEST.EXPECTED_RESULTS", expected)
        assert code == expected_code


def test_list_of_keys_is_printed(run):
    code, _, out = run("--help-config")
    assert code == 0
    assert "MODEL.WRIM.CMKIC.TEMPERATURE = 0.07\n    tau" in out


def test_help_names_the_options(run):
    code, _, out = run("--help")
    assert code == 0
    for option in ("--config-file", "--overlay", "--eval-only", "--resume", "--help-config"):
        assert option in out


WRONG = {
    "no_config_file": ([], "--config-file is missing; for example configs/LLCM/wrim.yml"),
    "unknown_config_file": (["--config-file", "nowhere.yml"], "nowhere.yml' does not exist"),
    "unknown_overlay": (["--overlay", "nowhere.yml"], "nowhere.yml' does not exist"),
    "unknown_key": (["SOLVER.MAX_EPOCHS", "3"], "unknown config key 'SOLVER.MAX_EPOCHS'"),
    "odd_words": (["SOLVER.MAX_EPOCH"], "overrides come as KEY VALUE pairs"),
    "wrong_type": (["SOLVER.MAX_EPOCH", "many"], "SOLVER.MAX_EPOCH = 'many'"),
    "batch": (["SOLVER.IMS_PER_BATCH", "10"], "10 is not 2 x P x K"),
    "few_identities": (["SOLVER.IMS_PER_BATCH", "24"], "identities"),
    "device": (["MODEL.DEVICE", "gpu"], "MODEL.DEVICE = 'gpu'"),
    "dataset": (["DATASETS.NAMES", '("Market1501",)'], "one of LLCM, RegDB, SYSU-MM01"),
    "missing_folder": (["DATASETS.ROOT", "nowhere"], "datasets/README.md"),
    "missing_weights": (["MODEL.WEIGHTS", "nowhere.pth"], "'nowhere.pth' does not exist"),
    "missing_pretrained": (
        ["MODEL.BACKBONE.PRETRAIN", "True", "MODEL.BACKBONE.PRETRAIN_PATH", "nowhere.pth"],
        "'nowhere.pth' does not exist",
    ),
    "weights_are_a_folder": (["MODEL.WEIGHTS", "."], "'.' is a folder, expected a file"),
    "gpu_without_dry_run": (["--gpu", "h100"], "--gpu belongs to --dry-run"),
    "dry_run_of_several": (["--dry-run", "--num-gpus", "4"], "--dry-run counts one process"),
    "spaces": (["SEED", "=", "4"], "leave no space around '='"),
    "unread_key": (["MODEL.LOSSES.NAME", '("X",)'], "not read by WRIM-Net"),
    "protocol": (["TEST.PROTOCOLS", '("llcm_vis2vis",)'], "llcm_vis2vis"),
}


@pytest.mark.parametrize(("wrong", "message"), WRONG.values(), ids=WRONG)
def test_mistake_ends_in_a_sentence_and_code_2(run, data, tmp_path, wrong, message):
    options = [word for word in wrong if word.startswith("--")]
    arguments = (
        []
        if message.startswith("--config-file") or options[:1] == ["--config-file"]
        else [
            "--config-file",
            CONFIG_FILE,
        ]
    )
    overrides = [] if options else words(data, tmp_path / "out")
    code, stderr, _ = run(*arguments, *(wrong if options else [*overrides, *wrong]))
    assert code == 2
    assert message in sentence_of(stderr)


@pytest.mark.parametrize("option", ["--eval-only"])
def test_evaluation_without_weights_is_a_sentence(run, data, tmp_path, option):
    code, stderr, _ = run("--config-file", CONFIG_FILE, option, *words(data, tmp_path / "out"))
    assert code == 2
    assert "--eval-only needs MODEL.WEIGHTS" in sentence_of(stderr)


def test_weights_of_another_network_leave_nothing(run, finished_run, tmp_path):
    arguments = ["--config-file", str(finished_run.run / "config.yaml"), "--eval-only"]
    weights = ["MODEL.WEIGHTS", str(finished_run.run / "model_final.pth")]
    own = ["OUTPUT_DIR", str(tmp_path / "out"), "MODEL.WRIM.MIIM.FUSION", "add"]
    code, stderr, _ = run(*arguments, *weights, *own)
    assert code == 2
    assert "FUSION 'sigmoid', here 'add'" in " ".join(stderr.split())
    assert not (tmp_path / "out").exists()


def test_weights_of_another_architecture_list_what_differs(run, data, tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"model": {"backbone.conv1.weight": torch.zeros(3, 3)}}, path)
    for option in ([], ["--eval-only"]):
        arguments = ["--config-file", CONFIG_FILE, *option, *words(data, tmp_path / "out")]
        code, stderr, _ = run(*arguments, "MODEL.WEIGHTS", path)
        assert code == 2
        assert "do not fit this model" in sentence_of(stderr)
        assert "missing in the file: backbone.bn1.weight" in stderr
        assert re.search(r"\n  and \d{2,} more\n", stderr)  # some hundred lines are not shown
        assert stderr.endswith("conv1.weight: (3, 3) in the file, (64, 3, 7, 7) in the model\n")


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_unreadable_image_is_named(run, tmp_path, cache):
    folder = make_noise_tree(tmp_path / "data")
    image = sorted((folder / "vis").rglob("*.jpg"))[3]
    image.write_bytes(b"no image")
    arguments = words(tmp_path / "data", tmp_path / "out", DATALOADER__CACHE=cache)
    code, stderr, _ = run("--config-file", CONFIG_FILE, *arguments)
    assert code == 2
    assert image.name in sentence_of(stderr)


def test_stack_is_shown_on_request(run):
    code, stderr, _ = run("--traceback")
    assert code == 2
    assert "Traceback (most recent call last)" in stderr
    assert "error: --config-file is missing" in stderr


def test_int_for_a_float_key_is_accepted_and_a_finished_run_resumes_to_nothing(run, data, tmp_path):
    arguments = ["--config-file", CONFIG_FILE, "--no-report"]
    overrides = words(data, tmp_path / "out", SOLVER__WEIGHT_DECAY="0", SOLVER__MAX_EPOCH="1")
    assert run(*arguments, *overrides)[0] == 0
    results = tmp_path / "out" / "results.json"
    found = json.loads(results.read_text())["results"]
    for lost in ("results.json", "model_final.pth"):  # made again
        (tmp_path / "out" / lost).unlink()
        assert run(*arguments, "--resume", *overrides)[0] == 0
        assert json.loads(results.read_text())["results"] == found
        assert (tmp_path / "out" / "model_final.pth").is_file()
    code, stderr, _ = run(*arguments, *overrides)
    assert code == 2
    assert "add --resume" in sentence_of(stderr)


def test_overlay_is_laid_over_the_file(run, data, tmp_path):
    overlay = tmp_path / "overlay.yml"
    overlay.write_text("MODEL: {WRIM: {CMKIC: {TEMPERATURE: 0}}}\n")
    code, stderr, _ = run(
        "--config-file", CONFIG_FILE, "--overlay", overlay, *words(data, tmp_path / "out")
    )
    assert code == 2
    assert "TEMPERATURE = 0.0: expected a number in (0, " in sentence_of(stderr)
