"""Measures the speed of parts of this project; prints Markdown, writes it and JSON.

python tools/benchmark.py data --out outputs/benchmark
python tools/benchmark.py train --out outputs/benchmark SOLVER.IMS_PER_BATCH 64
python tools/benchmark.py train --nproc 4 --out outputs/benchmark
python tools/benchmark.py scaling --out outputs/benchmark
python tools/benchmark.py evaluation --out outputs/benchmark
"""

import importlib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from wrimnet.atomic_files import write_text
from wrimnet.command_line import at_least_one, make_parser, output_folder, parse, run_tool
from wrimnet.run_folder import write_json

SECTIONS = ("data", "train", "scaling", "evaluation")  # modules of wrimnet.lab.benchmarks


def main() -> int:
    """Runs the sections asked for."""
    parser = make_parser(__doc__)
    parser.add_argument("section", choices=(*SECTIONS, "all"), help="what is measured")
    for flag, default, text in (
        ("--repeats", 5, "number of measurements; the median is reported"),
        ("--steps", 10, "steps or batches in a measurement"),
        ("--nproc", 1, "train: processes that share a batch"),
    ):
        parser.add_argument(flag, type=at_least_one, default=default, help=text)
    out = Path("outputs/benchmark")
    parser.add_argument("--out", type=output_folder, default=out, help="folder of the reports")
    parser.add_argument("--config-file", default="", help="the default fits the device")
    parser.set_defaults(overrides=[])
    arguments = parse(parser)
    if arguments.section == "evaluation":
        check_evaluation(parser, arguments)
    for name in SECTIONS if arguments.section == "all" else [arguments.section]:
        module = importlib.import_module(f"wrimnet.lab.benchmarks.{name}")
        section = getattr(module, f"measure_{name}")(arguments)
        _report(name, section, arguments.out)
    return 0


def check_evaluation(parser: ArgumentParser, arguments: Any) -> None:
    """Refuses what the benchmark of the evaluation does not read: its matrices have fixed sizes."""
    words = {"config_file": "--config-file", "overrides": "KEY VALUE"}
    words |= {"steps": "--steps", "nproc": "--nproc"}
    given = [w for name, w in words.items() if getattr(arguments, name) != parser.get_default(name)]
    if given:
        parser.error(
            f"{', '.join(given)}: evaluation measures matrices of fixed sizes, --repeats times; "
            "leave this out, or choose data, train or scaling"
        )


def _report(name: str, section: Any, folder: Path) -> None:
    from wrimnet.evaluation.provenance import describe_code, describe_machine

    facts = {**describe_machine(), "commit": describe_code()["commit"]}
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    text = f"## {section.heading}\n\n{described}\n\n{section.markdown}\n"
    print(text)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.md", text)
    write_json(folder / f"{name}.json", {"machine": facts, "numbers": section.numbers})


if __name__ == "__main__":
    run_tool(main)
