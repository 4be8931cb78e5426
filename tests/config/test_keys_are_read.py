"""A key nobody reads is a lie to the user: each key of the table is read by code outside config."""

import ast
import inspect

import wrimnet.compat

import pytest
from fastreid.modeling.backbones import build_backbone
from fastreid.modeling.meta_arch import build_model
from key_reads import keys_read
from source_tree import layer_of, read_modules

import wrimnet.plugin  # noqa: F401  registers the datasets
from wrimnet.config import build_network_settings
from wrimnet.config.keys import KEYS
from wrimnet.config.setup import build_infrared_range
from wrimnet.losses.total import TERMS
from wrimnet.peers import add_config
from wrimnet.registries import datasets

ALL_KEYS = (*KEYS, *add_config())
# Read by FastReID's own functions, or by functions of the config layer that others call.
READ_IN = {
    "PLUGINS": build_network_settings,
    "MODEL.META_ARCHITECTURE": build_model,
    "MODEL.BACKBONE.NAME": build_backbone,
    "INPUT.INFRARED_RANGE": build_infrared_range,
    "INPUT.MEASURED_RANGE": build_infrared_range,
}
# Read by the name that stands in a table: of the loss terms, or of a dataset.
BY_NAME = {name for term in TERMS for name in (*term.weights, *term.settings.values())} | {
    dataset.number_key for dataset in datasets().values() if dataset.number_key
}
READS = BY_NAME | {
    path
    for module in read_modules("wrimnet", "tools")
    if layer_of(module.name) != "config"
    for path in keys_read(module.tree)
}


@pytest.mark.parametrize("name", [key.name for key in ALL_KEYS])
def test_key_is_read(name):
    if name in READ_IN:
        assert f"cfg.{name}" in inspect.getsource(READ_IN[name])
    else:
        assert name in READS


def test_no_key_is_read_that_the_table_does_not_declare():
    names = {key.name for key in ALL_KEYS}
    groups = {
        name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)
    }
    methods = {"clone", "defrost", "freeze", "dump", "is_frozen", "merge_from_file"}
    undeclared = {path for path in READS - names - groups if path.rpartition(".")[2] not in methods}
    elements = {path for path in undeclared if path.rpartition(".")[0] in names}  # NAMES[0]
    assert undeclared - elements == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(cfg):\n    return cfg.A.B", {"A", "A.B"}),
        ("def f(cfg):\n    a = cfg.A\n    b = a.B\n    return b.C", {"A", "A.B", "A.B.C"}),
        ("def f(cfg):\n    a, n = cfg.A, 1\n    return a['B']", {"A", "A.B"}),
        ("def f(cfg):\n    return lambda: cfg.A", {"A"}),
        ("def f(cfg):\n    cfg.A.B = 1", {"A"}),
        ("def f(cfg):\n    a = cfg.A\ndef g(a):\n    return a.B", {"A"}),
        ("def f(cfg):\n    return 'cfg.A'", set()),
    ],
)
def test_reads_are_found(source, found):
    assert keys_read(ast.parse(source)) == found
