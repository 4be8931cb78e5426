"""How a person stands, and how a camera sees a point of the body.

Body coordinates are in body heights: lateral (to the person's left), up from the ground, forward.
"""

import math
from dataclasses import dataclass

import numpy as np

from wrimnet.lab.synthetic.appearance import Appearance, Body
from wrimnet.lab.synthetic.shapes import vector

SIDES = (1, -1)  # the person's left, right


@dataclass(frozen=True)
class Pose:
    """One moment of a walk.

    Args:
        stride: largest angle of a thigh in radians, near 0 for a person who stands.
        phase: place in the step in radians.
        lean: forward lean of the trunk in radians.
        spread: angle of the upper arms to the trunk in radians.
        elbows: bend of the left and right elbow in radians.
        turn: turn of the head against the trunk in radians.
    """

    stride: float
    phase: float
    lean: float
    spread: float
    elbows: tuple[float, float]
    turn: float


def draw_pose(generator: np.random.Generator, appearance: Appearance) -> Pose:
    """Draw a standing or walking pose; now and then a forearm is raised."""
    walking = generator.random() < 0.75
    bend = generator.uniform(0.05, 0.55, 2)
    if generator.random() < 0.15:
        bend[generator.integers(2)] = generator.uniform(1.4, 2.2)
    return Pose(
        stride=appearance.stride * float(generator.uniform(0.25, 0.5)) if walking else 0.06,
        phase=float(generator.uniform(0, 2 * math.pi)),
        lean=float(generator.normal(0.03, 0.04)),
        spread=float(generator.uniform(0.06, 0.24)),
        elbows=(float(bend[0]), float(bend[1])),
        turn=float(generator.normal(0, 0.25)),
    )


@dataclass(frozen=True)
class Skeleton:
    """Joints in body coordinates; a list has the left one first.

    Args:
        scale: height of this body, the factor that lengths of other parts share.
    """

    scale: float
    hip: np.ndarray
    neck: np.ndarray
    head: np.ndarray
    shoulders: list[np.ndarray]
    elbows: list[np.ndarray]
    wrists: list[np.ndarray]
    hips: list[np.ndarray]
    knees: list[np.ndarray]
    ankles: list[np.ndarray]


def build_skeleton(body: Body, pose: Pose) -> Skeleton:
    """Place the joints of ``body`` in ``pose``; the lower foot is on the ground."""
    scale = body.height
    thigh, calf = 0.245 * scale * body.legs, 0.235 * scale * body.legs
    legs = [_leg(pose, side, thigh, calf) for side in SIDES]
    hip_height = 0.035 * scale - min(ankle[1] for _, ankle in legs)
    hip = np.array([0.0, hip_height, 0.0])
    hips = [hip + vector(side * 0.05 * scale * body.hips, 0.0, 0.0) for side in SIDES]
    spine = np.array([0.0, math.cos(pose.lean), math.sin(pose.lean)])
    neck = hip + 0.325 * scale * spine
    shoulder_width = 0.1 * scale * body.shoulders * (0.6 + 0.4 * body.build)
    shoulders = [
        neck - 0.028 * scale * spine + vector(side * shoulder_width, 0.0, 0.0) for side in SIDES
    ]
    arms = [_arm(pose, number, scale) for number in range(2)]
    elbows = [shoulder + arm[0] for shoulder, arm in zip(shoulders, arms, strict=True)]
    return Skeleton(
        scale=scale,
        hip=hip,
        neck=neck,
        head=neck + 0.095 * scale * body.head * spine + vector(0.0, 0.0, 0.012),
        shoulders=shoulders,
        elbows=elbows,
        wrists=[elbow + arm[1] for elbow, arm in zip(elbows, arms, strict=True)],
        hips=hips,
        knees=[joint + leg[0] for joint, leg in zip(hips, legs, strict=True)],
        ankles=[joint + leg[1] for joint, leg in zip(hips, legs, strict=True)],
    )


def _leg(pose: Pose, side: int, thigh: float, calf: float) -> tuple[np.ndarray, np.ndarray]:
    """Return knee and ankle relative to the hip joint; the knee bends while the leg swings."""
    swing = pose.stride * side * math.sin(pose.phase)
    bend = pose.stride * 1.3 * max(0.0, side * math.cos(pose.phase)) + 0.03
    knee = thigh * np.array([0.0, -math.cos(swing), math.sin(swing)])
    lower = swing - bend
    return knee, knee + calf * np.array([0.0, -math.cos(lower), math.sin(lower)])


def _arm(pose: Pose, number: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the elbow relative to the shoulder and the wrist relative to the elbow."""
    side = SIDES[number]
    swing = -0.9 * pose.stride * side * math.sin(pose.phase)
    out = side * math.sin(pose.spread)
    upper = np.array([out, -math.cos(swing), math.sin(swing)])
    lower = swing + pose.elbows[number]
    forearm = np.array([0.5 * out, -math.cos(lower), math.sin(lower)])
    return 0.165 * scale * upper, 0.15 * scale * forearm


@dataclass(frozen=True)
class View:
    """An almost parallel projection of the body into the image.

    Args:
        yaw: 0 when the person faces the camera, pi when it sees the back, in radians.
        pitch: elevation of the camera in radians.
        roll: tilt of the camera in radians.
        unit: a body height in pixels.
        origin: pixel of the point on the ground under the hip, (x, y).
    """

    yaw: float
    pitch: float
    roll: float
    unit: float
    origin: tuple[float, float]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return pixels (..., 2) of body points (..., 3)."""
        across, depth = self._turn(points)
        down = -(points[..., 1] * math.cos(self.pitch) - depth * math.sin(self.pitch))
        cosine, sine = self.unit * math.cos(self.roll), self.unit * math.sin(self.roll)
        pixels = np.empty((*across.shape, 2))
        pixels[..., 0] = self.origin[0] + cosine * across - sine * down
        pixels[..., 1] = self.origin[1] + sine * across + cosine * down
        return pixels

    def depth(self, point: np.ndarray) -> float:
        """Return how much nearer to the camera a body point (3,) is than the body's axis."""
        return float(self._turn(point)[1])

    def half_width(self, lateral: float, forward: float) -> float:
        """Return half of the visible width, in body heights, of an elliptic cross-section."""
        return math.hypot(lateral * math.cos(self.yaw), forward * math.sin(self.yaw))

    def _turn(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cosine, sine = math.cos(self.yaw), math.sin(self.yaw)
        across = points[..., 0] * cosine + points[..., 2] * sine
        depth = points[..., 2] * cosine - points[..., 0] * sine
        return across, depth
