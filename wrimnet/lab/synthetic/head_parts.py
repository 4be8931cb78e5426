"""Head, hair and headwear as parts."""

import math

import numpy as np

from wrimnet.lab.synthetic.appearance import Appearance, Paint
from wrimnet.lab.synthetic.canvas import Part
from wrimnet.lab.synthetic.pose import Skeleton, View
from wrimnet.lab.synthetic.shapes import capsule, ellipse, vector

NEAR = 0.12  # depth of the head, in front of trunk and arms
BEHIND = -0.03  # depth of hair that the trunk hides
LONG_HAIR = {"bob": 0.07, "long": 0.17}


def head_parts(appearance: Appearance, skeleton: Skeleton, view: View, turn: float) -> list[Part]:
    """Return neck, face, hair and headwear."""
    yaw = view.yaw + turn
    center = view.project(skeleton.head)
    radius = 0.06 * skeleton.scale * appearance.body.head * view.unit
    parts = [_neck(skeleton, view), *_face(center, radius, yaw)]
    parts += _hair(appearance.hair, center, radius, yaw)
    parts += _hat(appearance.hat, center, radius, yaw)
    return parts


def _part(depth: float, outline: np.ndarray, slot: int, light: float = 1.0) -> Part:
    center = outline.mean(0)
    axis = np.stack([center, center + vector(0.0, 1.0)])
    radius = max(float(np.ptp(outline[:, 0])) / 2, 1.0)
    return Part(depth, outline, slot, axis, radius, light=light)


def _neck(skeleton: Skeleton, view: View) -> Part:
    ends = view.project(np.stack([skeleton.neck - vector(0.0, 0.02, 0.0), skeleton.head]))
    width = 0.032 * view.unit
    return _part(0.05, capsule(ends[0], ends[1], width, width), Paint.SKIN, 0.85)


def _face(center: np.ndarray, radius: float, yaw: float) -> list[Part]:
    """A face with a dark line of eyes on the side where it looks."""
    side = math.sin(yaw)
    skull = _part(NEAR, ellipse(center, 0.82 * radius, 1.12 * radius), Paint.SKIN)
    if math.cos(yaw) < 0.1:
        return [skull]
    eyes = center + vector(0.45 * radius * side, -0.05 * radius)
    line = ellipse(eyes, 0.42 * radius * math.cos(yaw) + 1, 0.12 * radius)
    mouth = ellipse(eyes + vector(0.0, 0.6 * radius), 0.2 * radius, 0.08 * radius)
    return [skull, _part(NEAR + 1e-3, line, Paint.SKIN, 0.5),
            _part(NEAR + 1e-3, mouth, Paint.SKIN, 0.65)]  # fmt: skip


def _hair(style: str, center: np.ndarray, radius: float, yaw: float) -> list[Part]:
    """A cap of hair that covers the head where the camera sees its back."""
    if style == "bald":
        return []
    away, side = (1 - math.cos(yaw)) / 2, math.sin(yaw)
    if style == "afro":
        middle = center + vector(-0.25 * radius * side, -0.4 * radius)
        depth = NEAR + 2e-3 if away > 0.4 else NEAR - 1e-3
        cap = _part(depth, ellipse(middle, 1.4 * radius, 1.3 * radius), Paint.HAIR)
        return [cap, _crown(center, radius, away, side)]
    return [_crown(center, radius, away, side), *_fall(style, center, radius, away, side)]


def _crown(center: np.ndarray, radius: float, away: float, side: float) -> Part:
    """Hair on the skull: the upper third from the front, all of it from behind."""
    middle = center + vector(-0.22 * radius * side, -0.62 * radius * (1 - away) - 0.05 * radius)
    height = radius * (0.62 + 0.5 * away)
    return _part(NEAR + 3e-3, ellipse(middle, 0.9 * radius, height), Paint.HAIR)


def _fall(style: str, center: np.ndarray, radius: float, away: float, side: float) -> list[Part]:
    """What hangs down or stands off: long hair, a tail or a bun, on the back of the head."""
    back = center + vector(-0.55 * radius * side, 0.0)
    near = NEAR + 4e-3 if away > 0.4 else BEHIND
    if style in LONG_HAIR:
        reach = LONG_HAIR[style] / 0.06 * radius
        ends = back + vector(0.0, -0.3 * radius), back + vector(0.0, reach)
        width = radius * (1.0 - 0.35 * abs(side))
        return [_part(near, capsule(*ends, width, 0.9 * width), Paint.HAIR, 0.92)]
    if style == "ponytail":
        root = center + vector(-0.95 * radius * side, -0.25 * radius)
        tip = root + vector(-0.35 * radius * side, 2.2 * radius)
        return [_part(near, capsule(root, tip, 0.33 * radius, 0.2 * radius), Paint.HAIR, 0.9)]
    if style == "bun":
        knot = center + vector(-0.85 * radius * side, -1.1 * radius)
        return [_part(near, ellipse(knot, 0.5 * radius, 0.45 * radius), Paint.HAIR)]
    return []


def _hat(kind: str, center: np.ndarray, radius: float, yaw: float) -> list[Part]:
    if kind == "none":
        return []
    side, front = math.sin(yaw), math.cos(yaw)
    top = center - vector(0.0, 0.45 * radius)
    over = NEAR + 6e-3
    if kind == "hood":
        middle = center + vector(-0.25 * radius * side, -0.12 * radius)
        depth = over if front < 0.35 else NEAR - 3e-3
        return [_part(depth, ellipse(middle, 1.25 * radius, 1.5 * radius), Paint.UPPER)]
    height = {"cap": 0.85, "beanie": 1.05, "brim": 0.95}[kind] * radius
    dome = _part(over, ellipse(top, 0.98 * radius, height, 8, 16), Paint.HAT)
    if kind == "cap":
        peak = top + vector(0.95 * radius * side, 0.1 * radius * max(front, 0.0))
        brim = ellipse(peak, (0.55 + 0.3 * abs(side)) * radius, 0.2 * radius)
        shown = [_part(over + 1e-3, brim, Paint.HAT_SECOND)] if front > -0.5 else []
        return [dome, *shown]
    wide, tall = (1.75, 0.22) if kind == "brim" else (1.02, 0.25)
    return [
        dome,
        _part(over + 1e-3, ellipse(top, wide * radius, tall * radius), Paint.HAT_SECOND),
    ]
