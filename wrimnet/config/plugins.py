"""Modules of PLUGINS: imports them, returns their keys, and finds the place of their errors."""

import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config.keys import Key
from wrimnet.config.tree import leaf_names, set_key

OWN_PLUGIN = "wrimnet.plugin"  # WRIM-Net registers its parts in the way that is open to everybody
_PROJECT = {"wrimnet", "__main__"}

_packages: set[str] = set()  # top-level names of the user's modules that were loaded


def add_plugins(cfg: CfgNode, names: Sequence[str]) -> list[Key]:
    """Imports WRIM-Net's plugin and those named; adds their keys to ``cfg`` and returns them.

    Raises ValueError: no such module, or a key that the table has already.
    """
    if names:
        load_plugin(OWN_PLUGIN)
    known, keys = set(leaf_names(cfg)), plugin_keys(names)
    for key in keys:
        if key.name in known:
            raise ValueError(f"a plugin of PLUGINS adds {key.name}, which exists already")
        known.add(key.name)
        set_key(cfg, key.name, key.default)
    return keys


def plugin_keys(names: Sequence[str]) -> list[Key]:
    """Returns the keys that plugins declare by a function ``add_config``."""
    modules = [load_plugin(name) for name in names]
    return [key for module in modules for key in getattr(module, "add_config", tuple)()]


def load_plugin(name: str, by: str = "PLUGINS") -> ModuleType:
    """Imports a module whose import registers something; the working folder is looked in, too.

    Raises ValueError: there is no such module, or its import fails.
    """
    if not isinstance(name, str) or not all(word.isidentifier() for word in name.split(".")):
        raise ValueError(f"{by} names {name!r}: expected the dotted name of a module")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    _packages.update({name.partition(".")[0]} - _PROJECT)
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a module of the user's does when it is imported
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            reason = f"there is no module {error.name!r} in the working folder or on PYTHONPATH"
        else:
            reason = f"its import fails: {type(error).__name__}: {error}"
        raise ValueError(f"{by} names {name!r}, but {reason}") from error


class PluginPlace(NamedTuple):
    """Where an error passed through a plug-in: the innermost line of the user's."""

    module: str
    file: str
    line: int
    is_raised_there: bool  # no code of this project ran inside it

    def __str__(self) -> str:
        return f"the plug-in {self.module}, {self.file}, line {self.line}"


def find_plugin_place(error: BaseException | None) -> PluginPlace | None:
    """Returns where an error, or what caused it, passed through a plug-in; None if nowhere."""
    while error is not None:
        place = None
        for frame, line in traceback.walk_tb(error.__traceback__):
            module = frame.f_globals.get("__name__") or ""
            package = module.partition(".")[0]
            if package in _packages:
                place = PluginPlace(module, frame.f_code.co_filename, line, True)
            elif place and package in _PROJECT:
                place = place._replace(is_raised_there=False)
        if place:
            return place
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None
