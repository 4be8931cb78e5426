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
_NOT_PLUGINS = {"wrimnet", ""}
_INSTALLED = {"site-packages", "dist-packages"}
OF_PLUGINS = "plug-in "  # before the name of a module, among other facts of a run


def describe_plugins(names: Sequence[str]) -> list[dict[str, str | None]]:
    """Returns the sources of :func:`list_sources`, each with its commit."""
    sources = list_sources(names)
    return [{**source, "commit": source_commit(Path(source["file"]))} for source in sources]


def list_sources(names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns module, file, hash and version of every source file of the plug-ins that are loaded.

    These are all files of the package, or the one module, that a name of PLUGINS is in, and the
    packages and modules beside it that these import. Of an installed plug-in the latter are left
    out: the files beside it are libraries. WRIM-Net's own plug-ins are left out as well: the
    description of the code has their version.
    """
    tops = sorted({name.partition(".")[0] for name in names} - _NOT_PLUGINS)
    sources: dict[str, dict[str, Any]] = {}
    for top in tops:
        version = getattr(sys.modules[top], "__version__", None)
        for module, file in _sources(top).items():
            source = {"module": module, "file": str(file), "sha256": file_sha256(file)}
            sources.setdefault(module, source | {"version": version})
    return [sources[module] for module in sorted(sources)]


def _sources(top: str) -> dict[str, Path]:
    """Returns the source files of a loaded package or module and of what it imports, by name."""
    module = sys.modules[top]
    places = [*getattr(module, "__path__", ())] or [module.__file__ or ""]
    sources: dict[str, Path] = {}
    for root in {Path(place).parent for place in places if place}:
        waiting, seen = [top], set(_NOT_PLUGINS)
        while waiting:
            if (name := waiting.pop()) in seen:
                continue
            seen.add(name)
            files = _files(root, name)
            sources |= {".".join(f.relative_to(root).with_suffix("").parts): f for f in files}
            if not _INSTALLED & {*root.parts}:
                waiting += [imported for file in files for imported in _imported(file)]
    return sources


def _files(root: Path, name: str) -> list[Path]:
    """Returns the files of a package or module in a folder, as Python would find it there."""
    folder, file = root / name, root / f"{name}.py"
    if file.is_file() and not (folder / "__init__.py").is_file():
        return [file]
    return [*folder.rglob("*.py")]


def _imported(file: Path) -> set[str]:
    """Returns the packages and modules that a file imports by absolute names."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # a file that nothing has imported
        return set()
    nodes = [*ast.walk(tree)]
    names = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in (*names, *(node.module or "" for node in froms))}


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
