"""How options are spelt: flags and overrides in any order, files and runs named one way."""

import argparse
import importlib
import sys

import pytest

from wrimnet.command_line import (
    add_config_options,
    add_model_options,
    add_several,
    at_least_one,
    make_parser,
    output_file,
    output_folder,
    parse,
    picture_file,
    run_tool,
    setup_model_cfg,
)
from wrimnet.config import plugins
from wrimnet.config.plugins import load_plugin
from wrimnet.console import without_middles


def read(*words):
    """What a tool with a model and a few flags of its own makes of its words."""
    parser = make_parser("A tool.")
    add_model_options(parser)
    add_several(parser, "--images", default=[])
    add_several(parser, "--seeds", kind=int, default=[0])
    parser.add_argument("--out")
    return parse(parser, words)


@pytest.mark.parametrize(
    "words",
    [
        ("--run", "logs/a", "--out", "b", "SOLVER.MAX_EPOCH", "3", "SEED", "1"),
        ("SOLVER.MAX_EPOCH", "3", "SEED", "1", "--run", "logs/a", "--out", "b"),
        ("logs/a", "SOLVER.MAX_EPOCH", "3", "--out", "b", "SEED", "1"),
        ("--out", "b", "logs/a", "SOLVER.MAX_EPOCH", "3", "SEED", "1"),
    ],
)
def test_flags_and_overrides_come_in_any_order(words):
    found = read(*words)
    assert (found.run, found.out) == ("logs/a", "b")
    assert found.overrides == ["SOLVER.MAX_EPOCH", "3", "SEED", "1"]


def test_overrides_are_pairs_or_single_words():
    assert read("--run", "a", "SEED=1", "OUTPUT_DIR=x y", "--out", "b").overrides == [
        "SEED=1",
        "OUTPUT_DIR=x y",
    ]


def test_overlays_add_up():
    parser = make_parser("A tool.")
    add_config_options(parser)
    words = ("--overlay", "a.yml", "--config-file", "c.yml", "--overlay", "b.yml", "SEED=1")
    found = parse(parser, words)
    assert (found.config_file, found.overlay) == ("c.yml", ["a.yml", "b.yml"])


def test_values_of_a_flag_end_where_overrides_begin(tmp_path, monkeypatch):
    found = read("logs/a", "--seeds", "0", "1", "2", "SOLVER.MAX_EPOCH", "3", "--out", "b")
    assert (found.run, found.seeds, found.out) == ("logs/a", [0, 1, 2], "b")
    assert found.overrides == ["SOLVER.MAX_EPOCH", "3"]
    assert read("--seeds", "4", "SEED=1").seeds == [4]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "IMG_1.JPG").write_bytes(b"")
    found = read("--run", "a", "--images", "IMG_1.JPG", "SGD", "x.jpg", "SEED", "1")
    assert found.images == ["IMG_1.JPG", "SGD", "x.jpg"]
    assert found.overrides == ["SEED", "1"]


def test_folder_whose_name_looks_like_a_key_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUN").mkdir()
    assert read("RUN", "SEED", "1").run == "RUN"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--opts", "SEED", "1"), "unrecognized arguments: --opts"),
        (("--run", "a", "seed", "1"), "'seed' is neither a flag nor KEY VALUE nor KEY=VALUE"),
        (("--seeds", "one"), "argument --seeds: invalid literal"),
        (("--seeds", "SEED", "1"), "argument --seeds: expected at least one value"),
        (("--seeds",), "argument --seeds: expected at least one argument"),
    ],
)
def test_mistakes_are_told(capsys, words, message):
    with pytest.raises(SystemExit) as end:
        read(*words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_file_to_be_written_is_checked_before_anything_is_done(tmp_path):
    assert output_file(str(tmp_path / "new.json")) == tmp_path / "new.json"
    for word, problem in ((tmp_path, "is a folder"), (tmp_path / "a" / "b", "lies in .*/a, which")):
        with pytest.raises(argparse.ArgumentTypeError, match=f"{problem}.*give a file to be writ"):
            output_file(str(word))


def test_a_folder_to_be_written_is_no_file_and_in_none(tmp_path):
    (tmp_path / "a.txt").write_text("")
    assert output_folder(str(tmp_path / "new" / "er")) == tmp_path / "new" / "er"
    assert output_folder(str(tmp_path)) == tmp_path
    for word in (tmp_path / "a.txt", tmp_path / "a.txt" / "b"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"a\.txt' is a file; give a folder"):
            output_folder(str(word))


def refusal_of(command, monkeypatch, capsys):
    """Exit status of a tool whose command line is wrong, and what it says."""
    tool, *words = command.split()
    monkeypatch.setattr(sys, "argv", [tool, *words])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(tool).main()
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "check_dataset --dataset LLCM --no-images DATASETS.ROOT data",
        "evaluate_features --protocol llcm_ir2vis --features F --out o TEST.RERANK.ENABLED True",
        "make_synthetic --layout llcm --out new SEED=1",
        "compare_runs run --csv new.csv TEST.METRICS=mAP",
    ],
)
def test_tools_without_a_configuration_take_no_keys(monkeypatch, capsys, command):
    code, text = refusal_of(command, monkeypatch, capsys)
    assert code == 2
    assert "this tool reads no configuration, so it takes no KEY VALUE" in text


@pytest.mark.parametrize(
    "command",
    [
        "measure_cost --threads 0 run",
        "benchmark train --steps 0",
        "benchmark evaluation --repeats 0",
        "benchmark train --nproc 0",
    ],
)
def test_numbers_below_one_are_refused(monkeypatch, capsys, command):
    code, text = refusal_of(command, monkeypatch, capsys)
    assert code == 2
    assert "'0'; give a whole number from 1" in text


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--config-file configs/LLCM/wrim.yml", "--config-file"),
        ("SOLVER.PRECISION bf16", "KEY VALUE"),
        ("--steps 3 --nproc 2", "--steps, --nproc"),
    ],
)
def test_what_the_benchmark_of_the_evaluation_does_not_read_is_refused(
    monkeypatch, capsys, words, named
):
    code, text = refusal_of(f"benchmark evaluation {words}", monkeypatch, capsys)
    assert code == 2
    assert f"{named}: evaluation measures matrices of fixed sizes" in text


def test_model_is_that_of_the_run_unless_a_file_is_named(finished_run):
    run = str(finished_run.run)
    cfg = setup_model_cfg(read(run, "SEED=3"))
    assert (f"{run}/model_final.pth", 3) == (cfg.MODEL.WEIGHTS, cfg.SEED)
    cfg = setup_model_cfg(read("--weights", "other.pth", run))
    assert cfg.MODEL.WEIGHTS == "other.pth"
    with pytest.raises(ValueError, match="no model is given"):
        setup_model_cfg(read("--config-file", f"{run}/config.yaml"))
    with pytest.raises(ValueError, match=r"MODEL\.WEIGHTS = 'a\.pth': give --weights a\.pth"):
        setup_model_cfg(read(run, "MODEL.WEIGHTS", "a.pth"))


def test_files_of_a_run_are_not_replaced(tmp_path):
    (tmp_path / "run" / "figures").mkdir(parents=True)
    for name in ("config.yaml", "results.json", "figures/a.png"):
        (tmp_path / "run" / name).write_text("")
    assert output_file(str(tmp_path / "run" / "new.json"))
    for word in ("results.json", "figures/a.png"):
        with pytest.raises(argparse.ArgumentTypeError, match="is a file of a run; give another"):
            output_file(str(tmp_path / "run" / word))


def test_a_picture_has_an_ending_and_a_count_is_a_number(tmp_path):
    assert picture_file(".png")(str(tmp_path / "a.PNG")) == tmp_path / "a.PNG"
    with pytest.raises(argparse.ArgumentTypeError, match=r"a\.gif' ends in '\.gif'; give \.png or"):
        picture_file(".png", ".pdf")(str(tmp_path / "a.gif"))
    assert at_least_one("3") == 3
    for word in ("0", "-1", "1.5", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="give a whole number from 1"):
            at_least_one(word)


MISTAKES = """
from wrimnet.modality import find_modality

def attribute():
    return None.x

def key():
    return {}["attributes"]

def sentence():
    raise ValueError("no such word")

def cause():
    try:
        attribute()
    except AttributeError as error:
        raise RuntimeError("later") from error

def calls():
    find_modality("ultraviolet")

def foreign():
    import json
    json.loads("{")
"""


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("attribute", 5, "'NoneType' object has no attribute 'x'; this is an error of the plug-in"),
        ("key", 8, "KeyError: 'attributes'; raised in the plug-in"),
        ("sentence", 11, "error: no such word; raised in the plug-in"),
        ("cause", 17, "RuntimeError: later; this is an error of the plug-in"),
        ("foreign", 24, "line 1 column 2 (char 1); raised in the plug-in"),
    ],
)
def test_error_of_a_plugin_names_module_file_and_line(
    tmp_path, monkeypatch, capsys, name, line, message
):
    module = load_mistakes(tmp_path, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        run_tool(getattr(module, name))
    told = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2
    place = f" own_mistakes, {tmp_path / 'own_mistakes.py'}, line {line}"
    assert message in told and told.endswith(place)


def load_mistakes(tmp_path, monkeypatch):
    (tmp_path / "own_mistakes.py").write_text(MISTAKES)
    monkeypatch.setattr(plugins, "_packages", set())  # those of other tests
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_mistakes", raising=False)
    return load_plugin("own_mistakes")


def test_sentence_of_the_project_that_a_plugin_calls_is_told_as_it_is(
    tmp_path, monkeypatch, capsys
):
    with pytest.raises(SystemExit):
        run_tool(load_mistakes(tmp_path, monkeypatch).calls)
    assert "plug-in" not in capsys.readouterr().err


def test_error_of_the_program_is_its_fault(capsys):
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda: None.x)
    assert ended.value.code == 70
    assert "this is an internal error" in capsys.readouterr().err


def test_long_mistakes_are_wrapped_and_an_interruption_is_a_word(monkeypatch, capsys):
    def fail():
        raise ValueError("word " * 60 + "/a/path/of/one/piece")

    def interrupt():
        raise KeyboardInterrupt

    def told(main, code):
        with pytest.raises(SystemExit) as ended:
            run_tool(main)
        assert ended.value.code == code
        return capsys.readouterr().err.splitlines()

    assert told(interrupt, 130) == ["interrupted"]
    assert len(told(fail, 2)) == 1  # a log keeps it in one line
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    lines = told(fail, 2)
    assert max(map(len, lines)) <= 160 and len(lines) == 3
    assert lines[2].strip() == "/a/path/of/one/piece"


def test_middle_of_an_endless_line_is_left_out(monkeypatch, capsys):
    """A damaged file may hold a line of 20 MB, which a message quotes."""

    def fail():
        raise ValueError("first\n" + "a" * 20_000_000 + "z")

    with pytest.raises(SystemExit):
        run_tool(fail)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: first" and len(second) < 2100
    assert second.startswith("aaa") and second.endswith("aaz") and "(19998001 char" in second
    assert without_middles("a" * 2000) == "a" * 2000
