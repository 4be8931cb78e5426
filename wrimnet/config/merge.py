"""Lays values from files and from the command line over a configuration, with errors in words."""

import ast
import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config.defaults import get_key, leaf_names, set_key


def merge_nested(cfg: CfgNode, content: dict[str, Any], source: str) -> None:
    """Sets every leaf of ``content`` (nested keys as read from YAML) in ``cfg``.

    Raises:
        KeyError: an unknown key; the nearest known one is named.
        ValueError: a value of another type than the key's.
    """
    for name, value in _leaves(content, cfg):
        _assign(cfg, name, _decoded(value), source)


def merge_options(cfg: CfgNode, options: Sequence[str]) -> None:
    """Sets ``KEY VALUE KEY VALUE ...`` from a command line; errors as :func:`merge_nested`."""
    if len(options) % 2:
        raise ValueError(
            f"overrides come as KEY VALUE pairs; {len(options)} words were given: {list(options)}"
        )
    for name, text in zip(options[::2], options[1::2], strict=True):
        _assign(cfg, name, _decoded(text), "the command line")


def _leaves(content: dict[str, Any], cfg: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        node = cfg.get(name) if isinstance(cfg, CfgNode) else None
        if isinstance(value, dict) and (value or isinstance(node, CfgNode)):
            yield from _leaves(value, node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _assign(cfg: CfgNode, name: str, value: Any, source: str) -> None:
    _check_known(cfg, name, source)
    set_key(cfg, name, _coerced(name, value, get_key(cfg, name), source))


def _check_known(cfg: CfgNode, name: str, source: str) -> None:
    known = leaf_names(cfg)
    if name in known:
        return
    if any(leaf.startswith(f"{name}.") for leaf in known):
        raise KeyError(f"{name!r} in {source} is a group of keys, not a key; set one of its keys")
    raise KeyError(f"unknown config key {name!r} in {source}; {_nearest(name, known)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    by_upper = {leaf.upper(): leaf for leaf in known}
    matches = difflib.get_close_matches(name.upper(), by_upper, n=1, cutoff=0.4)
    if matches:
        return f"the nearest known key is {by_upper[matches[0]]!r}"
    return "train_net.py --help-config lists the known keys"


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return _Literal(ast.literal_eval(value), value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


class _Literal:
    """A text that also reads as a Python literal; which one is meant depends on the key."""

    def __init__(self, value: Any, text: str) -> None:
        self.value = value
        self.text = text


def _coerced(name: str, value: Any, default: Any, source: str) -> Any:
    if isinstance(value, _Literal):
        value = value.text if isinstance(default, str) else value.value
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, (tuple, list)) and isinstance(value, (tuple, list)):
        return _coerced_sequence(name, value, default, source)
    if type(value) is not type(default):
        raise ValueError(_type_message(name, value, default, source))
    return value


def _coerced_sequence(name: str, value: Any, default: Any, source: str) -> Any:
    kinds = {type(element) for element in default}
    if kinds == {float}:
        value = [float(element) if type(element) is int else element for element in value]
    if len(kinds) == 1 and any(type(element) not in kinds for element in value):
        raise ValueError(_type_message(name, value, default, source))
    return type(default)(value)


def _type_message(name: str, value: Any, default: Any, source: str) -> str:
    hint = ""
    if isinstance(default, (tuple, list)) and not isinstance(value, (tuple, list)):
        hint = f"; a sequence of one is written ({value!r},)"
    return (
        f"{name} = {value!r} in {source}: expected a {type(default).__name__} "
        f"such as {default!r}, got a {type(value).__name__}{hint}"
    )
