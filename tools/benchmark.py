"""Measures parts of this project beside what they replace; prints Markdown, writes it and JSON.

    python tools/benchmark.py evaluation --out outputs/benchmark

The literal forms that evaluation is compared with are test oracles. They are read from
tests/reference/ beside this file, so the comparison needs a checkout, not an installed package.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wrimnet.evaluation.benchmark import benchmark_evaluation, markdown_table
from wrimnet.evaluation.provenance import describe_code, describe_machine

REFERENCE = Path(__file__).resolve().parents[1] / "tests" / "reference"


class Section(NamedTuple):
    """What one benchmark found: a heading, a table for people, numbers for files."""

    heading: str
    markdown: str
    numbers: Any


def measure_evaluation(arguments: argparse.Namespace) -> Section:
    """Ranking and re-ranking beside the literal forms, one thread."""
    loops, dense = _reference("ranking_loop"), _reference("reranking_dense")
    timings = benchmark_evaluation(
        {"literal loop": loops.rank_by_walking, "numpy per query": loops.rank_by_numpy},
        {"dense numpy": dense.rerank_dense},
        repeats=arguments.repeats,
    )
    return Section(
        "Evaluation, one thread, CPU seconds",
        markdown_table(timings),
        [timing.numbers() for timing in timings],
    )


SECTIONS: dict[str, Callable[[argparse.Namespace], Section]] = {"evaluation": measure_evaluation}


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line: one subcommand per section, and all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="section", required=True)
    for name, measure in SECTIONS.items():
        _add_options(commands.add_parser(name, help=measure.__doc__))
    _add_options(commands.add_parser("all", help="every section"))
    return parser


def main(command: Sequence[str] | None = None) -> int:
    """Runs the sections asked for."""
    arguments = build_parser().parse_args(command)
    facts = {**describe_machine(), "commit": describe_code()["commit"]}
    names = list(SECTIONS) if arguments.section == "all" else [arguments.section]
    for name in names:
        _report(name, SECTIONS[name](arguments), facts, Path(arguments.out))
    return 0


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each form")
    parser.add_argument("--out", default="outputs/benchmark", help="folder of the reports")


def _report(name: str, section: Section, facts: dict[str, Any], folder: Path) -> None:
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    text = f"## {section.heading}\n\n{described}\n\n{section.markdown}\n"
    print(text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    content = {"machine": facts, "numbers": section.numbers}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def _reference(name: str) -> Any:
    path = REFERENCE / f"{name}.py"
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: run this tool from a checkout, which has tests/")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
