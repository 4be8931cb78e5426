"""The numbers at the top of a report: the whole embedding's, with chance and the paper's beside."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from wrimnet.evaluation.results import mean_metrics
from wrimnet.metrics.names import is_compared


class Number(NamedTuple):
    """A metric in percent and the words below it."""

    name: str
    value: str
    beside: tuple[str, ...]


class Headline(NamedTuple):
    """The metrics of one protocol."""

    name: str
    direction: str
    metrics: tuple[Number, ...]


def headlines(
    content: Mapping[str, Any],
    chance: Mapping[str, Mapping[str, float]],
    printed: Mapping[str, float],
) -> list[Headline]:
    """Returns the metrics of every protocol on the whole embedding.

    Args:
        content: of results.json.
        chance: metrics of embeddings without information by protocol, as fractions.
        printed: the paper's metrics, which name no direction, in percent; {} for none.
    """
    directions = {result["protocol"]: result["direction"] for result in content["results"]}
    return [
        Headline(
            name,
            directions[name],
            tuple(
                _number(metric, metrics, chance.get(name, {}), printed)
                for metric in metrics
                if is_compared(metric) or metric == "mINP"
            ),
        )
        for name, metrics in mean_metrics(content).items()
    ]


def _number(
    metric: str,
    values: Mapping[str, float],
    chance: Mapping[str, float],
    printed: Mapping[str, float],
) -> Number:
    beside = []
    if metric in chance:
        beside.append(f"chance {100 * chance[metric]:.2f}")
    if metric in printed:
        beside.append(f"paper {printed[metric]:.2f}, direction not named")
    return Number(metric, f"{100 * values[metric]:.2f}", tuple(beside))
