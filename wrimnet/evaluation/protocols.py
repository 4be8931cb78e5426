"""The protocols in use, as data. Nothing else decides who queries whom.

SYSU-MM01: infrared queries, visible gallery drawn per identity and camera, ten draws.
RegDB: every image of one modality queries every image of the other, one trial per split.
LLCM: every image of one modality queries a gallery drawn from the other, ten draws. In
``llcm_vis2ir_swapped`` the drawn infrared images are the queries and all visible images the
gallery, as some published test scripts have it; its numbers mean something else and its ``table``
keeps them apart.
"""

from dataclasses import dataclass, replace

from wrimnet.modality import INFRARED, VISIBLE


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Who queries whom, how the drawn side is drawn, and how a ranked list is scored.

    Attributes:
        name: what configs and tools call it.
        dataset: registered name of the dataset it belongs to.
        direction: query and gallery modality in the words of the dataset's papers.
        query_modality: modality of the queries.
        gallery_modality: modality of the gallery.
        drawn_side: "gallery" or "query", the side that each trial draws anew; "" for no draw.
        drawn_cameras: cameras that the drawn side comes from; () for all of its modality.
        shots: images drawn per identity and camera; 0 without a draw.
        camera_rule: name in ``wrimnet.metrics.exclusion``.
        unique_ids: CMC counts identities, not images.
        table: protocols of different tables are never printed side by side.
    """

    name: str
    dataset: str
    direction: str
    query_modality: int
    gallery_modality: int
    drawn_side: str
    drawn_cameras: tuple[int, ...] = ()
    shots: int
    camera_rule: str
    unique_ids: bool
    table: str = "main"


def _sysu(name: str, cameras: tuple[int, ...], shots: int) -> Protocol:
    return Protocol(
        name=name,
        dataset="SYSU_MM01",
        direction="infrared to visible",
        query_modality=INFRARED,
        gallery_modality=VISIBLE,
        drawn_side="gallery",
        drawn_cameras=cameras,
        shots=shots,
        camera_rule="sysu_cam3_never_sees_cam2",
        unique_ids=True,
    )


_REGDB_V2T = Protocol(
    name="regdb_v2t",
    dataset="RegDB",
    direction="visible to thermal",
    query_modality=VISIBLE,
    gallery_modality=INFRARED,
    drawn_side="",
    shots=0,
    camera_rule="none",
    unique_ids=False,
)
_LLCM_IR2VIS = Protocol(
    name="llcm_ir2vis",
    dataset="LLCM",
    direction="infrared to visible",
    query_modality=INFRARED,
    gallery_modality=VISIBLE,
    drawn_side="gallery",
    shots=1,
    camera_rule="llcm_same_identity_same_camera",
    unique_ids=True,
)

_ALL = (
    _sysu("sysu_all_single", (1, 2, 4, 5), 1),
    _sysu("sysu_all_multi", (1, 2, 4, 5), 10),
    _sysu("sysu_indoor_single", (1, 2), 1),
    _sysu("sysu_indoor_multi", (1, 2), 10),
    _REGDB_V2T,
    replace(
        _REGDB_V2T,
        name="regdb_t2v",
        direction="thermal to visible",
        query_modality=INFRARED,
        gallery_modality=VISIBLE,
    ),
    _LLCM_IR2VIS,
    replace(
        _LLCM_IR2VIS,
        name="llcm_vis2ir",
        direction="visible to infrared",
        query_modality=VISIBLE,
        gallery_modality=INFRARED,
    ),
    replace(
        _LLCM_IR2VIS,
        name="llcm_vis2ir_swapped",
        direction="drawn infrared to all visible (swapped)",
        drawn_side="query",
        table="swapped",
    ),
)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}

DEFAULT_PROTOCOLS: dict[str, tuple[str, ...]] = {
    "LLCM": ("llcm_ir2vis", "llcm_vis2ir"),
    "RegDB": ("regdb_v2t", "regdb_t2v"),
    "SYSU_MM01": ("sysu_all_single", "sysu_indoor_single"),
}


def find_protocol(name: str) -> Protocol:
    """Looks a protocol up by its name.

    Raises:
        KeyError: no protocol has this name.
    """
    if name not in PROTOCOLS:
        raise KeyError(f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def dataset_protocols(dataset: str, names: tuple[str, ...] = ()) -> list[Protocol]:
    """Returns the named protocols of a dataset, or its defaults for no names.

    Raises:
        KeyError: the dataset or a protocol is unknown.
        ValueError: a protocol belongs to another dataset, or is named twice.
    """
    if dataset not in DEFAULT_PROTOCOLS:
        raise KeyError(f"no protocol for dataset {dataset!r}; there are {list(DEFAULT_PROTOCOLS)}")
    protocols = [find_protocol(name) for name in names or DEFAULT_PROTOCOLS[dataset]]
    for protocol in protocols:
        if protocol.dataset != dataset:
            own = [p.name for p in _ALL if p.dataset == dataset]
            raise ValueError(
                f"protocol {protocol.name} belongs to {protocol.dataset}, the dataset is "
                f"{dataset}; choose from {', '.join(own)}"
            )
    if len(set(protocols)) < len(protocols):
        raise ValueError(f"a protocol is named twice: {', '.join(p.name for p in protocols)}")
    return protocols
