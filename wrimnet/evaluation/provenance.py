"""Which code and which weights a result was made with."""

import ast
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wrimnet.atomic_files import file_sha256
from wrimnet.run_folder import RESULTS
from wrimnet.version import __version__


def describe_code() -> dict[str, str | None]:
    """Returns the versions of this package and of torch, and the commit where git knows one.

    A commit with changed files is marked "+changes".
    """
    return {
        "wrimnet": __version__,
        "torch": torch.__version__,
        "commit": _commit(Path(__file__)),
    }


def describe_plugins(names: Sequence[str]) -> list[dict[str, str | None]]:
    """Returns module, version, hash and commit of every source file of the plug-ins.

    These are all files of the package that a name of PLUGINS is in; of a plug-in that is a single
    module, also the modules beside it that it imports. The package's own plug-ins are left out:
    :func:`describe_code` has their version.
    """
    tops = sorted({name.partition(".")[0] for name in names} - {"wrimnet"})
    return [
        {
            "module": module,
            "version": getattr(sys.modules[top], "__version__", None),
            "sha256": file_sha256(file),
            "commit": _commit(file),
        }
        for top in tops
        for module, file in sorted(_sources(top).items())
    ]


def _sources(top: str) -> dict[str, Path]:
    """Returns the source files of a loaded package or module, by name."""
    file = Path(sys.modules[top].__file__ or "")
    if file.name == "__init__.py":
        found = {path.relative_to(file.parents[1]): path for path in file.parent.rglob("*.py")}
        return {".".join(name.with_suffix("").parts): path for name, path in found.items()}
    return _imported_beside(file)


def _imported_beside(file: Path) -> dict[str, Path]:
    """Returns a module and those of its folder that it imports, directly or not."""
    found, waiting = {}, [file]
    while waiting:
        path = waiting.pop()
        if path.stem in found or not path.is_file():
            continue
        found[path.stem] = path
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                waiting += [path.with_name(f"{one.name}.py") for one in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting.append(path.with_name(f"{node.module}.py"))
    return found


def plugin_hashes(content: Mapping[str, Any] | None) -> dict[str, str]:
    """Returns the short hash of every plug-in module of results.json, by "plug-in NAME"."""
    plugins = content["description"].get("plugins", []) if content else []
    return {f"plug-in {one['module']}": one["sha256"][:12] for one in plugins}


def changed_plugins(
    before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Returns the modules of plug-ins whose source differs, or that only one side has."""
    old, new = ({one["module"]: one["sha256"] for one in side} for side in (before, now))
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def describe_machine() -> dict[str, str]:
    """Returns the processor, the GPU where there is one, and the versions that numbers rest on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "gpu": gpu,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def describe_environment(device: str) -> dict[str, str]:
    """Returns where a run takes place: code, machine, system and device."""
    code = {name: value or "unknown" for name, value in describe_code().items()}
    system = f"{platform.system()} {platform.release()}"
    return {**code, **describe_machine(), "system": system, "device": device}


def describe_weights(path: str | None) -> dict[str, str] | None:
    """Returns path and sha256 of a weights file, or None for weights that are in memory only."""
    return None if path is None else {"path": str(path), "sha256": file_sha256(path)}


def scored_sha256(content: Mapping[str, Any]) -> str | None:
    """Returns the sha256 of the weights that results.json is of, None where it does not say."""
    return (content["description"].get("weights") or {}).get("sha256")


def check_scored(content: Mapping[str, Any], file: Path) -> None:
    """Refuses results of other weights than those that lie beside them, where these are there."""
    scored = scored_sha256(content)
    if scored and file.is_file() and scored != file_sha256(file):
        other = content["description"]["weights"]["path"]
        raise ValueError(
            f"{file.parent / RESULTS} is of other weights ({other}) than {file.name}; put the "
            "right one back, or remove it and go on with --resume, which evaluates again"
        )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit(file: Path) -> str | None:
    folder = file.parent
    tracked = _git(folder, "ls-files", "--error-unmatch", file.name)
    commit = _git(folder, "rev-parse", "HEAD")
    if not tracked or not commit:
        return None  # installed as a package, perhaps inside somebody else's repository
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError:  # git is not installed
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
