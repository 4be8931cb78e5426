"""Who may import whom, read from the syntax trees: see CONTRIBUTING.md for the picture."""

import ast
import sys

import pytest
from source_tree import (
    Module,
    assert_none_found,
    candidate_targets,
    imports_at_import,
    imports_of,
    layer_of,
    parse_module,
    read_modules,
)

# Each layer and the layers that it may import, itself aside. `modality` is two constants,
# `atomic_files` one function.
ALLOWED = {
    # `wrimnet.load` is the interface, imported when it is called.
    "": {"interface"},
    "modality": set(),
    "atomic_files": set(),
    "compat": set(),
    "losses": {"modality"},
    "layers": {"modality"},
    "metrics": {"modality"},
    "config": {"compat"},
    "modeling": {"modality", "layers", "losses", "compat"},
    "data": {"modality", "compat"},
    "evaluation": {"modality", "data", "metrics", "compat"},
    "engine": {"modality", "atomic_files", "config", "compat", "data", "evaluation", "modeling"}
    | {"plugin"},
    "analysis": {"modality", "metrics"},
    # Runs the tools as processes, reads what they wrote and draws it.
    "experiments": {"modality", "atomic_files", "config", "analysis"},
    # A trained model as something to call: `wrimnet.load` and what the tools share of it.
    "interface": {"modality", "compat", "config", "data", "engine", "evaluation"},
    # What is made of a model: arrays of its inside and of its test set, handed to analysis to draw.
    "inspection": {"modality", "metrics", "compat", "config", "layers", "data", "engine"}
    | {"evaluation", "interface", "analysis"},
    # Embeddings in, files or rows out; they know neither models nor configurations.
    "search": {"modality", "atomic_files"},
    "export": {"modality"},
    # Runs under faults, and what they left behind compared.
    "reliability": {"config", "data", "engine", "command_line"},
    # The one import that registers everything with FastReID.
    "plugin": {"compat", "config", "data", "modeling"},
    # What the tools share: how a user's mistake is told.
    "command_line": set(),
}
EXCEPTIONS = {
    # FastReID's build_model(cfg) reaches our code first in the meta-architecture's from_config,
    # the one place to refuse a key that we do not read when our own engine is not in use.
    ("wrimnet/modeling/meta_arch/wrim_net.py", "config"),
}
BOTTOM_ROW = {"modality", "losses", "layers", "metrics"}
BOTTOM_ROW_PACKAGES = {"torch", "numpy", "wrimnet"}
FORBIDDEN_NAMES = {"util", "utils", "common", "misc", "helper", "helpers"}
MODULES = read_modules("wrimnet", "tools")


def layer_violations(module: Module) -> list[str]:
    layer = layer_of(module.name)
    if layer == "tools":
        return []
    if layer not in ALLOWED:
        return [f"{module.path}: no layer is named {layer}; give it a row in ALLOWED"]
    imported = {layer_of(name) for s in imports_of(module) for name in candidate_targets(s)}
    forbidden = (imported & ALLOWED.keys() | {"tools"} & imported) - ALLOWED[layer] - {layer, ""}
    return [
        f"{module.path}: {layer} may not import {name}"
        for name in sorted(forbidden)
        if (module.path, name) not in EXCEPTIONS
    ]


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
    """FastReID cannot be imported before ``wrimnet.compat`` has been."""
    lines = {"fastreid": [], "wrimnet": []}
    for statement in imports_of(module):
        top = statement.target.partition(".")[0]
        is_shim = any(layer_of(name) == "compat" for name in candidate_targets(statement))
        if top == "fastreid" or is_shim:
            lines[top].append(statement.line)
    if not lines["fastreid"] or layer_of(module.name) == "compat":
        return []
    if min(lines["wrimnet"], default=sys.maxsize) < min(lines["fastreid"]):
        return []
    return [f"{module.path}: fastreid is imported without `import wrimnet.compat` before it"]


def name_violations(module: Module) -> list[str]:
    stems = set(module.name.split("."))
    return [f"{module.path}: name a module after what it does" for _ in stems & FORBIDDEN_NAMES]


RULES = [layer_violations, package_violations, form_violations, shim_violations, name_violations]

PLANTED = [
    (layer_violations, "wrimnet/losses/a.py", "import wrimnet.layers.miim"),
    (layer_violations, "wrimnet/metrics/a.py", "from wrimnet import data"),
    (layer_violations, "wrimnet/data/a.py", "def f():\n    from wrimnet.evaluation import x"),
    (layer_violations, "wrimnet/modeling/a.py", "from wrimnet.config import get_cfg"),
    (layer_violations, "wrimnet/engine/a.py", "import tools.train_net"),
    (layer_violations, "wrimnet/new_layer/a.py", ""),
    (package_violations, "wrimnet/losses/a.py", "from fastreid.utils import comm"),
    (package_violations, "wrimnet/layers/a.py", "import scipy.stats"),
    (form_violations, "tools/a.py", "from wrimnet.losses import *"),
    (form_violations, "wrimnet/losses/a.py", "from . import b"),
    (shim_violations, "wrimnet/data/a.py", "import fastreid"),
    (shim_violations, "tools/a.py", "import fastreid.data\nimport wrimnet.compat"),
    (name_violations, "wrimnet/data/utils.py", ""),
    (name_violations, "wrimnet/common/a.py", ""),
]

FINE = [
    ("wrimnet/losses/a.py", "import math\nimport torch.nn\nfrom wrimnet.modality import VISIBLE"),
    ("wrimnet/data/a.py", "import wrimnet.compat\nimport fastreid.data"),
    ("wrimnet/data/a.py", "from wrimnet import compat\nfrom fastreid import data"),
    ("wrimnet/data/a.py", "from wrimnet.data.items import ImageItem"),
    ("tools/a.py", "from wrimnet.engine import trainer\nfrom wrimnet.losses import cmkic"),
]


def plugin_closure(modules: list[Module]) -> set[str]:
    """Names of the modules that ``import wrimnet.plugin`` executes, followed through imports."""
    by_name = {module.name: module for module in modules}
    reached, waiting = set(), ["wrimnet.plugin"]
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


def test_every_exception_is_still_needed():
    imported = {
        (module.path, layer_of(name))
        for module in MODULES
        for statement in imports_of(module)
        for name in candidate_targets(statement)
    }
    assert imported >= EXCEPTIONS


def test_every_registered_class_is_reached_from_the_plugin():
    registering = registering_modules(MODULES)
    assert registering, "no module registers anything with FastReID"
    assert registering - plugin_closure(MODULES) == set()
