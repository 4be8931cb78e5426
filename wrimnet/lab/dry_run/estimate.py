"""A dry run as text: what was counted, and what it means on known cards."""

import sys
from collections.abc import Mapping
from typing import Any

from wrimnet.lab.dry_run.cards import RESERVED_GB, Card, find_cards
from wrimnet.lab.dry_run.recipe import DryRun, dry_run
from wrimnet.tables import markdown_rows

GIGA, TERA = 1e9, 1e12
_SHOWN_OPERATORS = 8


def print_dry_run(arguments: Any) -> int:
    """Runs the command; returns 1 if there are faults, else 0."""
    cards = find_cards(arguments.gpu or ["rtx3090", "a100", "h100"])
    print("counting a step, some seconds; nothing is trained", file=sys.stderr, flush=True)
    run = dry_run(arguments.config_file, arguments.overlay, arguments.overrides)
    print(describe_estimate(run, cards))
    return 1 if run.faults else 0


def describe_estimate(run: DryRun, cards: Mapping[str, Card]) -> str:
    """Returns Markdown: the step, its memory, its traffic, the cards, what a GPU would wait for."""
    return "\n\n".join(
        [
            "Counted on a simulated CUDA device; nothing was computed, no time was measured.",
            markdown_rows(("counted", "value"), step_rows(run)),
            markdown_rows(("memory at the peak of a step, counted", "GB"), memory_rows(run)),
            markdown_rows(("traffic of a step, counted", "GB"), traffic_rows(run)),
            cards_table(run, cards),
            faults_text(run),
        ]
    )


def step_rows(run: DryRun) -> list[tuple[str, str]]:
    """What a step and an epoch are."""
    cfg, batch = run.cfg, run.cfg.SOLVER.IMS_PER_BATCH
    height, width = cfg.INPUT.SIZE_TRAIN
    flops, num_bytes = run.cost.flops, run.cost.num_bytes
    return [
        ("input, batch, precision", f"{height} x {width}, {batch}, {cfg.SOLVER.PRECISION}"),
        ("training images, iterations per epoch", f"{run.images:,}, {run.iterations:,}"),
        ("images per epoch, epochs", f"{run.iterations * batch:,}, {cfg.SOLVER.MAX_EPOCH}"),
        ("parameters", f"{run.parameters / 1e6:.1f} M"),
        ("GFLOP per step, per image", f"{flops / GIGA:,.0f}, {flops / batch / GIGA:.1f}"),
        ("GB moved per step, per image", f"{num_bytes / GIGA:.1f}, {num_bytes / batch / GIGA:.3f}"),
        ("operators that move memory per step", f"{run.cost.num_moving:,}"),
        *compiled_rows(run),
    ]


def compiled_rows(run: DryRun) -> list[tuple[str, str]]:
    """The step with the kernels that the compiler would make of it."""
    if run.compiled is None:
        return []
    return [
        ("compiled: GB moved per step, by kernels", f"{run.compiled.num_bytes / GIGA:.1f}"),
        ("compiled: kernels that move memory per step", f"{run.compiled.num_moving:,}"),
        ("batch norm's second readings, GB, in kernels only", f"{run.read_twice / GIGA:.1f}"),
    ]


def memory_rows(run: DryRun) -> list[tuple[str, str]]:
    """Gigabytes by kind, and their sum."""
    rows = [(kind, f"{size / GIGA:.2f}") for kind, size in run.peak.items()]
    return [*rows, ("together", f"{peak_gigabytes(run):.2f}")]


def peak_gigabytes(run: DryRun) -> float:
    """All that is alive at the peak."""
    return sum(run.peak.values()) / GIGA


def traffic_rows(run: DryRun) -> list[tuple[str, str]]:
    """The operators that move most, and the others together."""
    most = run.bytes_of.most_common(_SHOWN_OPERATORS)
    rest = run.cost.num_bytes - sum(size for _, size in most)
    return [(name, f"{size / GIGA:.1f}") for name, size in [*most, ("all others", rest)]]


def cards_table(run: DryRun, cards: Mapping[str, Card]) -> str:
    """Roofs of each card: operators, or kernels, one by one at the slower of its speeds."""
    header = [
        "card",
        "roofline, ms/step",
        "roofline, img/s",
        "training at the roofline, hours",
        "memory",
    ]
    if run.compiled:
        header.append("compiled: roofline, img/s")
    return markdown_rows(header, [card_row(run, name, card) for name, card in cards.items()])


def card_row(run: DryRun, name: str, card: Card) -> tuple[str, ...]:
    """One card's roofline, hours and whether the step fits."""
    solver = run.cfg.SOLVER
    speed = card.bf16 if solver.PRECISION == "bf16" else card.tf32
    peaks = speed * TERA, card.bandwidth * GIGA
    seconds = run.cost.roof_seconds(*peaks)
    compiled = run.compiled.roof_seconds(*peaks) if run.compiled else None
    hours = seconds * run.iterations * solver.MAX_EPOCH / 3600
    needed = peak_gigabytes(run) + RESERVED_GB
    fits = "fits" if needed <= card.memory else "does not fit"
    return (
        name,
        f"{1e3 * seconds:.1f}",
        f"{solver.IMS_PER_BATCH / seconds:,.0f}",
        f"{hours:.2f}",
        f"{fits}: {needed:.1f} of {card.memory:g} GB",
        *([f"{solver.IMS_PER_BATCH / compiled:,.0f}"] if compiled else []),
    )


def faults_text(run: DryRun) -> str:
    """What a GPU would wait for or do in a wider format, or that there is nothing."""
    if not run.faults:
        return (
            "No value is read in the step; every feature map of a bf16 run is bf16, channels-last."
        )
    return "\n".join(["Faults:", *(f"- {fault}" for fault in run.faults)])
