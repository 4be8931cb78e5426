"""Which configuration keys source code reads, found in its syntax tree.

A read is ``cfg.A.B.C``, also through names bound to a part of the tree (``solver = cfg.SOLVER``),
and ``miim["C"]``. A name is followed inside the function that binds it. Passing a whole group on
(``f(cfg.MODEL.WRIM)``) is no read of the keys in it.
"""

import ast

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def keys_read(tree: ast.Module) -> set[str]:
    """Dotted paths below ``cfg`` that the functions of a module read."""
    found = set()
    for function in ast.walk(tree):
        if isinstance(function, FUNCTIONS):
            found |= _reads_in(function)
    return found


def _reads_in(function: ast.AST) -> set[str]:
    names = {"cfg": ""}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            names.update(_bindings(node, names))
    attributes = (n for n in ast.walk(function) if isinstance(n, (ast.Attribute, ast.Subscript)))
    loads = (node for node in attributes if isinstance(node.ctx, ast.Load))
    return {path for path in (_path(node, names) for node in loads) if path}


def _bindings(node: ast.Assign, names: dict[str, str]) -> dict[str, str]:
    """``a = cfg.A`` and ``a, b = cfg.A, cfg.B``."""
    target, value = node.targets[0], node.value
    pairs = [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = list(zip(target.elts, value.elts, strict=True))
    bound = {}
    for one_target, one_value in pairs:
        path = _path(one_value, names)
        if isinstance(one_target, ast.Name) and path:
            bound[one_target.id] = path
    return bound


def _path(node: ast.AST, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return _joined(_path(node.value, names), node.attr)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return _joined(_path(node.value, names), str(node.slice.value))
    return None


def _joined(parent: str | None, name: str) -> str | None:
    return None if parent is None else f"{parent}.{name}".lstrip(".")
