"""Trains WRIM-Net and the methods that the field compares with alike; prints the fair table.

    python tools/fair_table.py --dataset Synthetic --seeds 0 1 2 --gpus --threads 1
    python tools/fair_table.py --dataset LLCM --seeds 0 1 2

Every method sees the same images in the same batches: the dataset's fair.yml is laid over its
configuration. A second call repeats no finished run. Exit code 1 if a run failed.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from wrimnet.command_line import add_several, called_as, make_parser, parse, run_tool
from wrimnet.lab.experiments.experiment_command import (
    INTERRUPTED,
    add_experiment_options,
    draw_if_missing,
    make_setting,
    work_through,
)
from wrimnet.lab.experiments.experiment_report import facts_of
from wrimnet.lab.experiments.plans import Row, plan_rows, setup_planned_cfg
from wrimnet.lab.experiments.records import Record, read_records
from wrimnet.lab.experiments.row_report import (
    COSTS,
    PRINTED_HEADER,
    Report,
    RowRuns,
    by_seed,
    difference_table,
    gather,
)
from wrimnet.run_folder import read_metrics
from wrimnet.tables import MISSING, Table, markdown

METHODS = {
    "two_stream": "two-stream baseline",
    "agw": "AGW",
    "caj": "CAJ",
    "deen": "DEEN",
    "wrim": "WRIM-Net",
}
# Rank-1/mAP by column, single-shot, no re-ranking; a column is one protocol and one source.
_LATER = "as later papers quote them"
PUBLISHED = {
    "LLCM": {
        f"VIS to IR, all VIS, {_LATER}": (
            "agw 51.5/55.3",
            "caj 56.5/59.8",
            "deen 62.5/65.8",
        ),
        f"IR to VIS, {_LATER}": ("agw 43.6/51.8", "caj 48.8/56.6", "deen 54.9/62.9"),
        "IR to VIS, LLCM README": ("agw 49.13/55.80", "caj 49.86/56.40", "deen 55.52/62.07"),
        "swapped: sampled IR queries, all VIS, LLCM README": (
            "agw 63.72/47.21",
            "caj 63.73/47.71",
            "deen 69.21/55.52",
        ),
        "direction not stated, WRIM-Net's supplement": ("wrim 58.38/64.75",),
    },
    "RegDB": {
        f"V to T, {_LATER}": ("agw 70.1/66.4", "caj 85.0/79.1", "deen 91.1/85.1"),
        f"T to V, {_LATER}": ("agw 70.5/65.9", "caj 84.8/77.8", "deen 89.5/83.4"),
    },
    "SYSU": {
        f"all-search, {_LATER}": (
            "agw 47.5/47.7",
            "caj 69.9/66.9",
            "deen 74.7/71.8",
            f"wrim {MISSING}/75.40",
        ),
        f"indoor-search, {_LATER}": (
            "agw 54.2/63.0",
            "caj 76.3/80.4",
            "deen 80.3/83.3",
            f"wrim 86.20/{MISSING}",
        ),
    },
}
LEGEND = (
    "Percent; mean ± sample standard deviation over seeds (divisor n - 1). Differences: method "
    "minus WRIM-Net, mean over the seeds ± half of its 95 % confidence interval (Student's t, "
    "paired by seed); *not shown* where that holds 0 or there is one seed. Parameters: of the "
    "network that is tested. GFLOP: 10^9 operations per image, counted. MB kept: what the forward "
    "pass of a training batch keeps for the backward pass, counted, each storage once. img/s: "
    "images of the loader, median of the log, beside whatever else the machine was doing."
)


def main() -> int:
    """Runs what is not yet done, then prints the table; returns the exit code."""
    parser = make_parser(__doc__)
    add_several(parser, "--seeds", kind=int, default=[0, 1, 2], help="runs of each method")
    add_several(parser, "--methods", default=list(METHODS), help="some of " + ", ".join(METHODS))
    add_experiment_options(parser)
    args = parse(parser)
    setting = make_setting(args, "logs/fair/{dataset}")
    setting = setting._replace(overlays=(str(setting.configs / "fair.yml"), *setting.overlays))
    draw_if_missing(setting)
    rows = [method_row(name) for name in args.methods]
    runs = plan_rows(setting, rows, args.seeds)
    code = work_through(runs, args, costs=True)
    if code == INTERRUPTED:
        return code
    records = read_records([run.folder for run in runs])
    report = gather_methods(args.methods, records)
    facts = [f"- {fact}" for fact in (*facts_of(records, called_as()), chance_fact(records[0]))]
    print(*facts, "", LEGEND, "", sep="\n")
    for table in (result_table(report, setting.dataset), own_differences(report)):
        print(markdown(table))
    return code


def method_row(name: str) -> Row:
    """The row of a method, whose configuration is a file of the dataset's folder."""
    if name not in METHODS:
        raise ValueError(f"--methods {name}: expected some of {', '.join(METHODS)}")
    return Row(name, ("fair",), METHODS[name], config=f"{name}.yml", has_overlay=False)


def gather_methods(names: Sequence[str], records: Sequence[Record]) -> Report:
    """The methods' runs, WRIM-Net last, once they may stand in one table."""
    rows = [
        RowRuns(METHODS[name], by_seed([r for r in records if r.about["row"] == name]), {})
        for name in METHODS
        if name in names
    ]
    report = gather("Fair table", rows)
    return report._replace(full=rows[-1]) if "wrim" in names else report


def result_table(report: Report, dataset: str) -> Table:
    """Ours, the cost, and what is published, a column per protocol and source."""
    published = PUBLISHED.get(dataset, {})
    header = (
        "method",
        "seeds",
        *(f"{protocol} {metric}" for protocol, metric in report.columns),
        *(label for _, label, _, _ in COSTS[:2]),
        "MB kept",
        "img/s",
        *(f"published: {column}" for column in published),
    )
    rows = tuple(_result_cells(report, row, published) for row in report.rows)
    return Table(report.title, header, rows, tuple(report.missing()))


def _result_cells(report: Report, row: RowRuns, published: dict[str, Any]) -> tuple[str, ...]:
    cost, name = row.cost or {}, row.records[0].about["row"] if row.records else ""
    printed = [dict(text.split() for text in column).get(name) for column in published.values()]
    return (
        row.label,
        str(len(row.seeds)),
        *(str(row.summary(column) or MISSING) for column in report.columns),
        *(form.format(cost[key] * scale) if cost else MISSING for key, _, form, scale in COSTS[:2]),
        f"{kept_megabytes(row.records[0]):.0f}" if row.records else MISSING,
        images_per_second(row),
        *(number or MISSING for number in printed),
    )


def chance_fact(record: Record) -> str:
    """What embeddings without information score on the test set of a run."""
    from wrimnet.data.build import build_dataset
    from wrimnet.evaluation.chance_level import chance_level
    from wrimnet.evaluation.evaluator import build_evaluator
    from wrimnet.metrics.names import is_compared

    cfg = setup_planned_cfg(record.about, "MODEL.DEVICE", "cpu")
    evaluator = build_evaluator(cfg, build_dataset(cfg))
    texts = []
    for run in evaluator.runs:
        names = [name for name in evaluator.metrics if is_compared(name)]
        options = {"num_embeddings": 10, "metrics": names}
        chance = chance_level(run.protocol, evaluator.items, run.trials, **options).mean
        values = ", ".join(f"{name} {100 * value:.2f}" for name, value in chance.items())
        texts.append(f"{run.protocol.name} {values}")
    return f"Chance: {'; '.join(texts)}"


def kept_megabytes(record: Record) -> float:
    """Counts the MB that one training batch of a run keeps for the backward pass."""
    import torch

    from wrimnet.data.augmentation_list import build_augmentation
    from wrimnet.lab.benchmarks.batches import batch_of
    from wrimnet.lab.benchmarks.counting import SavedActivations
    from wrimnet.modeling.weights import build_model, build_without_pretrained

    words = ("MODEL.DEVICE", "cpu", "MODEL.HEADS.NUM_CLASSES", "64")
    cfg = setup_planned_cfg(record.about, *words)
    model = build_model(build_without_pretrained(cfg)).train()
    shape = (cfg.SOLVER.IMS_PER_BATCH, *cfg.INPUT.SIZE_TRAIN, 3)
    gray = torch.full(shape, 128, dtype=torch.uint8)
    batch = build_augmentation(cfg).augment(batch_of(cfg, gray))
    kept = SavedActivations([*model.parameters(), *model.buffers(), batch["images"]])
    with kept.hooks:
        model(batch)
    return kept.num_bytes / 1e6


def images_per_second(row: RowRuns) -> str:
    """The median over all log lines of the finished runs."""
    lines = [line for record in row.finished for line in read_metrics(record.folder)]
    speeds = [line["images_per_second"] for line in lines if "images_per_second" in line]
    return f"{statistics.median(speeds):.0f}" if speeds else MISSING


def own_differences(report: Report) -> Table:
    """Each method minus WRIM-Net, without the columns of the paper's rows."""
    title, header, rows, notes = difference_table(report)
    kept = slice(-len(PRINTED_HEADER))
    return Table(title, header[kept], tuple(row[kept] for row in rows), notes)


if __name__ == "__main__":
    run_tool(main)
