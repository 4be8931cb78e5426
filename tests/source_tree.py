"""The project's Python sources as syntax trees, for the tests that read code and do not run it."""

import ast
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LAB_PACKAGES = {
    f"lab.{path.name}" for path in (ROOT / "wrimnet" / "lab").iterdir() if path.is_dir()
}


class Module(NamedTuple):
    """One source file: its dotted name (``wrimnet.losses.cmkic``), path from the root and tree."""

    name: str
    path: str
    tree: ast.Module


class Import(NamedTuple):
    """One import statement's target: the dotted name it may resolve to, and where it stands."""

    target: str
    line: int
    names: tuple[str, ...]
    level: int


def parse_module(path: str, source: str) -> Module:
    parts = Path(path).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, ast.parse(source))


def paths_in(folder: str) -> list[Path]:
    """What a folder of the repository holds, [] where there is no such folder."""
    return sorted((ROOT / folder).iterdir()) if (ROOT / folder).is_dir() else []


def read_modules(*folders: str) -> list[Module]:
    """Every module below the given folders of the repository, in a fixed order."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [
        parse_module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in paths
    ]


def imports_of(module: Module) -> Iterator[Import]:
    """Every import of a module, those inside functions included."""
    return imports_among(ast.walk(module.tree))


def imports_run_by(module: Module) -> Iterator[Import]:
    """Every import but those that a type checker alone follows."""
    return imports_among(executed_nodes(module.tree))


def executed_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node below one, but those of an ``if TYPE_CHECKING:``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from executed_nodes(node)


def imports_among(nodes: Iterable[ast.AST]) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, (), 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import(node.module or "", node.lineno, names, node.level)


def imports_at_import(module: Module) -> Iterator[Import]:
    """The imports that importing the module executes: those of its top level."""
    statements = [
        node for node in module.tree.body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return imports_of(module._replace(tree=ast.Module(statements, [])))


def candidate_targets(statement: Import) -> list[str]:
    """``from a import b`` may mean the module ``a.b``; both names are returned."""
    return [statement.target, *(f"{statement.target}.{name}" for name in statement.names)]


def layer_of(name: str) -> str:
    """The layer of a module.

    ``wrimnet.losses.cmkic`` is in ``losses``, ``wrimnet.lab.pairs.cuts`` in ``lab.pairs``,
    ``tools.train_net`` in ``tools``, ``examples.quickstart`` in ``examples``; else ``""``.
    """
    top, _, rest = name.partition(".")
    if top in ("tools", "examples"):
        return top
    if top != "wrimnet":
        return ""
    parts = rest.split(".")
    is_lab_package = parts[0] == "lab" and ".".join(parts[:2]) in LAB_PACKAGES
    return ".".join(parts[:2]) if is_lab_package else parts[0]


def nodes_with_functions(
    node: ast.AST, enclosing: tuple[str, ...] = ()
) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """Every node below one, each with the names of the functions around it, outermost first."""
    for child in ast.iter_child_nodes(node):
        yield child, enclosing
        inner = (*enclosing, child.name) if isinstance(child, FUNCTIONS) else enclosing
        yield from nodes_with_functions(child, inner)


def tracked_files() -> list[str] | None:
    """The files git tracks, or None outside a checkout (an unpacked archive)."""
    if not (ROOT / ".git").exists():
        return None
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    return listing.stdout.decode().split("\0")[:-1] if listing.returncode == 0 else None


def assert_none_found(violations: Iterable[str]) -> None:
    """Fails with one violation per line, all of them."""
    found = list(violations)
    assert not found, "\n".join(["", *found])
