"""Who may import whom, read from the syntax trees: CONTRIBUTING.md has the diagram."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

import pytest
from source_tree import (
    FUNCTIONS,
    ROOT,
    Module,
    assert_none_found,
    candidate_targets,
    imports_at_import,
    imports_of,
    imports_run_by,
    layer_of,
    parse_module,
    paths_in,
    read_modules,
)

# Each layer and the layers that it may import, itself aside. `modality` is two constants,
# `atomic_files` knows files and folders alone.
ALLOWED = {
    # Names of the Python interface, imported when they are used.
    "": {"config", "data", "evaluation", "inference", "interface", "version"},
    # The Python interface itself: no other layer imports it.
    "interface": {"compat", "config", "data", "engine", "evaluation", "inference", "metrics"}
    | {"modeling", "registries", "run_folder", "lab.synthetic"},
    "modality": set(),
    "atomic_files": set(),
    "compat": set(),
    "console": {"atomic_files"},
    "version": set(),
    "run_folder": {"atomic_files"},
    "tables": {"metrics"},
    "published": {"metrics", "tables"},
    # What YAML names, found in FastReID's registries.
    # Learning-rate schedules, named by YAML.
    "schedules": {"compat", "registries"},
    "registries": {"compat", "metrics"},
    "losses": {"modality"},
    "layers": {"modality"},
    "metrics": {"modality"},
    "config": {"atomic_files", "compat", "metrics", "registries"},
    "modeling": {"modality", "atomic_files", "layers", "losses", "compat", "config", "registries"},
    "data": {"modality", "atomic_files", "compat", "config", "registries"},
    "evaluation": {"modality", "data", "metrics", "compat", "registries", "run_folder", "tables"}
    | {"atomic_files", "config", "modeling", "version"},
    "engine": {"modality", "atomic_files", "config", "compat", "data", "evaluation", "modeling"}
    | {"console", "metrics", "registries", "run_folder", "schedules", "tables"},
    # A trained model as something to call and to export; it knows no training.
    "inference": {"modality", "atomic_files", "compat", "config", "data", "evaluation", "modeling"}
    | {"run_folder", "tables"},
    # A trained model looked at: figures and the report of a run; it knows no training either.
    "visualization": {"modality", "metrics", "compat", "config", "layers", "data", "evaluation"}
    | {"atomic_files", "modeling", "inference", "run_folder", "tables", "published"},
    # The one import that registers everything with FastReID.
    "plugin": {"compat", "config", "data", "modeling", "schedules"},
    # The methods that the field compares with: a plugin, named by no other layer.
    "peers": {"modality", "compat", "config", "registries", "layers", "losses", "data", "modeling"},
    # What the programs share: options, their types, and how an error is printed.
    "command_line": {"compat", "config", "console", "run_folder"},
    # The lab: only programs import it.
    "lab": {
        "data",
        "evaluation",
        "layers",
        "modality",
        "modeling",
        "run_folder",
        "tables",
        "visualization",
    }
    | {"compat", "config", "metrics", "registries", "lab.experiments"},
    # Starts programs as processes and reads what they wrote.
    "lab.experiments": {"modality", "atomic_files", "compat", "config", "data", "registries"}
    | {"evaluation", "metrics", "run_folder", "tables", "command_line", "visualization"}
    | {"published"},
    "lab.synthetic": {"modality", "data"},
    "lab.pairs": {"modality", "data", "evaluation", "lab.synthetic", "run_folder"},
    "lab.search": {"modality", "atomic_files", "data", "evaluation", "run_folder"},
    "lab.benchmarks": {"compat", "config", "data", "engine", "metrics", "modality", "modeling"}
    | {"tables", "visualization", "lab.synthetic", "plugin"},
    "lab.dry_run": {"compat", "config", "data", "engine", "modality", "modeling", "registries"}
    | {"tables", "lab.benchmarks"},
}
# Examples are a user's code: they use the library, but no program and nothing of the lab.
ALLOWED["examples"] = {layer for layer in ALLOWED if not layer.startswith("lab")}
BOTTOM_ROW = {"modality", "losses", "layers", "metrics"}
BOTTOM_ROW_PACKAGES = {"torch", "numpy", "wrimnet"}
FORBIDDEN_NAMES = {"util", "utils", "common", "misc", "helper", "helpers"}
MODULES = read_modules("wrimnet", "tools", "examples")
PACKAGE = [module for module in MODULES if module.name.startswith("wrimnet")]
OUTSIDE = {path.stem for name in ("tools", "tests", "examples") for path in paths_in(name)}
PROGRAM_STEMS = {path.stem for path in paths_in("tools")}
PEERS = [module for module in PACKAGE if module.name.startswith("wrimnet.peers")]
MAX_PEER_FILES, MAX_PEER_LINES = 10, 1_100
METHOD_NAME = re.compile(r"wrimnet\.peers|two_?stream|\b(CAJ|DEEN)\b", re.IGNORECASE)


def layer_violations(module: Module) -> list[str]:
    layer = layer_of(module.name)
    if layer == "tools":
        return []
    if layer not in ALLOWED:
        return [f"{module.path}: no layer is named {layer}; give it a row in ALLOWED"]
    imported = {layer_of(name) for s in imports_of(module) for name in candidate_targets(s)}
    forbidden = imported & (ALLOWED.keys() | {"tools"}) - ALLOWED[layer] - {layer, ""}
    return [f"{module.path}: {layer} may not import {name}" for name in sorted(forbidden)]


def program_violations(module: Module) -> list[str]:
    """tools/ holds programs: each calls ``run_tool(main)``, and none imports another."""
    if layer_of(module.name) != "tools":
        return []
    targets = {name for s in imports_of(module) for name in candidate_targets(s)}
    imported = {name.removeprefix("tools.").partition(".")[0] for name in targets}
    wrong = [f"{module.path}: imports the program {n}" for n in sorted(imported & PROGRAM_STEMS)]
    if PurePosixPath(module.path).parent != PurePosixPath("tools"):
        wrong.append(f"{module.path}: tools/ has no packages")
    elif "run_tool(main)" not in ast.unparse(module.tree).splitlines()[-1]:
        wrong.append(f"{module.path}: is no program; a library belongs in wrimnet/")
    return wrong


def outside_violations(module: Module) -> list[str]:
    """The package imports nothing from outside itself: no program, test or example."""
    if layer_of(module.name) in ("tools", "examples"):
        return []
    tops = {statement.target.partition(".")[0] for statement in imports_of(module)}
    return [f"{module.path}: {name} is no part of the package" for name in sorted(tops & OUTSIDE)]


def package_violations(module: Module) -> list[str]:
    """The bottom row is the paper: torch, numpy and the standard library."""
    if layer_of(module.name) not in BOTTOM_ROW:
        return []
    packages = {statement.target.partition(".")[0] for statement in imports_of(module)}
    foreign = packages - BOTTOM_ROW_PACKAGES - sys.stdlib_module_names
    return [f"{module.path}: the bottom row may not import {name}" for name in sorted(foreign)]


def form_violations(module: Module) -> list[str]:
    found = []
    for statement in imports_of(module):
        if statement.level > 0:
            found.append(f"{module.path}:{statement.line}: relative import")
        if "*" in statement.names:
            found.append(f"{module.path}:{statement.line}: import *")
    return found


def shim_violations(module: Module) -> list[str]:
    """FastReID and torchvision cannot be imported before ``wrimnet.compat`` has been."""
    repaired, shim = [], []
    for statement in imports_of(module):
        if statement.target.partition(".")[0] in ("fastreid", "torchvision"):
            repaired.append(statement.line)
        if any(layer_of(name) == "compat" for name in candidate_targets(statement)):
            shim.append(statement.line)
    if not repaired or layer_of(module.name) == "compat":
        return []
    if min(shim, default=sys.maxsize) < min(repaired):
        return []
    return [f"{module.path}: line {min(repaired)} needs `import wrimnet.compat` before it"]


def name_violations(module: Module) -> list[str]:
    stems = set(module.name.split("."))
    return [f"{module.path}: name a module after what it does" for _ in stems & FORBIDDEN_NAMES]


RULES = [
    layer_violations,
    program_violations,
    outside_violations,
    package_violations,
    form_violations,
    shim_violations,
    name_violations,
]

PLANTED = [
    (layer_violations, "wrimnet/losses/a.py", "import wrimnet.layers.miim"),
    (layer_violations, "wrimnet/metrics/a.py", "from wrimnet import data"),
    (layer_violations, "wrimnet/data/a.py", "def f():\n    from wrimnet.evaluation import x"),
    (layer_violations, "wrimnet/config/a.py", "from wrimnet.data.build import build_root"),
    (layer_violations, "wrimnet/engine/a.py", "import tools.train_net"),
    (layer_violations, "wrimnet/inference/a.py", "from wrimnet.engine.run import train"),
    (layer_violations, "wrimnet/visualization/a.py", "import wrimnet.engine.trainer"),
    (layer_violations, "wrimnet/new_layer/a.py", ""),
    (layer_violations, "examples/a.py", "from wrimnet.lab.synthetic import plan"),
    (layer_violations, "wrimnet/engine/a.py", "from wrimnet.lab.pairs import cuts"),
    (layer_violations, "wrimnet/engine/a.py", "from wrimnet.lab.network_cost import measure_cost"),
    (layer_violations, "wrimnet/lab/experiments/a.py", "import wrimnet.engine.run"),
    (layer_violations, "wrimnet/lab/pairs/a.py", "from examples.quickstart import rank"),
    (program_violations, "tools/a.py", "def f():\n    from train_net import main\nrun_tool(main)"),
    (program_violations, "tools/a.py", "import tools.train_net\nrun_tool(main)"),
    (program_violations, "tools/a.py", "def library():\n    return 1"),
    (program_violations, "tools/package/a.py", "run_tool(main)"),
    (outside_violations, "wrimnet/data/a.py", "def f():\n    from train_net import main"),
    (outside_violations, "wrimnet/data/a.py", "import fault_drill.runs"),
    (package_violations, "wrimnet/losses/a.py", "from fastreid.utils import comm"),
    (package_violations, "wrimnet/layers/a.py", "import scipy.stats"),
    (form_violations, "tools/a.py", "from wrimnet.losses import *"),
    (form_violations, "wrimnet/losses/a.py", "from . import b"),
    (shim_violations, "wrimnet/data/a.py", "import fastreid"),
    (shim_violations, "wrimnet/data/a.py", "from torchvision import models"),
    (shim_violations, "tools/a.py", "import fastreid.data\nimport wrimnet.compat"),
    (name_violations, "wrimnet/data/utils.py", ""),
    (name_violations, "wrimnet/common/a.py", ""),
]

FINE = [
    ("wrimnet/losses/a.py", "import math\nimport torch.nn\nfrom wrimnet.modality import VISIBLE"),
    ("wrimnet/data/a.py", "import wrimnet.compat\nimport fastreid.data"),
    ("wrimnet/data/a.py", "from wrimnet import compat\nfrom fastreid import data"),
    ("wrimnet/data/a.py", "from wrimnet.data.images import ImageItem"),
    ("tools/a.py", "from wrimnet.lab.pairs import cuts\nimport search_engine\nrun_tool(main)"),
    ("examples/a.py", "import wrimnet\nfrom wrimnet.losses import cmkic"),
]


def plugin_closure(modules: list[Module], *plugins: str) -> set[str]:
    """Names of the modules that importing the plugins executes, followed through imports."""
    by_name = {module.name: module for module in modules}
    reached, waiting = set(), list(plugins)
    while waiting:
        name = waiting.pop()
        if name not in by_name or name in reached:
            continue
        reached.add(name)
        waiting.append(name.rpartition(".")[0])
        for statement in imports_at_import(by_name[name]):
            waiting.extend(candidate_targets(statement))
    return reached


def registering_modules(modules: list[Module]) -> set[str]:
    """Names of the modules with a call of a FastReID registry's ``register``."""
    return {
        module.name
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("_REGISTRY.register")
    }


@pytest.mark.parametrize("rule", RULES)
def test_sources_keep_the_rule(rule):
    assert_none_found(line for module in MODULES for line in rule(module))


@pytest.mark.parametrize(("rule", "path", "source"), PLANTED)
def test_rule_finds_a_planted_violation(rule, path, source):
    assert len(rule(parse_module(path, source))) == 1


@pytest.mark.parametrize(("path", "source"), FINE)
def test_rules_accept_what_is_allowed(path, source):
    module = parse_module(path, source)
    assert [line for rule in RULES for line in rule(module)] == []


def import_arrows(modules: list[Module]) -> set[tuple[str, str]]:
    """Pairs of files, who imports and who is imported, at import or when a function runs."""
    files = {module.name for module in modules}
    arrows = set()
    for module in modules:
        for statement in imports_run_by(module):
            target, *inner = candidate_targets(statement)
            found = [name for name in inner if name in files]
            if len(found) < len(inner) or not inner:
                found.append(target)
            arrows |= {(module.name, name) for name in found if name in files}
    return {(name, other) for name, other in arrows if name != other}


def import_circle(modules: list[Module]) -> list[str]:
    """One circle of files that import each other, [] where there is none."""
    graph = {module.name: set() for module in modules}
    for name, other in import_arrows(modules):
        graph[name].add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def public_names(module: Module) -> list[str]:
    """Classes and functions of the top level, without those that are the file's own."""
    kinds = (ast.ClassDef, *FUNCTIONS)
    names = [node.name for node in module.tree.body if isinstance(node, kinds)]
    return [name for name in names if not name.startswith("_")]


def test_no_files_of_the_package_import_each_other_in_a_circle():
    assert import_circle(PACKAGE) == []


@pytest.mark.parametrize(
    ("first", "second", "circle"),
    [
        ("import wrimnet.data.b", "from wrimnet.data.a import x", True),
        ("import wrimnet.data.b", "def f():\n    from wrimnet.data import a", True),
        (
            "import wrimnet.data.b",
            "if TYPE_CHECKING:\n    from wrimnet.data.a import x\nimport math",
            False,
        ),
        ("from wrimnet.data import b", "import math", False),
    ],
)
def test_circles_are_found(first, second, circle):
    modules = [parse_module("wrimnet/data/__init__.py", "")]
    modules += [parse_module(f"wrimnet/data/{n}.py", s) for n, s in (("a", first), ("b", second))]
    assert bool(import_circle(modules)) == circle
    assert ("wrimnet.data.a", "wrimnet.data.b") in import_arrows(modules)


def test_files_classes_and_functions_have_names_of_their_own():
    files = Counter(PurePosixPath(module.path).name for module in PACKAGE)
    del files["__init__.py"]
    assert [name for name, count in files.items() if count > 1] == []
    inner = [module for module in PACKAGE if module.name != "wrimnet.interface"]
    names = Counter(name for module in inner for name in public_names(module))
    assert sorted(name for name, count in names.items() if count > 1) == []


def test_the_peers_stay_small():
    assert len(PEERS) <= MAX_PEER_FILES
    assert num_lines(PEERS) <= MAX_PEER_LINES


def num_lines(modules: list[Module]) -> int:
    texts = [(ROOT / module.path).read_text(encoding="utf-8") for module in modules]
    return sum(len(text.splitlines()) for text in texts)


def test_no_engine_evaluation_or_loader_names_a_method():
    """AGW's gallery draw has its name from the protocol, not from the method."""
    places = ("wrimnet/engine/", "wrimnet/evaluation/", "wrimnet/data/")
    texts = {m.path: (ROOT / m.path).read_text(encoding="utf-8") for m in PACKAGE}
    searched = {path: text for path, text in texts.items() if path.startswith(places)}
    assert [path for path, text in searched.items() if METHOD_NAME.search(text)] == []
    named = [path for path, text in texts.items() if METHOD_NAME.search(text)]
    assert named, "the pattern finds no method anywhere"
    assert [path for path in named if not path.startswith("wrimnet/peers/")] == []


def test_a_loaded_model_brings_no_training_code(finished_run):
    code = """
import json, sys
import numpy, wrimnet
embedder = wrimnet.load(sys.argv[1], device="cpu")
embedder.embed(numpy.zeros((2, 32, 16, 3), numpy.uint8), "visible")
print(json.dumps(sorted(sys.modules)))
"""
    command = [sys.executable, "-c", code, str(finished_run.run)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "wrimnet.inference.embedder" in loaded
    unwanted = ("wrimnet.engine", "tensorboard", "torch.utils.tensorboard", "matplotlib")
    assert [name for name in loaded if name.startswith(unwanted)] == []


def test_every_registered_class_is_reached_from_the_plugin():
    own = [module for module in MODULES if layer_of(module.name) != "examples"]  # a user's code
    registering = registering_modules(own)
    assert registering, "no module registers anything with FastReID"
    assert registering - plugin_closure(MODULES, "wrimnet.plugin", "wrimnet.peers") == set()
