"""Evaluation protocols as data: nothing else decides who queries whom.

Each dataset carries its own (:mod:`wrimnet.data.datasets`); here they are found by name.
"""

from dataclasses import dataclass
from typing import Any

from wrimnet.registries import YOURS, datasets


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Who queries whom, how the drawn side is drawn, and how a ranked list is scored.

    Attributes:
        name: what configs and tools call it.
        dataset: registered name of the dataset it belongs to.
        direction: query and gallery modality in the words of the dataset's papers.
        query_modality: modality of the queries.
        gallery_modality: modality of the gallery.
        query_list: list (``ImageItem.lists``) that the queries are in; "" for all of the modality.
        gallery_list: list that the gallery is in.
        drawn_side: "gallery" or "query", the side that each trial samples anew; "" for neither.
        drawn_cameras: cameras that the drawn side comes from; () for all of its modality.
        shots: images drawn per identity and camera; 0 without a draw.
        draws: ways to draw that are defined for it, see :mod:`wrimnet.evaluation.galleries`.
        camera_rule: name in ``wrimnet.metrics.exclusion``.
        unique_ids: CMC counts identities, not images.
        table: protocols of different tables are never printed side by side.
    """

    name: str
    dataset: str
    direction: str
    query_modality: int
    gallery_modality: int
    query_list: str = ""
    gallery_list: str = ""
    drawn_side: str = ""
    drawn_cameras: tuple[int, ...] = ()
    shots: int = 0
    draws: tuple[str, ...] = ("agw",)
    camera_rule: str = "none"
    unique_ids: bool = True
    table: str = "main"


def all_protocols() -> dict[str, Protocol]:
    """Returns the protocols of every registered dataset, by name."""
    return {
        protocol.name: protocol for dataset in datasets().values() for protocol in dataset.protocols
    }


def find_protocol(name: str) -> Protocol:
    """Looks a protocol up by its name; raises KeyError: no protocol has this name."""
    protocols = all_protocols()
    if name not in protocols:
        raise KeyError(
            f"unknown protocol {name!r}; choose one of {', '.join(protocols)}, or {YOURS}"
        )
    return protocols[name]


def dataset_protocols(dataset: Any, names: tuple[str, ...] = ()) -> list[Protocol]:
    """Returns protocols of a dataset (its class): those named, else its defaults."""
    protocols = [find_protocol(name) for name in names or dataset.default_protocols]
    for protocol in protocols:
        if protocol.dataset != dataset.name:
            choices = ", ".join(p.name for p in dataset.protocols)
            raise ValueError(
                f"protocol {protocol.name} belongs to {protocol.dataset}, the dataset is "
                f"{dataset.name}; choose from {choices}"
            )
    if len(set(protocols)) < len(protocols):
        raise ValueError(f"a protocol is named twice: {', '.join(p.name for p in protocols)}")
    return protocols
