"""Where configuration is read, how long things are, and what no committed file may name."""

import ast
import re
from collections import Counter
from pathlib import PurePosixPath

import pytest
from source_tree import (
    FUNCTIONS,
    ROOT,
    Module,
    assert_none_found,
    layer_of,
    nodes_with_functions,
    parse_module,
    read_modules,
    tracked_files,
)

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 39
# FastReID's `@configurable` and its trainer call these with the configuration.
READS_CFG = re.compile(r"_?(build|check)_\w+|_?setup\w*|from_config|add_\w+_config")
KEY = re.compile(r"(self\._?)?cfg\.[A-Z]\w*")

# Written in pieces, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.~$})])/(?:" + "|".join(("work", "tmp", "root", "home")) + ")/")
PACKAGE_HOST = re.compile(
    "|".join(
        ("pypi" + r"\.org", "python" + "hosted", "pytorch" + r"\.org/whl", "anaconda" + r"\.org")
    )
    + "|--(?:extra-)?index"
    + "-url|--find"
    + "-links"
)
# The atomic writer, streams, locks and probes that hold nothing, a log that is appended to, caches
# and trees of images that become valid with their last file.
WRITE_IN_PLACE = {
    "wrimnet/atomic_files.py",
    "wrimnet/console.py",
    "wrimnet/data/cache.py",
    "wrimnet/engine/run.py",
    "wrimnet/lab/experiments/runs.py",
    "wrimnet/lab/synthetic/writing.py",
}
TEXT_SUFFIXES = {
    "",
    ".cff",
    ".cfg",
    ".csv",
    ".json",
    ".md",
    ".py",
    ".sh",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
}

PACKAGE = read_modules("wrimnet")
SOURCES = read_modules("wrimnet", "tools", "examples")


def stored_cfg(module: Module) -> list[str]:
    """Assignments to ``self.cfg``: nobody can tell any more which keys such an object reads."""
    targets = (node for node in ast.walk(module.tree) if isinstance(node, ast.Attribute))
    return [
        f"{module.path}:{node.lineno}: stores a cfg"
        for node in targets
        if isinstance(node.ctx, ast.Store) and node.attr in {"cfg", "_cfg"}
    ]


def misplaced_key_reads(module: Module) -> list[str]:
    """Reads of ``cfg.SOME_KEY`` outside the functions whose job that is; programs may read it."""
    if layer_of(module.name).partition(".")[0] in ("tools", "lab"):
        return []
    return [
        f"{module.path}:{node.lineno}: reads {ast.unparse(node)} in {'.'.join(functions)}"
        for node, functions in nodes_with_functions(module.tree)
        if isinstance(node, ast.Attribute)
        and KEY.fullmatch(ast.unparse(node))
        and not any(READS_CFG.fullmatch(name) for name in functions)
    ]


def unsafe_writes(module: Module) -> list[str]:
    """Files written in place: a killed process or a full disk leaves half of one."""
    if module.path in WRITE_IN_PLACE:
        return []
    return [
        f"{module.path}:{node.lineno}: writes in place; use wrimnet.atomic_files"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _writes_in_place(node)
    ]


def _writes_in_place(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    if name in ("write_text", "write_bytes"):
        return isinstance(call.func, ast.Attribute)  # a method of a path
    modes = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    texts = [mode.value for mode in modes if isinstance(mode, ast.Constant)]
    return name == "open" and any(isinstance(t, str) and re.fullmatch("[wax+bt]*[wax+][bt]*", t)
                                  for t in texts)  # fmt: skip


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from its `def` on, docstring not counted."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def long_functions(module: Module) -> list[str]:
    functions = (node for node in ast.walk(module.tree) if isinstance(node, FUNCTIONS))
    return [
        f"{module.path}:{node.lineno}: {node.name} has {code_lines(node)} lines"
        for node in functions
        if code_lines(node) > MAX_FUNCTION_LINES
    ]


def found_in_text(pattern: re.Pattern[str], path: str, text: str) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def found_in_tracked_files(pattern: re.Pattern[str]) -> list[str]:
    paths = tracked_files()
    if paths is None:
        pytest.skip("not a git checkout: no list of tracked files")
    present = [path for path in paths if (ROOT / path).is_file()]
    texts = [path for path in present if PurePosixPath(path).suffix in TEXT_SUFFIXES]
    assert texts
    return [
        line
        for path in texts
        for line in found_in_text(pattern, path, (ROOT / path).read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("rule", [stored_cfg, misplaced_key_reads])
def test_package_keeps_the_rule(rule):
    assert_none_found(line for module in PACKAGE for line in rule(module))


def test_files_are_written_whole_or_not_at_all():
    assert_none_found(line for module in SOURCES for line in unsafe_writes(module))
    assert all((ROOT / path).is_file() for path in WRITE_IN_PLACE)


def test_functions_are_short():
    assert_none_found(line for module in SOURCES for line in long_functions(module))


def test_files_are_short():
    lines = {m.path: len((ROOT / m.path).read_text(encoding="utf-8").splitlines()) for m in SOURCES}
    assert {path: count for path, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_no_tracked_file_names_a_path_of_one_machine():
    assert_none_found(found_in_tracked_files(MACHINE_PATH))


def test_no_tracked_file_names_a_package_host():
    assert_none_found(found_in_tracked_files(PACKAGE_HOST))


def test_test_files_have_distinct_names():
    """Without packages in tests/, pytest can import only one file of each name."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (stored_cfg, "class A:\n    def __init__(self, cfg):\n        self.cfg = cfg"),
        (stored_cfg, "class A:\n    def __init__(self, cfg):\n        self._cfg: object = cfg"),
        (misplaced_key_reads, "def train(cfg):\n    return cfg.SOLVER.MAX_EPOCH"),
        (misplaced_key_reads, "class A:\n    def run(self):\n        return self.cfg.SEED"),
        (long_functions, "def f():\n" + "    pass\n" * 39),
        (unsafe_writes, "def f(path):\n    path.write_text('a')"),
        (unsafe_writes, "def f(path):\n    with open(path, 'w') as file:\n        pass"),
        (unsafe_writes, "def f(path):\n    path.open(mode='ab')"),
    ],
)
def test_rule_finds_a_planted_violation(rule, source):
    assert len(rule(parse_module("wrimnet/data/a.py", source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "def build_loader(cfg):\n    return lambda: cfg.SEED",
        "def _check_sizes(cfg):\n    return cfg.INPUT.SIZE_TRAIN",
        "class A:\n    def from_config(cls, cfg):\n        return {'a': cfg.SEED}",
        "def add_wrim_config(cfg):\n    cfg.MODEL.WRIM = 1",
        "def freeze(cfg):\n    cfg.freeze()",
        "def f(path):\n    write_text(path, open(path, 'rb').read())",
        'def f():\n    """Sum.\n' + "\n" * 40 + '    """\n' + "    pass\n" * 38,
    ],
)
def test_rules_accept_what_is_allowed(source):
    module = parse_module("wrimnet/data/a.py", source)
    rules = (stored_cfg, misplaced_key_reads, long_functions, unsafe_writes)
    assert [line for rule in rules for line in rule(module)] == []


@pytest.mark.parametrize("folder", ["work", "tmp", "root", "home"])
def test_machine_path_is_found_and_a_relative_one_is_not(folder):
    assert found_in_text(MACHINE_PATH, "a", f"see /{folder}/data") == [f"a:1: see /{folder}/data"]
    assert found_in_text(MACHINE_PATH, "a", f"see docs/{folder}/data or ~/{folder}/data") == []


@pytest.mark.parametrize("host", ["pypi" + ".org/simple", "files.python" + "hosted.org"])
def test_package_host_is_found(host):
    assert len(found_in_text(PACKAGE_HOST, "a", f"https://{host}/torch")) == 1
