"""The benchmarks' numbers as Markdown."""

from statistics import median
from typing import Any

from wrimnet.lab.benchmarks.scaling import Point
from wrimnet.lab.benchmarks.train import TrainTimes, rates

GIGA = 1e9


def train_table(times: TrainTimes) -> str:
    """A row per variant: median and spread, speed, and fractions of the device's roofs."""
    lines = [
        "| step | ms/step, median (min - max) | img/s | x first row | MFU | byte roof | "
        "eager roof | peak GB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    measured = [row for row in times.rows if "seconds" in row]
    for row in times.rows:
        lines.append(_train_row(times, row, measured[0]))
    return "\n".join(lines) + "\n\n" + roof_lines(times)


def _train_row(times: TrainTimes, row: dict[str, Any], first: dict[str, Any]) -> str:
    if "skipped" in row:
        return f"| {row['name']} | {row['skipped']} | | | | | | |"
    found = rates(times, row)
    least, most = 1e3 * min(row["seconds"]), 1e3 * max(row["seconds"])
    ratio = median(first["seconds"]) / median(row["seconds"])
    peak = "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / GIGA:.1f}"
    return (
        f"| {row['name']} | {found['milliseconds']:.1f} ({least:.1f} - {most:.1f}) | "
        f"{found['images_per_second']:.0f} | {ratio:.2f} | {found['mfu']:.1%} | "
        f"{found['byte_roof']:.1%} | {found['eager_roof']:.1%} | {peak} |"
    )


def train_numbers(times: TrainTimes) -> dict[str, Any]:
    """Everything measured and counted, for files."""
    rows = [{**row, **(rates(times, row) if "seconds" in row else {})} for row in times.rows]
    return {
        "images": times.images,
        "num_classes": times.num_classes,
        "speed": times.speed._asdict(),
        "flops": times.cost.flops,
        "num_bytes": times.cost.num_bytes,
        "rows": rows,
    }


def roof_lines(times: TrainTimes) -> str:
    """What the fractions refer to."""
    cost, speed = times.cost, times.speed
    return (
        f"Probe of the device: {speed.flops / 1e12:.3g} TFLOP/s ({speed.number_format} matrix "
        f"product), {speed.num_bytes / GIGA:.3g} GB/s (copy). Counted for an eager step: "
        f"{cost.flops / times.images / GIGA:.2f} GFLOP and "
        f"{cost.num_bytes / times.images / GIGA:.3f} GB per image. MFU = FLOP / time / product; "
        "byte roof = bytes / time / copy; eager roof = the least time of the operators one after "
        "the other, each at the slower of the two, / time."
    )


def stage_table(stages: dict[str, list[float]]) -> str:
    """A row per stage: median milliseconds and share of the step."""
    total = sum(median(values) for values in stages.values())
    lines = ["| stage | ms, median (min - max) | share |", "|---|---:|---:|"]
    for name, values in stages.items():
        middle = median(values)
        lines.append(
            f"| {name} | {middle:.2f} ({min(values):.2f} - {max(values):.2f}) | "
            f"{middle / total:.1%} |"
        )
    return "\n".join(lines)


def scaling_table(points: list[Point]) -> str:
    """A row per setting: time, and what fills the memory."""
    lines = [
        "| axis | value | ms/step, median (min - max) | activations GB | "
        "weights, gradients, moments GB | peak GB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for point in points:
        least, most = 1e3 * min(point.seconds), 1e3 * max(point.seconds)
        peak = "-" if point.peak_bytes is None else f"{point.peak_bytes / GIGA:.2f}"
        lines.append(
            f"| {point.axis} | {point.label} | {1e3 * median(point.seconds):.1f} "
            f"({least:.1f} - {most:.1f}) | {point.activation_bytes / GIGA:.3f} | "
            f"{point.state_bytes / GIGA:.3f} | {peak} |"
        )
    return "\n".join(lines)
