"""The pinned set, the wide ranges, the citation and the Makefile say the same thing."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import wrimnet

ROOT = Path(__file__).resolve().parent.parent
STAMPS = (".installed", ".installed-dev")


def read_pins(filename):
    """Distribution name -> pinned version, of one requirements file."""
    lines = (ROOT / filename).read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert requirements
    return {
        canonicalize_name(r.name): re.fullmatch(r"==(.+)", str(r.specifier))[1]
        for r in requirements
    }


def ranges(requirements):
    parsed = [Requirement(text) for text in requirements]
    return {canonicalize_name(requirement.name): requirement.specifier for requirement in parsed}


@pytest.fixture
def metadata(monkeypatch):
    """The arguments that setup.py hands to setuptools."""
    captured = {}
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: captured.update(arguments))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return captured


def test_tested_set_names_what_is_needed_and_what_the_figures_need(metadata):
    needed = [*metadata["install_requires"], *metadata["extras_require"]["viz"]]
    assert read_pins("requirements.txt").keys() == ranges(needed).keys()


def test_every_pin_lies_in_its_range(metadata):
    extras = metadata["extras_require"]
    declared = ranges([*metadata["install_requires"], *extras["dev"]])
    pins = read_pins("requirements.txt") | read_pins("requirements-dev.txt")
    outside = {name: pin for name, pin in pins.items() if not declared[name].contains(pin)}
    assert outside == {}


def test_pinned_torch_is_the_one_that_pinned_torchvision_asks_for():
    pins = read_pins("requirements.txt")
    if version("torchvision").partition("+")[0] != pins["torchvision"]:
        pytest.skip("another torchvision is installed than the pinned one")
    assert ranges(r for r in requires("torchvision") if ";" not in r)["torch"].contains(
        pins["torch"]
    )


def test_fastreid_stands_alone_in_its_own_file(metadata):
    everything = [metadata["install_requires"], *metadata["extras_require"].values()]
    assert all("fastreid" not in ranges(requirements) for requirements in everything)
    assert "fastreid" not in read_pins("requirements.txt") | read_pins("requirements-dev.txt")
    assert read_pins("requirements-fastreid.txt") == {"fastreid": "1.4.0"}


def test_python_floor_is_the_same_everywhere(metadata):
    assert metadata["python_requires"] == ">=3.11"
    assert "sys.version_info < (3, 11)" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_only_the_package_and_all_of_it_is_installed(metadata):
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "wrimnet").rglob("*.py")}
    assert set(metadata["packages"]) == {".".join(folder.parts) for folder in folders}


def test_version_is_written_once_and_cited(metadata):
    assert metadata["version"] == wrimnet.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == wrimnet.__version__
    assert citation["license"] == metadata["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def imported_by(statement):
    """Top-level names of the modules that a fresh interpreter has after a statement."""
    names = "sorted({name.partition('.')[0] for name in sys.modules})"
    code = f"{statement}\nimport sys\nprint({names})"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(ast.literal_eval(result.stdout))


def test_importing_the_package_needs_nothing():
    assert imported_by("import wrimnet, wrimnet.modality") & {"torch", "numpy", "fastreid"} == set()


def test_importing_the_bottom_row_does_not_import_fastreid():
    names = imported_by("import wrimnet.losses, wrimnet.layers, wrimnet.metrics")
    assert "torch" in names
    assert names & {"fastreid", "yacs", "cv2"} == set()


def make(*arguments):
    """Runs make as from a fresh shell: what `make test` hands down would change the answer."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    inherited = {
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "MAKEOVERRIDES",
        "PYTHON",
        "VENV",
        "SYSTEM_SITE",
    }
    environment = {key: value for key, value in os.environ.items() if key not in inherited}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench"])
def test_second_call_installs_nothing(tmp_path, target):
    first = make("--dry-run", target, f"VENV={tmp_path}")
    for stamp in STAMPS:
        (tmp_path / stamp).touch()
    second = make("--dry-run", target, f"VENV={tmp_path}")
    assert first.returncode == second.returncode == 0
    assert "pip install" in first.stdout
    assert "pip install" not in second.stdout
    assert second.stdout.splitlines()[0].startswith(f"{tmp_path}/bin/python ")


def test_changed_requirements_are_installed_again(tmp_path):
    for stamp in STAMPS:
        (tmp_path / stamp).touch()
    again = make("--dry-run", "test", f"VENV={tmp_path}", "--what-if=requirements.txt")
    assert "pip install -r requirements.txt" in again.stdout


def test_demo_does_not_install_the_developers_tools(tmp_path):
    commands = make("--dry-run", "demo", f"VENV={tmp_path}").stdout
    assert "requirements-dev.txt" not in commands
    assert "pip install -e '.[viz]'" in commands  # its report has figures


def test_old_interpreter_is_named_and_nothing_is_made(tmp_path):
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = make("demo", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert result.returncode != 0
    assert f"{old} is missing or older than 3.11" in result.stdout
    assert not (tmp_path / "venv").exists()


def test_help_names_every_target():
    lines = make().stdout.splitlines()
    listed = {line.partition("\t")[0] for line in lines if "\t" in line}
    assert listed == {"help", "demo", "test", "test-torch", "check", "bench", "clean"}
