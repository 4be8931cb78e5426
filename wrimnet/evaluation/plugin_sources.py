"""The source files of plug-ins: what a run records of them, and which of them have changed.

Nothing here imports torch: jobs of experiments compare sources before they start a training.
"""

import ast
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wrimnet.atomic_files import file_sha256
from wrimnet.evaluation.source_commit import source_commit

Source = Mapping[str, Any]  # "module", "file", "sha256", "version"; a run records "commit", too
OF_PLUGINS = "plug-in "  # before the name of a module, among other facts of a run


def describe_plugins(names: Sequence[str]) -> list[dict[str, str | None]]:
    """Returns the sources of :func:`list_sources`, each with its commit."""
    sources = list_sources(names)
    return [{**source, "commit": source_commit(Path(source["file"]))} for source in sources]


def list_sources(names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns module, file, hash and version of every source file of the plug-ins that are loaded.

    These are all files of the package that a name of PLUGINS is in; of a plug-in that is a single
    module, also the modules beside it that it imports. WRIM-Net's own plug-ins are left out: the
    description of the code has their version.
    """
    tops = sorted({name.partition(".")[0] for name in names} - {"wrimnet"})
    return [
        {
            "module": module,
            "file": str(file),
            "sha256": file_sha256(file),
            "version": getattr(sys.modules[top], "__version__", None),
        }
        for top in tops
        for module, file in sorted(_sources(top).items())
    ]


def _sources(top: str) -> dict[str, Path]:
    """Returns the source files of a loaded package or module, by name."""
    module = sys.modules[top]
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]  # with __init__ or not
    if not folders and module.__file__:
        return _imported_beside(Path(module.__file__))
    found = {p.relative_to(folder.parent): p for folder in folders for p in folder.rglob("*.py")}
    return {".".join(name.with_suffix("").parts): path for name, path in found.items()}


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


def recorded_plugins(content: Mapping[str, Any]) -> list[Source]:
    """Returns the sources that results.json records."""
    return content["description"].get("plugins", [])


def plugin_hashes(content: Mapping[str, Any] | None) -> dict[str, str]:
    """Returns the short hash of every plug-in module of results.json, by "plug-in NAME"."""
    plugins = recorded_plugins(content) if content else []
    return {f"{OF_PLUGINS}{one['module']}": one["sha256"][:12] for one in plugins}


def changed_plugins(before: Iterable[Source], now: Iterable[Source]) -> list[str]:
    """Returns the files whose source differs, or that only one side has."""
    old, new = ({one["module"]: one for one in side} for side in (before, now))
    changed = [m for m in old.keys() | new.keys() if _sha256(old, m) != _sha256(new, m)]
    return [{**old, **new}[module]["file"] for module in sorted(changed)]


def _sha256(sources: Mapping[str, Source], module: str) -> str | None:
    return sources[module]["sha256"] if module in sources else None
