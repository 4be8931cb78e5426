"""Camera rules by name: which gallery images a query never sees.

Each rule takes the identities and cameras of Q queries and G gallery images, all int64, and returns
a (Q, G) mask that is True where the pair is removed.
"""

from collections.abc import Callable

import torch
from torch import Tensor

CameraRule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
CAMERA_RULES: dict[str, CameraRule] = {}


def register_camera_rule(rule: CameraRule) -> CameraRule:
    """Lets protocols name a rule, as a decorator.

    Raises:
        ValueError: there is a rule of that name.
    """
    if rule.__name__ in CAMERA_RULES:
        raise ValueError(f"there is a camera rule {rule.__name__!r} already; rename yours")
    CAMERA_RULES[rule.__name__] = rule
    return rule


@register_camera_rule
def none(
    query_pids: Tensor, query_camids: Tensor, gallery_pids: Tensor, gallery_camids: Tensor
) -> Tensor:
    """Removes nothing (RegDB, which has no cameras)."""
    nothing = torch.zeros((), dtype=torch.bool, device=query_pids.device)
    return nothing.expand(len(query_pids), len(gallery_pids))


@register_camera_rule
def sysu_cam3_never_sees_cam2(
    query_pids: Tensor, query_camids: Tensor, gallery_pids: Tensor, gallery_camids: Tensor
) -> Tensor:
    """Removes camera 2 from the queries of camera 3, whatever the identity: they share a room."""
    return (query_camids == 3)[:, None] & (gallery_camids == 2)


@register_camera_rule
def llcm_same_identity_same_camera(
    query_pids: Tensor, query_camids: Tensor, gallery_pids: Tensor, gallery_camids: Tensor
) -> Tensor:
    """Removes the query's own identity where its own camera saw it."""
    same_identity = query_pids[:, None] == gallery_pids
    return same_identity & (query_camids[:, None] == gallery_camids)


def camera_rule(name: str) -> CameraRule:
    """Looks a rule up by its name.

    Raises:
        KeyError: no rule has this name.
    """
    if name not in CAMERA_RULES:
        raise KeyError(
            f"unknown camera rule {name!r}; choose one of {', '.join(sorted(CAMERA_RULES))}, or "
            "register yours by wrimnet.metrics.exclusion.register_camera_rule in the module of the "
            "dataset"
        )
    return CAMERA_RULES[name]
