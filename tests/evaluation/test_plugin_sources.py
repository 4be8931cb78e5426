"""Source of plug-ins: which files are recorded, and what counts as a change."""

import hashlib
import importlib
import sys

import pytest

from wrimnet.evaluation.plugin_sources import changed_plugins, describe_plugins, plugin_hashes


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return hashlib.sha256(text.encode()).hexdigest()

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_single_module_is_recorded_with_those_beside_it(write_module):
    helper = write_module("own_terms.py", "FACTOR = 2\n")
    names = write_module("own_names.py", "import own_loss\n")
    text = "import json, own_terms\nfrom own_names import *\n__version__ = '1.2'\n"
    loss = write_module("own_loss.py", text)
    write_module("never_imported.py", "")
    importlib.import_module("own_loss")
    found = describe_plugins(["own_loss"])
    assert [(one["module"], one["version"], one["sha256"]) for one in found] == [
        ("own_loss", "1.2", loss),
        ("own_names", "1.2", names),
        ("own_terms", "1.2", helper),
    ]
    assert {one["commit"] for one in found} == {None}


def test_package_is_recorded_whole(write_module):
    write_module("own_package/__init__.py", "from own_package import parts\n")
    write_module("own_package/parts.py", "")
    write_module("own_package/later.py", "")
    write_module("other_module.py", "")
    for name in ("own_package", "other_module"):
        importlib.import_module(name)
    found = describe_plugins(["own_package.parts", "wrimnet.peers"])
    names = ["own_package.__init__", "own_package.later", "own_package.parts"]
    assert [one["module"] for one in found] == names
    assert describe_plugins([]) == describe_plugins(["wrimnet.peers"]) == []


def test_packages_and_modules_beside_are_followed(write_module):
    write_module("own_nets/__init__.py", "from . import blocks\nfrom own_terms import FACTOR\n")
    write_module("own_nets/blocks.py", "import own_tools.shapes, json, wrimnet\n")
    write_module("own_nets/template.py", "this is no Python")
    write_module("own_terms.py", "FACTOR = 2\n")
    write_module("own_tools/shapes.py", "")
    write_module("other_tools/shapes.py", "")
    importlib.import_module("own_nets")
    assert [one["module"] for one in describe_plugins(["own_nets"])] == [
        "own_nets.__init__",
        "own_nets.blocks",
        "own_nets.template",
        "own_terms",
        "own_tools.shapes",
    ]


def test_libraries_beside_an_installed_plugin_are_left_out(write_module, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    write_module("site-packages/own_installed.py", "import own_library\n")
    write_module("site-packages/own_library.py", "")
    importlib.import_module("own_installed")
    assert [one["module"] for one in describe_plugins(["own_installed"])] == ["own_installed"]


def test_package_without_init_is_recorded_whole(write_module):
    text = write_module("bare_package/parts.py", "")
    importlib.import_module("bare_package.parts")
    (source,) = describe_plugins(["bare_package.parts"])
    assert (source["module"], source["sha256"]) == ("bare_package.parts", text)
    assert source["file"].endswith("/bare_package/parts.py")


def test_changed_added_and_removed_files_are_named():
    def source(name, sha256="0", folder="old"):
        return {"module": name, "sha256": sha256, "file": f"{folder}/{name}.py"}

    before = [source(name) for name in "abc"]
    now = [source("b", "1", "new"), source("c", folder="new"), source("d")]
    assert changed_plugins(before, now) == ["old/a.py", "new/b.py", "old/d.py"]
    assert changed_plugins(before, before) == []


def test_results_name_their_plugins_by_short_hashes():
    content = {"description": {"plugins": [{"module": "my_loss", "sha256": "0123456789abcdef"}]}}
    assert plugin_hashes(content) == {"plug-in my_loss": "0123456789ab"}
    assert plugin_hashes(None) == plugin_hashes({"description": {}}) == {}
