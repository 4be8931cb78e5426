"""What the command-line tools share: spelling of options, and how errors are reported.

One way everywhere: flags and ``KEY VALUE`` or ``KEY=VALUE`` overrides in any order,
``--config-file`` with ``--overlay``, or a run's folder by ``--run`` or by its position.
"""

import argparse
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config import setup_cfg
from wrimnet.config.keys import KEYS
from wrimnet.config.merge import layer_of_words
from wrimnet.config.plugins import find_plugin_place, load_plugin
from wrimnet.console import open_log, open_streams, without_middles, wrapped
from wrimnet.run_folder import CONFIG, FINAL, check_run_folder, named_weights

UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h; 1 says that results are not the expected ones
INTERRUPTED = 130  # as shells have it after Ctrl-C
_RUN_HELP = f"a run's folder: its {CONFIG} and {FINAL}; --run may be left out"
_TOP_KEYS = {key.name for key in KEYS if "." not in key.name}
_OVERRIDE = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*(=.*)?", re.DOTALL)


class _Several(argparse.Action):
    """Values of one flag, up to the first override: ``--seeds 0 1 2 SOLVER.MAX_EPOCH 3``."""

    metavar_type: Callable[[str], Any] = str

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        words = list(values)
        end = next((i for i, word in enumerate(words) if _ends_values(word)), len(words))
        try:
            converted = [self.metavar_type(word) for word in words[:end]]
        except ValueError as error:
            parser.error(f"argument {option}: {error}")
        if not converted and self.nargs == "+":
            parser.error(f"argument {option}: expected at least one value")
        setattr(namespace, self.dest, converted)
        namespace.words = [*getattr(namespace, "words", []), *words[end:]]


class _SeveralNumbers(_Several):
    metavar_type = int


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Makes the parser of a tool from its module's text."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--traceback", action="store_true", help="show the stack of an error")
    return parser


def add_several(
    parser: Any, flag: str, *, kind: type = str, nargs: str = "+", **options: Any
) -> None:
    """Adds a flag with several values, which overrides may follow."""
    action = _SeveralNumbers if kind is int else _Several
    parser.add_argument(flag, nargs=nargs, action=action, **options)


def add_config_options(parser: Any) -> None:
    """Adds ``--config-file`` and ``--overlay``; overrides follow anywhere."""
    parser.add_argument("--config-file", default="", metavar="FILE", help="YAML configuration")
    overlay_help = (
        "YAML keys laid over the configuration; its name is added to OUTPUT_DIR unless that is "
        "given; may be given several times"
    )
    parser.add_argument("--overlay", action="append", default=[], metavar="FILE", help=overlay_help)


def add_model_options(parser: Any) -> None:
    """Adds the choice of a trained model: a run's folder, or a configuration and weights."""
    parser.add_argument("--run", metavar="DIR", help=_RUN_HELP)
    add_config_options(parser)
    parser.add_argument("--weights", metavar="FILE", help=f"instead of the run's {FINAL}")


def parse(parser: argparse.ArgumentParser, command: Sequence[str] | None = None) -> Any:
    """Reads a command line, that of this process by default.

    Beside the options it has "overrides", ``KEY VALUE`` and ``KEY=VALUE`` words in their order. A
    tool without a configuration or a run takes none.
    """
    arguments, rest = parser.parse_known_args(command)
    flags = [word for word in rest if word.startswith("--")]
    if flags:
        parser.error(f"unrecognized arguments: {' '.join(flags)}")
    words = [*rest, *getattr(arguments, "words", [])]
    first = next((i for i, word in enumerate(words) if _is_override(word)), len(words))
    others, arguments.overrides = words[:first], words[first:]
    if hasattr(arguments, "run") and not arguments.run and others:
        arguments.run = others.pop(0)
    if others:
        parser.error(
            f"{others[0]!r} is neither a flag nor KEY VALUE nor KEY=VALUE, as in "
            "SOLVER.MAX_EPOCH 20"
        )
    if arguments.overrides and not {"config_file", "run"} & vars(arguments).keys():
        parser.error(
            f"{arguments.overrides[0]}: this tool reads no configuration, so it takes no KEY "
            "VALUE; --help lists its options"
        )
    return arguments


def _is_override(word: str) -> bool:
    return bool(_OVERRIDE.fullmatch(word)) and not Path(word).exists()


def _ends_values(word: str) -> bool:
    """Whether overrides begin after the values of a flag: SGD and IMG_1.JPG may be values."""
    return _is_override(word) and ("." in word or "=" in word or word in _TOP_KEYS)


def setup_model_cfg(arguments: Any) -> CfgNode:
    """Builds the configuration of the model that the command line names, MODEL.WEIGHTS set."""
    config, weights = arguments.config_file, arguments.weights
    if given := layer_of_words(arguments.overrides).content.get("MODEL.WEIGHTS"):
        raise ValueError(f"MODEL.WEIGHTS = {given!r}: give --weights {given} instead")
    if arguments.run:
        config = config or str(check_run_folder(arguments.run) / CONFIG)
        run = Path(arguments.run)
        weights = find_weights(run, weights) if weights else str(run / FINAL)
    if not config or not weights:
        raise ValueError(
            "no model is given; give --run DIR, or --config-file FILE and --weights FILE"
        )
    # a run's file names the device of that run, which this machine may not have
    words = ["MODEL.DEVICE", "auto", *arguments.overrides, "MODEL.WEIGHTS", weights]
    return setup_cfg(config, arguments.overlay, words)


def find_weights(run: Path, name: str) -> str:
    """Returns the file of weights of that path, else of that name or of that hook in the run."""
    of_run = [path for path in (run / name, run / named_weights(name)) if path.is_file()]
    return name if Path(name).is_file() else str(next(iter(of_run), name))


def run_tool(main: Callable[[], int]) -> None:
    """Runs ``main`` and exits with its code; a user's mistake ends in a sentence and code 2.

    ValueError, KeyError and OSError are raised for mistakes of the caller throughout the project,
    and their messages say what to do. ``--traceback`` on the command line shows the stack as well.
    An exception of a plug-in ends in code 2, too, and names module, file and line. Any other is a
    fault of the program: its stack, and code 70. Nothing that is printed can end the work.
    """
    open_streams()
    open_log()
    try:
        code = main()
    except (ValueError, KeyError, OSError, FloatingPointError) as error:
        if "--traceback" in sys.argv:
            traceback.print_exc()
        print_error(describe_mistake(error))
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        place = find_plugin_place(error)
        if place:
            print_error(f"{type(error).__name__}: {error}; this is an error of {place}")
        else:
            print_error("this is an internal error; please report the lines above")
        code = 2 if place else UNEXPECTED
    sys.exit(code)


def describe_mistake(error: Exception) -> str:
    """Returns the sentence of an error, with its place where a plug-in raised it."""
    place = find_plugin_place(error)
    is_key = isinstance(error, KeyError) and error.args
    if place and place.is_raised_there:
        kind = "KeyError: " if is_key else ""
        return f"{kind}{error}; raised in {place}"
    return str(error.args[0] if is_key else error)


def print_error(text: str) -> None:
    """Prints an error: wrapped on a terminal, in one line for a log."""
    text = without_middles(f"error: {text}")
    print("\n".join(wrapped(text)) if sys.stderr.isatty() else text, file=sys.stderr)


def called_as() -> str:
    """The command line of this process, as a user would write it."""
    return shlex.join(["python", str(seen_from_here(Path(sys.argv[0]))), *sys.argv[1:]])


def seen_from_here(path: Path) -> Path:
    """The path relative to the current directory where it is below it, so that records can move."""
    resolved, here = path.resolve(), Path.cwd()
    return resolved.relative_to(here) if resolved.is_relative_to(here) else path


def output_file(word: str) -> Path:
    """Reads a flag that names a file to be written: refused where it cannot be one."""
    path = Path(word)
    if path.is_dir() or not path.parent.is_dir():
        problem = (
            "is a folder" if path.is_dir() else f"lies in {path.parent}, which is not a folder"
        )
        raise argparse.ArgumentTypeError(f"{word!r} {problem}; give a file to be written")
    return kept_out_of_runs(path)


def output_folder(word: str) -> Path:
    """Reads a flag that names a folder to be written, which need not exist: refuses a file."""
    path = Path(word)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise argparse.ArgumentTypeError(f"{str(place)!r} is a file; give a folder")
    return path


def kept_out_of_runs(path: Path) -> Path:
    """Refuses to replace a file of a run, in its folder or below."""
    runs = [folder for folder in path.resolve().parents[:3] if (folder / CONFIG).is_file()]
    if path.exists() and runs:
        raise argparse.ArgumentTypeError(f"{str(path)!r} is a file of a run; give another one")
    return path


def picture_file(*endings: str) -> Callable[[str], Path]:
    """Returns what reads a flag that names a picture to be written, of one of these endings."""

    def read(word: str) -> Path:
        path = output_file(word)
        if path.suffix.lower() not in endings:
            known = " or ".join(endings)
            raise argparse.ArgumentTypeError(f"{word!r} ends in {path.suffix!r}; give {known}")
        return path

    return read


def at_least_one(word: str) -> int:
    """Reads a flag that counts something."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r}; give a whole number from 1")
    return int(word)


def add_plugin_option(parser: Any) -> None:
    """Adds ``--plugin``."""
    plugin_help = "module of your own that registers datasets; may be given several times"
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help=plugin_help)


def load_plugins(names: Sequence[str]) -> None:
    """Registers what WRIM-Net and the modules offer."""
    for name in ("wrimnet.plugin", *names):
        load_plugin(name, "--plugin")
