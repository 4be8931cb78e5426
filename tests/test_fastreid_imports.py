"""The import shim: FastReID imports in a fresh process, and nothing that exists is replaced."""

import collections
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import wrimnet.compat

import pytest

from wrimnet import compat

MODULES = "fastreid.config, fastreid.engine, fastreid.modeling, fastreid.data, fastreid.evaluation"


def run_python(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_fastreid_imports_after_the_shim_and_the_package_itself_imports_nothing():
    program = (
        "import sys, wrimnet; assert not {'torch', 'fastreid'} & set(sys.modules)\n"
        f"import wrimnet.compat, {MODULES}, torchvision.models, torchvision.transforms"
    )
    run = run_python(program)
    assert run.returncode == 0, run.stderr


def test_optional_packages_are_stubbed_only_where_they_are_missing():
    """Hides faiss and scikit-learn; FastReID's evaluation still imports, and says what it lacks."""
    program = f"""
import importlib.util, sys
find = importlib.util.find_spec
hidden = ("faiss", "sklearn")
importlib.util.find_spec = lambda name, *a: None if name.split(".")[0] in hidden else find(name, *a)
import wrimnet.compat
import {MODULES}
import faiss, sklearn
assert faiss.METRIC_L2 == 1 and faiss.__spec__ is not None
assert sklearn.metrics is sys.modules["sklearn.metrics"]
"""
    run = run_python(program)
    assert run.returncode == 0, run.stderr


def test_second_call_changes_nothing():
    before = sys.modules["torch._six"], collections.Mapping, list(compat._KEPT_ALIVE)
    wrimnet.compat.apply_import_shim()
    after = sys.modules["torch._six"], collections.Mapping, list(compat._KEPT_ALIVE)
    assert before == after
    assert sys.modules["torch._six"].string_classes == (str, bytes)
    assert collections.Mapping is collections.abc.Mapping


def test_existing_names_are_not_replaced(monkeypatch):
    ours, mapping = types.ModuleType("torch._six"), object()
    monkeypatch.setitem(sys.modules, "torch._six", ours)
    monkeypatch.setattr(collections, "Mapping", mapping)
    wrimnet.compat.apply_import_shim()
    assert sys.modules["torch._six"] is ours
    assert collections.Mapping is mapping


def test_installed_package_is_not_stubbed():
    assert compat._stub_if_missing("numpy") is None
    assert compat._stub_if_missing("json.decoder") is None


def test_missing_package_is_stubbed_once(monkeypatch):
    name = "a_package_that_is_not_installed"
    monkeypatch.delitem(sys.modules, name, raising=False)
    stub = compat._stub_if_missing(name, NUMBER=3)
    assert (stub.NUMBER, sys.modules.pop(name)) == (3, stub)


@pytest.mark.parametrize("name", ["nms", "qnms"])
def test_torchvisions_operators_have_schemas(name):
    """Those that its Python side wants; torchvision 0.19 has no qnms."""
    import torch
    import torchvision

    registrations = Path(torchvision.__file__).with_name("_meta_registrations.py").read_text()
    if f'torchvision::{name}"' not in registrations:
        pytest.skip(f"torchvision {torchvision.__version__} has no {name}")
    assert hasattr(torch.ops.torchvision, name)


@pytest.mark.parametrize("name", ["_C", "_C_stable"])  # torchvision 0.29 renamed it
def test_torchvisions_library_is_found_by_both_names(name, tmp_path, monkeypatch):
    """A second definition of its operators would abort the process."""
    import torch

    package = ModuleSpec("torchvision", None, is_package=True)
    package.submodule_search_locations.append(str(tmp_path))
    loaded = []
    monkeypatch.setattr(compat.importlib.util, "find_spec", lambda name: package)
    monkeypatch.setattr(torch.ops, "load_library", loaded.append)
    assert not compat._torchvision_library_loads()
    library = tmp_path / f"{name}.so"
    library.touch()
    assert compat._torchvision_library_loads()
    assert loaded == [str(library)]


def test_deterministic_products_are_possible_on_a_gpu():
    """PyTorch reads the variable at the first product of a process, deterministic or not."""
    name = "CUBLAS_WORKSPACE_CONFIG"
    program = f"import os; os.environ.pop('{name}', None); import wrimnet.compat\n"
    run = run_python(f"{program}print(os.environ['{name}'])")
    assert run.stdout == ":4096:8\n"
