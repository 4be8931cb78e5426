"""Bags as parts."""

import math

import numpy as np

from wrimnet.lab.synthetic.appearance import Appearance, Paint
from wrimnet.lab.synthetic.canvas import Part
from wrimnet.lab.synthetic.pose import SIDES, Skeleton, View
from wrimnet.lab.synthetic.shapes import capsule, ribbon, vector


def belonging_parts(appearance: Appearance, skeleton: Skeleton, view: View) -> list[Part]:
    """Return the parts of the bag, if the person carries one."""
    build = {
        "none": lambda *_: [],
        "backpack": _backpack,
        "shoulder_bag": _shoulder_bag,
        "handbag": _handbag,
    }[appearance.bag.kind]
    return build(appearance, skeleton, view)


def _backpack(appearance: Appearance, skeleton: Skeleton, view: View) -> list[Part]:
    """A box on the back, and two straps where the chest is seen."""
    size = 0.6 + 6.0 * appearance.bag.period
    middle = 0.5 * (skeleton.neck + skeleton.hip) + (0.0, 0.03, -0.1)
    box = _box(appearance, middle, (0.075 * size, 0.1 * size, 0.05 * size), view)
    parts = [box._replace(depth=0.09 if math.cos(view.yaw) < 0.3 else -0.2)]
    if math.cos(view.yaw) > 0.1:
        parts += [_strap(skeleton, side * 0.06, side * 0.065, view) for side in SIDES]
    return parts


def _shoulder_bag(appearance: Appearance, skeleton: Skeleton, view: View) -> list[Part]:
    """A bag at the hip on a strap that crosses the chest."""
    side = appearance.bag_side
    middle = skeleton.hip + vector(side * 0.115 * appearance.body.build, -0.02, 0.0)
    bag = _box(appearance, middle, (0.03, 0.055, 0.065), view)
    near = view.depth(middle) > -0.06
    strap = _strap(skeleton, -side * 0.06, side * 0.1, view)
    return [bag._replace(depth=0.1 if near else -0.2), strap]


def _handbag(appearance: Appearance, skeleton: Skeleton, view: View) -> list[Part]:
    """A bag that hangs from one hand."""
    number = SIDES.index(appearance.bag_side)
    wrist = skeleton.wrists[number]
    middle = wrist - vector(0.0, 0.1, 0.0)
    depth = 0.11 if view.depth(wrist) > -0.05 else -0.22
    bag = _box(appearance, middle, (0.022, 0.055, 0.07), view)._replace(depth=depth)
    ends = view.project(np.stack([wrist - vector(0.0, 0.02, 0.0), middle]))
    handle = capsule(ends[0], ends[1], 0.008 * view.unit, 0.02 * view.unit)
    return [bag._replace(outline=handle, depth=depth - 1e-3, pattern="plain"), bag]


def _box(
    appearance: Appearance, middle: np.ndarray, half: tuple[float, float, float], view: View
) -> Part:
    """Return a box of half sizes lateral, up, forward around a body point."""
    up = np.array([0.0, half[1], 0.0])
    axis = view.project(np.stack([middle + up, middle - up]))
    width = view.half_width(half[0], half[2]) * view.unit
    rows = axis[0] + np.array([0.0, 0.15, 0.9, 1.0])[:, None] * (axis[1] - axis[0])
    outline = ribbon(rows, width * np.array([0.75, 1.0, 1.0, 0.85]))
    bag = appearance.bag
    return Part(0.0, outline, Paint.BAG, axis, width, pattern=bag.pattern, period=0.05)


def _strap(skeleton: Skeleton, high: float, low: float, view: View) -> Part:
    """A strap from a lateral place at the shoulders to one at the hip, on the side in view."""
    forward = 0.07 if math.cos(view.yaw) > 0 else -0.07
    top = skeleton.neck + vector(high, -0.02, 0.3 * forward)
    bottom = skeleton.hip + vector(low, 0.06, forward)
    ends = view.project(np.stack([top, bottom]))
    width = 0.011 * view.unit
    return Part(0.085, capsule(ends[0], ends[1], width, width), Paint.BAG, ends, width)
