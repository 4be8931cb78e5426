"""Published sizes of the datasets: the one place where they stand.

Shape, with every key optional except where a reader of the table needs it:
`{split: {"identities": n, modality: {"images": n, "identities": n, "cameras": {camera: {...}}}}}`.
A split's own "images" counts both modalities. The same shape is read from a JSON file and written
by the dataset doctor. RegDB's numbers hold for each of its ten trials.

Sources: LLCM and RegDB, their papers and index files; SYSU-MM01, the official evaluation's
`rand_perm_cam.mat`, which lists every image. The LLCM paper prints 13,909 test images beside
46,767 in all and 30,921 for training; only 46,767 - 30,921 = 15,846 adds up.
"""

from typing import Any

Counts = dict[str, Any]


def _size(images: int, identities: int) -> dict[str, int]:
    return {"images": images, "identities": identities}


LLCM: Counts = {
    "train": {
        "identities": 713,
        "images": 30_921,
        "visible": {"images": 16_946},
        "infrared": {"images": 13_975},
    },
    "test": {"identities": 351, "images": 15_846},
}

REGDB: Counts = {
    split: {
        "identities": 206,
        "images": 4_120,
        "visible": _size(2_060, 206),
        "infrared": _size(2_060, 206),
    }
    for split in ("train", "test")
}

SYSU_MM01: Counts = {
    "train": {
        "identities": 395,
        "images": 34_167,
        "visible": _size(22_258, 395),
        "infrared": _size(11_909, 395),
    },
    "test": {
        "identities": 96,
        "images": 10_578,
        "visible": {
            "images": 6_775,
            "cameras": {
                "1": _size(1_374, 56),
                "2": _size(1_565, 56),
                "4": _size(1_918, 94),
                "5": _size(1_918, 95),
            },
        },
        "infrared": {
            "images": 3_803,
            "cameras": {"3": _size(1_883, 93), "6": _size(1_920, 96)},
        },
    },
}

EXPECTED_COUNTS: dict[str, Counts] = {"LLCM": LLCM, "RegDB": REGDB, "SYSU_MM01": SYSU_MM01}
