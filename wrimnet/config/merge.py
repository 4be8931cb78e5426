"""Reads YAML files and command-line words and lays them over a configuration, errors in words."""

import ast
import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config.keys import KEYS, WORDS, Key
from wrimnet.config.tree import get_key, leaf_names, set_key
from wrimnet.config.yaml_file import read_yaml

BASE_KEY, PLUGINS = "_BASE_", "PLUGINS"
_MOST_BASES = 20
_DEFAULTS = {key.name: key.default for key in KEYS}  # whose type every value has


def read_config_file(path: str | Path) -> dict[str, Any]:
    """Reads a YAML file with those it inherits from: values by dotted key; the heir's count.

    PLUGINS of the heir adds to the base's. ``_BASE_`` is relative to the folder of its file. Raises
    as :func:`read_yaml`, and ValueError for a remote or circular base.
    """
    return _read_with_bases(Path(path), ())


def read_overlay_file(path: str | Path) -> dict[str, Any]:
    """Reads an overlay: keys laid over a configuration, without a ``_BASE_`` of its own."""
    content = read_yaml(path)
    if BASE_KEY in content:
        raise ValueError(f"overlay {path} has a {BASE_KEY}; an overlay holds only the keys it sets")
    return content


def _read_with_bases(path: Path, opened: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in opened:
        raise ValueError(f"config file {path} inherits from itself through {BASE_KEY}")
    if len(opened) > _MOST_BASES:
        raise ValueError(f"config file {path} is base number {len(opened)}; {_MOST_BASES} at most")
    content = read_yaml(path)
    if BASE_KEY not in content:
        return content
    base_path = _base_path(path, content.pop(BASE_KEY))
    base = _read_with_bases(base_path, (*opened, path.resolve()))
    plugins = join_plugins([Layer(str(base_path), base), Layer(str(path), content)])
    return {**base, **content, **({PLUGINS: plugins} if plugins else {})}


def _base_path(path: Path, base: object) -> Path:
    if not isinstance(base, str) or "://" in base:
        raise ValueError(
            f"{BASE_KEY}: {reprlib.repr(base)} in {path} is not the path of a local file"
        )
    try:
        return path.parent / Path(base).expanduser()
    except RuntimeError as error:  # "~NAME" without such a user
        raise ValueError(f"{BASE_KEY}: {reprlib.repr(base)} in {path}: {error}") from error


class Layer(NamedTuple):
    """Values by dotted key, and where they come from."""

    source: str
    content: dict[str, Any]


def _is_value(left: Sequence[str]) -> bool:
    """Whether the next word can be no key: those begin with a capital."""
    return bool(left) and not left[0][:1].isupper()


def layer_of_words(words: Sequence[str]) -> Layer:
    """Reads ``KEY VALUE`` and ``KEY=VALUE`` words of a command line; a later one counts.

    Raises ValueError: a key without a value, or spaces around "=".
    """
    content: dict[str, Any] = {}
    left = list(words)
    while left:
        name, is_pair, value = left.pop(0).partition("=")
        if not is_pair and not left:
            raise ValueError(
                f"overrides come as KEY VALUE pairs or KEY=VALUE; {name!r} has no value in "
                f"{list(words)}"
            )
        content[name] = value if is_pair else left.pop(0)
        if content[name].startswith("=") or (is_pair and not value and _is_value(left)):
            raise ValueError(f"{name}: leave no space around '=', as in SOLVER.MAX_EPOCH=20")
    return Layer("the overrides", content)


def layer_of_options(options: Sequence[str] | Mapping[str, Any]) -> Layer:
    """Reads words as :func:`layer_of_words` does, or a mapping from keys to values or paths."""
    if isinstance(options, str):
        raise ValueError(f"options is a list of words, such as {options.split()}, not one text")
    if not isinstance(options, Mapping):
        return layer_of_words(options)
    plain = {k: fspath(v) if isinstance(v, PathLike) else v for k, v in options.items()}
    return Layer("the options", plain)


def merge_layer(cfg: CfgNode, layer: Layer, keys: Sequence[Key] = KEYS) -> None:
    """Sets every leaf of a layer; KeyError for an unknown key, ValueError for another type.

    ``keys`` are those of the project and of plugins.
    """
    several = {key.name: key.default for key in keys if key.several}
    for name, value in layer.content.items():
        _check_known(cfg, name, layer.source)
        set_key(cfg, name, _value(cfg, name, value, layer.source, several))


def join_plugins(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Returns the modules of PLUGINS of every layer, each once: a layer adds to those below it."""
    named = [
        name
        for layer in layers
        for name in _coerced(PLUGINS, _decoded(layer.content.get(PLUGINS, ())), (), layer.source)
    ]
    return tuple({repr(name): name for name in named}.values())  # a wrong one may not be hashable


def _value(cfg: CfgNode, name: str, value: Any, source: str, several: Mapping[str, Any]) -> Any:
    """``several`` holds the default of each key that takes one value or a sequence of them."""
    value = _decoded(WORDS.get(f"{name} {value}", value))
    if name not in several:
        return _coerced(name, value, _DEFAULTS.get(name, get_key(cfg, name)), source)
    plain = value.value if isinstance(value, _Literal) else value
    if isinstance(plain, (tuple, list)):
        return _coerced_sequence(name, plain, (several[name],), source)
    return _coerced(name, value, several[name], source)


def _check_known(cfg: CfgNode, name: str, source: str) -> None:
    known = leaf_names(cfg)
    if name in known:
        return
    if any(leaf.startswith(f"{name}.") for leaf in known):
        raise KeyError(f"{name!r} in {source} is a group of keys, not a key; set one of its keys")
    raise KeyError(
        f"unknown config key {name!r} in {source}; {_nearest(name, known)}; a key of your own "
        "needs the module that declares it in PLUGINS"
    )


def _nearest(name: str, known: Iterable[str]) -> str:
    longer = [leaf for leaf in known if leaf.startswith(name)]
    if longer:
        return f"the nearest known key is {longer[0]!r}"
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
        f"{name} = {reprlib.repr(value)} in {source}: expected {_kind(default)}"
        f"{'' if default in ((), []) else f' such as {default!r}'}, got {_kind(value)}{hint}"
    )


def _kind(value: Any) -> str:
    name = type(value).__name__
    elements = sorted({type(e).__name__ for e in value}) if isinstance(value, list | tuple) else []
    of = f" of {' and '.join(elements)}" if elements else ""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}{of}"
