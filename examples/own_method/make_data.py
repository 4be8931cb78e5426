"""Draws CampusVI with noise instead of people, to try the project: ``python make_data.py data``."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image


def make_data(root):
    folder, rng, rows = Path(root) / "CampusVI", np.random.default_rng(0), []
    (folder / "images").mkdir(parents=True)
    for pid in range(1, 9):
        for camera, modality, test_list in ((1, "rgb", "gallery"), (2, "ir", "query")):
            for number in range(3):
                path = f"images/{pid}_{camera}_{modality}_{number}.png"
                pixels = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / path)
                rows.append((path, test_list if pid > 5 else "train"))
    np.savetxt(folder / "lists.csv", [("file", "list"), *rows], fmt="%s", delimiter=",")


if __name__ == "__main__":
    make_data(sys.argv[1])
