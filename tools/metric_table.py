"""One table of several evaluations."""

from collections.abc import Mapping

from wrimnet.tables import METRICS, Table


def metric_table(
    title: str, corner: str, rows: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> Table:
    """Writes one row per evaluation, one column per protocol and metric, in percent.

    ``rows`` are, by name, the metrics of each protocol in [0, 1]; the same protocols in each.
    """
    columns = [(name, metric) for name in next(iter(rows.values())) for metric in METRICS]
    header = (corner, *(f"{protocol} {metric}" for protocol, metric in columns))
    cells = tuple(
        (name, *(f"{100 * metrics[protocol][metric]:.2f}" for protocol, metric in columns))
        for name, metrics in rows.items()
    )
    return Table(title, header, cells)
