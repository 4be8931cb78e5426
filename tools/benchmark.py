"""Measures parts of this project beside what they replace; prints Markdown, writes it and JSON.

    python tools/benchmark.py data --out outputs/benchmark
    python tools/benchmark.py train --out outputs/benchmark SOLVER.IMS_PER_BATCH 64
    python tools/benchmark.py train --nproc 4 --out outputs/benchmark
    python tools/benchmark.py evaluation --out outputs/benchmark

The literal forms that evaluation is compared with are test oracles. They are read from
tests/reference/ beside this file, so the comparison needs a checkout, not an installed package.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from wrimnet.atomic_files import write_text
from wrimnet.command_line import make_parser, parse, run_tool
from wrimnet.run_folder import write_json

REFERENCE = Path(__file__).resolve().parents[1] / "tests" / "reference"


class Section(NamedTuple):
    """What one benchmark found: a heading, a table for people, numbers for files."""

    heading: str
    markdown: str
    numbers: Any


def measure_evaluation(arguments: Any) -> Section:
    """Ranking and re-ranking beside the literal forms, one thread."""
    from wrimnet.lab.benchmarks.evaluation import benchmark_evaluation, evaluation_table

    loops, dense = _reference("ranking_loop"), _reference("reranking_dense")
    timings = benchmark_evaluation(
        {"literal loop": loops.rank_by_walking, "numpy per query": loops.rank_by_numpy},
        {"dense numpy": dense.rerank_dense},
        repeats=arguments.repeats,
    )
    return Section(
        "Evaluation, one thread, CPU seconds",
        evaluation_table(timings),
        [timing.numbers() for timing in timings],
    )


def measure_data(arguments: Any) -> Section:
    """Files to batches of 384 x 144, beside FastReID's own transforms and the classic way."""
    import torch

    from wrimnet.lab.benchmarks.data import benchmark_data, ways_table

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        classic = _reference("classic_augmentation").ClassicAugmentation
        ways = benchmark_data(Path(folder), device, classic, repeats=arguments.repeats)
    return Section("Data path, JPEG of 300 x 120 to 384 x 144", ways_table(ways), ways)


def measure_train(arguments: Any) -> Section:
    """Training steps from FastReID's way to ours, and the stages of ours; small on a CPU."""
    from wrimnet.lab.benchmarks.benchmark_setup import (
        build_description,
        build_num_images,
        setup_benchmark_cfg,
    )
    from wrimnet.lab.benchmarks.benchmark_tables import stage_table, train_numbers, train_table
    from wrimnet.lab.benchmarks.processes import build_process_rows, process_table
    from wrimnet.lab.benchmarks.stages import build_stage_profile
    from wrimnet.lab.benchmarks.timing import one_thread
    from wrimnet.lab.benchmarks.train import build_train_times

    cfg = setup_benchmark_cfg(arguments.config_file, arguments.overrides)
    repeats, steps = arguments.repeats, arguments.steps
    if arguments.nproc > 1:
        counts = [1, *(count for count in (2, 4, 8, 16) if count < arguments.nproc)]
        rows = build_process_rows(cfg, [*counts, arguments.nproc], repeats=repeats, steps=steps)
        text = f"{build_description(cfg, by_wall=True)}\n\n{process_table(rows)}"
        return Section("Training step by several processes", text, rows)
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        times = build_train_times(cfg, repeats=repeats, steps=steps)
        images = build_num_images(cfg)
        stages = build_stage_profile(cfg, Path(folder), num_images=images, steps=repeats * steps)
    text = f"{build_description(cfg)}\n\n{train_table(times)}\n\n{stage_table(stages)}"
    return Section("Training step", text, {**train_numbers(times), "stages": stages})


def measure_scaling(arguments: Any) -> Section:
    """Time and memory of a step against batch, input size and identities; small on a CPU."""
    from wrimnet.lab.benchmarks.benchmark_setup import (
        build_description,
        setup_axes,
        setup_benchmark_cfg,
    )
    from wrimnet.lab.benchmarks.benchmark_tables import scaling_table
    from wrimnet.lab.benchmarks.cost_figure import draw_costs
    from wrimnet.lab.benchmarks.scaling import build_points
    from wrimnet.lab.benchmarks.timing import one_thread
    from wrimnet.visualization.drawing import save_figure

    cfg = setup_benchmark_cfg(arguments.config_file, arguments.overrides)
    repeats, steps = arguments.repeats, arguments.steps
    with one_thread():
        points = build_points(cfg, **setup_axes(cfg), repeats=repeats, steps=steps)
    numbers = [point._asdict() for point in points]
    heading = "Cost of a training step"
    save_figure(draw_costs(heading, numbers), arguments.out, "scaling")
    return Section(heading, f"{build_description(cfg)}\n\n{scaling_table(points)}", numbers)


SECTIONS: dict[str, Callable[[Any], Section]] = {
    "data": measure_data,
    "train": measure_train,
    "scaling": measure_scaling,
    "evaluation": measure_evaluation,
}


def main() -> int:
    """Runs the sections asked for."""
    parser = make_parser(__doc__)
    parser.add_argument("section", choices=(*SECTIONS, "all"), help="what is measured")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each form")
    parser.add_argument("--out", default="outputs/benchmark", help="folder of the reports")
    parser.add_argument("--steps", type=int, default=10, help="training steps in a measurement")
    parser.add_argument("--nproc", type=int, default=1, help="train: processes that share a batch")
    parser.add_argument("--config-file", default="", help="training; the default fits the device")
    arguments = parse(parser)

    from wrimnet.evaluation.provenance import describe_code, describe_machine

    facts = {**describe_machine(), "commit": describe_code()["commit"]}
    names = list(SECTIONS) if arguments.section == "all" else [arguments.section]
    for name in names:
        _report(name, SECTIONS[name](arguments), facts, Path(arguments.out))
    return 0


def _report(name: str, section: Section, facts: dict[str, Any], folder: Path) -> None:
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    text = f"## {section.heading}\n\n{described}\n\n{section.markdown}\n"
    print(text)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.md", text)
    write_json(folder / f"{name}.json", {"machine": facts, "numbers": section.numbers})


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
    run_tool(main)
