"""Who a person is: body, clothes and belongings, with a color and a reflectance for each."""

import colorsys
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from wrimnet.modality import VISIBLE


class Paint(IntEnum):
    """Material numbers on the canvas; a patterned garment also uses the number after its own."""

    BACKGROUND = 0
    SKIN = 1
    HAIR = 2
    UPPER = 3
    UPPER_SECOND = 4
    LOWER = 5
    LOWER_SECOND = 6
    SHOES = 7
    INNER = 8
    BAG = 9
    BAG_SECOND = 10
    HAT = 11
    HAT_SECOND = 12
    SCARF = 13


NUM_SLOTS = 16

HAIR_STYLES = {"bald": 1, "short": 4, "bob": 2, "long": 2, "ponytail": 2, "bun": 1, "afro": 1}
HATS = {"none": 4, "cap": 1, "beanie": 1, "brim": 1, "hood": 1}
UPPERS = {"tshirt": 3, "longsleeve": 3, "vest": 1, "jacket": 2, "coat": 2}
UPPER_PATTERNS = {
    "plain": 2, "rings": 2, "pinstripes": 2, "checks": 2, "dots": 2,
    "emblem": 1, "two_tone": 2, "band": 2, "diagonal": 2, "panels": 2,
}  # fmt: skip
LOWERS = {"trousers": 4, "wide_trousers": 2, "shorts": 2, "short_skirt": 1, "long_skirt": 1}
LOWER_PATTERNS = {"plain": 4, "rings": 1, "checks": 1, "panels": 2, "two_tone": 2}
BAGS = {"none": 3, "backpack": 2, "shoulder_bag": 2, "handbag": 2}


@dataclass(frozen=True)
class Material:
    """A surface: its color in the visible image and, unrelated to it, its infrared reflectance.

    Args:
        color: red, green, blue in 0..255.
        reflectance: infrared gray value in 0..255.
    """

    color: tuple[int, int, int]
    reflectance: int

    def seen(self, modality: int) -> tuple[int, int, int]:
        """Return the three channels that a camera of ``modality`` records."""
        return self.color if modality == VISIBLE else (self.reflectance,) * 3


@dataclass(frozen=True)
class Garment:
    """A cut and the pattern printed on it.

    Args:
        kind: the cut, one of the keys of the table it was drawn from.
        pattern: name in ``patterns.PATTERNS``.
        period: repeat of the pattern in body heights.
    """

    kind: str
    pattern: str
    period: float


@dataclass(frozen=True)
class Body:
    """Proportions; every field is a factor around 1."""

    height: float
    build: float
    shoulders: float
    hips: float
    legs: float
    head: float


@dataclass(frozen=True)
class Appearance:
    """One identity, constant over its images, cameras and modalities.

    Args:
        materials: the surface of each slot that can be painted.
        plain_sleeves: sleeves have the second material of the upper garment, without its pattern.
        stride: size of the gait, 0.6..1.3.
        bag_side: +1 for the person's left, -1 for the right.
    """

    gender: str
    body: Body
    hair: str
    hat: str
    upper: Garment
    lower: Garment
    bag: Garment
    materials: dict[Paint, Material]
    plain_sleeves: bool
    scarf: bool
    boots: bool
    stride: float
    bag_side: int


def pick(generator: np.random.Generator, weights: dict[str, int]) -> str:
    """Draw one key with probability proportional to its weight."""
    share = np.array(list(weights.values()), dtype=np.float64)
    return list(weights)[int(generator.choice(len(share), p=share / share.sum()))]


def draw_appearance(generator: np.random.Generator) -> Appearance:
    """Draw an identity."""
    gender = pick(generator, {"female": 1, "male": 1})
    hat = pick(generator, HATS)
    return Appearance(
        gender=gender,
        body=_draw_body(generator, gender),
        hair=pick(generator, HAIR_STYLES),
        hat=hat,
        upper=_draw_garment(generator, UPPERS, UPPER_PATTERNS),
        lower=_draw_garment(generator, LOWERS, LOWER_PATTERNS),
        bag=_draw_garment(generator, BAGS, {"plain": 2, "two_tone": 1, "checks": 1}),
        materials=_draw_materials(generator),
        plain_sleeves=generator.random() < 0.35,
        scarf=generator.random() < 0.15,
        boots=generator.random() < 0.3,
        stride=float(generator.uniform(0.6, 1.3)),
        bag_side=1 if generator.random() < 0.5 else -1,
    )


def palette(appearance: Appearance, modality: int) -> np.ndarray:
    """Return what a camera of ``modality`` records of each slot, uint8 (NUM_SLOTS, 3).

    Color exists in the visible palette only; the infrared one has three equal channels.
    """
    table = np.zeros((NUM_SLOTS, 3), np.uint8)
    for slot, material in appearance.materials.items():
        table[slot] = material.seen(modality)
    return table


def _draw_body(generator: np.random.Generator, gender: str) -> Body:
    tilt = 0.04 if gender == "male" else -0.04
    return Body(
        height=float(generator.uniform(0.92, 1.04)),
        build=float(generator.uniform(0.75, 1.4)),
        shoulders=float(generator.uniform(0.92, 1.08)) + tilt,
        hips=float(generator.uniform(0.9, 1.1)) - tilt,
        legs=float(generator.uniform(0.93, 1.07)),
        head=float(generator.uniform(0.92, 1.1)),
    )


def _draw_garment(
    generator: np.random.Generator, kinds: dict[str, int], patterns: dict[str, int]
) -> Garment:
    period = float(generator.uniform(0.075, 0.16))
    return Garment(pick(generator, kinds), pick(generator, patterns), period)


def _draw_materials(generator: np.random.Generator) -> dict[Paint, Material]:
    materials = {
        Paint.SKIN: _draw_skin(generator),
        Paint.HAIR: _draw_hair(generator),
        Paint.SHOES: draw_material(generator),
        Paint.INNER: draw_material(generator),
        Paint.SCARF: draw_material(generator),
    }
    for slot in (Paint.UPPER, Paint.LOWER, Paint.BAG, Paint.HAT):
        first = draw_material(generator)
        materials[slot] = first
        materials[Paint(slot + 1)] = _draw_contrasting(generator, first)
    return materials


def draw_material(generator: np.random.Generator, vividness: float = 1.0) -> Material:
    """Draw a surface: muted colors are the most frequent; the reflectance ignores the color.

    Args:
        generator: where the numbers come from.
        vividness: largest saturation, 0..1.
    """
    hue, value = generator.random(), generator.uniform(0.12, 0.95)
    saturation = vividness * generator.beta(1.1, 1.6)
    return Material(_rgb(hue, saturation, value), int(generator.uniform(30, 225)))


def _draw_contrasting(generator: np.random.Generator, first: Material) -> Material:
    """Draw until a pattern of both materials can be seen in either modality."""
    while True:
        second = draw_material(generator)
        color_gap = np.abs(np.subtract(first.color, second.color)).sum()
        if color_gap > 190 and abs(first.reflectance - second.reflectance) > 65:
            return second


def _draw_skin(generator: np.random.Generator) -> Material:
    """Skin tone differs between people in the visible image; in infrared all skin is bright."""
    color = _rgb(generator.uniform(0.04, 0.09), generator.uniform(0.3, 0.6),
                  generator.uniform(0.35, 0.95))  # fmt: skip
    return Material(color, int(generator.uniform(165, 195)))


def _draw_hair(generator: np.random.Generator) -> Material:
    color = _rgb(generator.uniform(0.03, 0.12), generator.uniform(0.1, 0.6),
                  generator.beta(1.2, 3.0) * 0.85 + 0.05)  # fmt: skip
    return Material(color, int(generator.uniform(25, 170)))


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
