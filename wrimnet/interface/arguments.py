"""How the tools that use a trained model are told which: a run's folder, or two files."""

import argparse
from pathlib import Path

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config import setup_cfg
from wrimnet.engine.checkpointing import FINAL

CONFIG = "config.yaml"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--run``, ``--config-file``, ``--weights`` and the overrides to a command line."""
    parser.add_argument("--run", metavar="DIR", help=f"a run's folder: its {CONFIG} and {FINAL}")
    parser.add_argument("--config-file", metavar="FILE", help=f"instead of the run's {CONFIG}")
    parser.add_argument("--weights", metavar="FILE", help=f"instead of the run's {FINAL}")
    parser.add_argument("--traceback", action="store_true", help="show the stack of an error")
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="overrides of the configuration"
    )


def setup_model_cfg(arguments: argparse.Namespace) -> CfgNode:
    """Builds the configuration that the command line names, MODEL.WEIGHTS set.

    Raises:
        ValueError: neither a run nor both files.
        FileNotFoundError: a file is not there.
    """
    config, weights = arguments.config_file, arguments.weights
    if arguments.run:
        config = config or str(Path(arguments.run, CONFIG))
        weights = weights or str(Path(arguments.run, FINAL))
    if not config or not weights:
        raise ValueError("which model? give --run DIR, or --config-file FILE and --weights FILE")
    # a run's file names the device of that run, which this machine may not have
    words = ["MODEL.DEVICE", "auto", *arguments.opts, "MODEL.WEIGHTS", weights]
    return setup_cfg(config, options=words)
