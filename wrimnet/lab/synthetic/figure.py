"""Trunk, limbs and clothes of a person as parts, to be painted from far to near."""

import numpy as np

from wrimnet.lab.synthetic.appearance import Appearance, Garment, Paint
from wrimnet.lab.synthetic.belongings import belonging_parts
from wrimnet.lab.synthetic.canvas import Canvas, Part
from wrimnet.lab.synthetic.head_parts import head_parts
from wrimnet.lab.synthetic.pose import Pose, Skeleton, View, build_skeleton
from wrimnet.lab.synthetic.shapes import capsule, ellipse, ribbon, vector

FAR_LIGHT = 0.82  # limbs behind the trunk lie in its shade
LONG_SLEEVED = ("longsleeve", "jacket", "coat")


def draw_person(
    canvas: Canvas, appearance: Appearance, pose: Pose, view: View, first_slot: int = 0
) -> None:
    """Paint a person and the shadow at their feet."""
    skeleton = build_skeleton(appearance.body, pose)
    _darken_ground(canvas, skeleton, view)
    parts = [
        *_leg_parts(appearance, skeleton, view),
        *_arm_parts(appearance, skeleton, view),
        *_trunk_parts(appearance, skeleton, view),
        *head_parts(appearance, skeleton, view, pose.turn),
        *belonging_parts(appearance, skeleton, view),
    ]
    for part in sorted(parts, key=lambda part: part.depth):
        canvas.paint(part, view.unit, first_slot)


def _darken_ground(canvas: Canvas, skeleton: Skeleton, view: View) -> None:
    center = view.project(np.array([0.0, 0.01, 0.0]))
    canvas.darken(ellipse(center, 0.16 * view.unit, 0.03 * view.unit), 0.6)


def _leg_parts(appearance: Appearance, skeleton: Skeleton, view: View) -> list[Part]:
    parts = []
    for number in range(2):
        joints = [skeleton.hips[number], skeleton.knees[number], skeleton.ankles[number]]
        depth = 0.5 * view.depth(joints[0]) + 0.1 * view.depth(joints[2])
        light = 1.0 if depth >= -0.005 else FAR_LIGHT
        parts += _one_leg(appearance, joints, depth - 0.1, light, view)
    return parts


def _one_leg(
    appearance: Appearance, joints: list[np.ndarray], depth: float, light: float, view: View
) -> list[Part]:
    """Foot, calf and thigh; what the garment does not cover is skin."""
    kind, build = appearance.lower.kind, appearance.body.build
    wide = kind == "wide_trousers"
    cloth = {"trousers": 2, "wide_trousers": 2, "shorts": 1}.get(kind, 0)
    widths = [0.056 * build, (0.05 if wide else 0.038) * build, 0.05 if wide else 0.024]
    hip, knee, ankle = joints
    toe = ankle + vector(0.0, -0.022, 0.075)
    parts = [_shoe(ankle, toe, depth - 1e-3, light, view)]
    if appearance.boots and cloth < 2:
        middle = 0.5 * (knee + ankle)
        parts.append(_limb(middle, ankle, (0.036, 0.03), Paint.SHOES, depth + 1e-3, light, view))
    for number, ends in enumerate([(hip, knee), (knee, ankle)]):
        garment = appearance.lower if number < cloth else None
        slot = Paint.LOWER if garment else Paint.SKIN
        radii = (widths[number], widths[number + 1])
        limb = _limb(*ends, radii, slot, depth - 2e-4 * number, light, view)
        parts.append(_dress(limb, garment, 0.1 + 0.24 * number, view))
    return parts


def _shoe(ankle: np.ndarray, toe: np.ndarray, depth: float, light: float, view: View) -> Part:
    heel = ankle - vector(0.0, 0.012, 0.01)
    return _limb(heel, toe, (0.027, 0.02), Paint.SHOES, depth, light, view)


def _arm_parts(appearance: Appearance, skeleton: Skeleton, view: View) -> list[Part]:
    parts = []
    for number in range(2):
        joints = [skeleton.shoulders[number], skeleton.elbows[number], skeleton.wrists[number]]
        depth = 0.8 * view.depth(joints[0]) + 0.2 * view.depth(joints[2])
        parts += _one_arm(appearance, joints, depth, view)
    return parts


def _one_arm(
    appearance: Appearance, joints: list[np.ndarray], depth: float, view: View
) -> list[Part]:
    """Forearm, hand and upper arm; sleeves end at the elbow, at the wrist or at the shoulder."""
    kind, build = appearance.upper.kind, appearance.body.build
    sleeve = 0 if kind == "vest" else 2 if kind in LONG_SLEEVED else 1
    padding = 1.25 if kind in ("coat", "jacket") else 1.0
    widths = np.array([0.038, 0.031, 0.022]) * (0.4 + 0.6 * build)
    light = 1.0 if depth > -0.02 else FAR_LIGHT
    depth = depth + 0.06 if depth > -0.02 else depth - 0.05
    shoulder, elbow, wrist = joints
    hand = wrist + 0.25 * (wrist - elbow)
    parts = [_limb(wrist, hand, (0.021, 0.016), Paint.SKIN, depth - 1e-3, light, view)]
    for number, ends in enumerate([(shoulder, elbow), (elbow, wrist)]):
        garment = appearance.upper if number < sleeve else None
        radii = widths[number : number + 2] * (padding if garment else 0.9)
        slot = Paint.SKIN if garment is None else Paint.UPPER + appearance.plain_sleeves
        limb = _limb(*ends, tuple(radii), slot, depth - 2e-4 * number, light, view)
        printed = None if appearance.plain_sleeves else garment
        parts.append(_dress(limb, printed, 0.02 + 0.165 * number, view))
    return parts


def _trunk_parts(appearance: Appearance, skeleton: Skeleton, view: View) -> list[Part]:
    upper = _dress(_trunk(appearance, skeleton, view), appearance.upper, 0.0, view)
    parts = [_pelvis(appearance, skeleton, view), upper]
    if appearance.lower.kind.endswith("skirt"):
        parts.append(_skirt(appearance, skeleton, view))
    if appearance.upper.kind in ("jacket", "coat") and np.cos(view.yaw) > 0.25:
        parts.append(_opening(upper, view))
    if appearance.scarf:
        low = skeleton.neck - vector(0.0, 0.012, 0.0)
        high = skeleton.neck + vector(0.0, 0.012, 0.0)
        parts.append(_limb(high, low, (0.05, 0.062), Paint.SCARF, 0.075, 1.0, view))
    return parts


def _trunk(appearance: Appearance, skeleton: Skeleton, view: View) -> Part:
    """Upper garment: to the hip, or down the thighs for a coat."""
    body, kind = appearance.body, appearance.upper.kind
    padding = 1.12 if kind in ("coat", "jacket") else 1.0
    shoulder = abs(skeleton.shoulders[0][0]) + 0.02
    depth = 0.066 * body.build
    rows = [  # share of the way from neck to hip, lateral and forward half width
        (-0.02, 0.03, 0.035),
        (0.06, shoulder * 0.9, 0.7 * depth),
        (0.3, shoulder * 0.88, depth),
        (0.68, 0.08 * body.build * padding, 0.95 * depth * padding),
        (1.05, 0.095 * body.build * body.hips * padding, 1.05 * depth * padding),
    ]
    if kind == "coat":
        rows.append((1.75, 0.115 * body.build * padding, 1.35 * depth * padding))
    return _stack(skeleton.neck, skeleton.hip, rows, Paint.UPPER, 0.0, view)


def _pelvis(appearance: Appearance, skeleton: Skeleton, view: View) -> Part:
    body = appearance.body
    rows = [
        (-0.15, 0.082 * body.build, 0.062 * body.build),
        (0.5, 0.092 * body.build * body.hips, 0.07 * body.build),
        (1.0, 0.08 * body.build, 0.055 * body.build),
    ]
    below = skeleton.hip - vector(0.0, 0.06, 0.0)
    pelvis = _stack(skeleton.hip, below, rows, Paint.LOWER, -0.02, view)
    return _dress(pelvis, appearance.lower, 0.0, view)


def _skirt(appearance: Appearance, skeleton: Skeleton, view: View) -> Part:
    body, length = appearance.body, 0.2 if appearance.lower.kind == "short_skirt" else 0.4
    knees = 0.5 * (skeleton.knees[0] + skeleton.knees[1])
    reach = max(abs(skeleton.knees[0][2] - skeleton.knees[1][2]), 0.05) * length / 0.4
    rows = [
        (-0.06, 0.08 * body.build, 0.062 * body.build),
        (0.3, 0.1 * body.build * body.hips, 0.085 * body.build),
        (1.0, 0.105 * body.build + 0.1 * length, 0.07 * body.build + 0.6 * reach),
    ]
    end = skeleton.hip + (knees - skeleton.hip) * (length / 0.245)
    return _dress(_stack(skeleton.hip, end, rows, Paint.LOWER, -0.015, view),
                  appearance.lower, 0.0, view)  # fmt: skip


def _opening(upper: Part, view: View) -> Part:
    """The strip of the inner garment that an open jacket shows in front."""
    shift = np.array([0.8 * upper.radius * np.sin(view.yaw), 0.0])
    middle = upper.axis + shift + [[0.0, 0.02 * view.unit], [0.0, -0.02 * view.unit]]
    half = 0.032 * view.unit * max(float(np.cos(view.yaw)), 0.3)
    outline = ribbon(middle, np.array([1.3 * half, 0.7 * half]))
    return upper._replace(outline=outline, slot=Paint.INNER, pattern="plain",
                          depth=upper.depth + 1e-3)  # fmt: skip


def _stack(
    start: np.ndarray,
    end: np.ndarray,
    rows: list[tuple[float, float, float]],
    slot: Paint,
    depth: float,
    view: View,
) -> Part:
    """Return a trunk-like part through elliptic cross-sections at shares of start..end."""
    share = np.array([row[0] for row in rows])[:, None]
    middle = view.project(start + share * (end - start))
    widths = view.unit * np.array([view.half_width(*row[1:]) for row in rows])
    outline = ribbon(middle, widths)
    return Part(depth, outline, slot, middle[[0, -1]], float(widths[1:].max()), turn=view.yaw)


def _limb(
    start: np.ndarray,
    end: np.ndarray,
    radii: tuple[float, ...],
    slot: int,
    depth: float,
    light: float,
    view: View,
) -> Part:
    first, last = view.project(np.stack([start, end]))
    wide, narrow = radii[0] * view.unit, radii[1] * view.unit
    outline, axis = capsule(first, last, wide, narrow), np.stack([first, last])
    return Part(depth, outline, slot, axis, max(wide, narrow), turn=view.yaw, light=light)


def _dress(part: Part, garment: Garment | None, offset: float, view: View) -> Part:
    """Print the garment's pattern on a part that lies ``offset`` below the garment's top."""
    if garment is None:
        return part
    return part._replace(pattern=garment.pattern, period=garment.period, offset=offset)
