"""Modules of one's own that a tool without a configuration loads, instead of the key PLUGINS."""

from collections.abc import Sequence
from typing import Any

from wrimnet.config.setup import load_plugin


def add_plugin_option(parser: Any) -> None:
    """Adds ``--plugin``."""
    plugin_help = "module of your own that registers datasets; may be given several times"
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help=plugin_help)


def load_plugins(names: Sequence[str]) -> None:
    """Registers what WRIM-Net and the modules offer."""
    for name in ("wrimnet.plugin", *names):
        load_plugin(name, "--plugin")
