"""Tiny datasets in the distributed layouts, drawn by hand for tests."""

import hashlib
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

LLCM_VISIBLE_CAMERAS = (1, 2, 3, 4, 5, 6, 7, 8, 9)
LLCM_INFRARED_CAMERAS = (1, 2, 4, 5, 6, 7, 8, 9)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def save_image(path: Path, value: int = 128) -> None:
    """Saves a picture unlike every other: a color with noise that depends on the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32("/".join(path.parts[-4:]).encode()))
    noise = rng.integers(0, 60, (16, 8, 3), dtype=np.uint8)
    Image.fromarray(noise + np.array((value % 190, 60, 90), np.uint8)).save(path)


def make_llcm_tree(root: Path, train_ids=(1, 2, 3, 5, 9), test_ids=(4, 7, 8), per_camera=2) -> Path:
    """root/LLCM; every training identity in cameras 1 and 2, every test identity in 1, 2 and 5."""
    folder = root / "LLCM"
    (folder / "idx").mkdir(parents=True)
    for suffix, tree_cameras in (
        ("vis", LLCM_VISIBLE_CAMERAS),
        ("nir", LLCM_INFRARED_CAMERAS),
    ):
        lines = []
        for label, pid in enumerate(train_ids):
            for name in _llcm_names(pid, (1, 2), suffix, per_camera):
                save_image(folder / suffix / f"{pid:04d}" / name, 20 * pid)
                lines.append(f"{suffix}/{pid:04d}/{name} {label}")
        (folder / "idx" / f"train_{suffix}.txt").write_text("\n".join(lines) + "\n")
        for camera in tree_cameras:
            (folder / f"test_{suffix}" / f"cam{camera}").mkdir(parents=True)
        for pid in test_ids:
            for camera in (1, 2, 5):
                for name in _llcm_names(pid, (camera,), suffix, per_camera):
                    place = folder / f"test_{suffix}" / f"cam{camera}" / f"{pid:04d}"
                    save_image(place / name, 20 * pid)
    (folder / "idx" / "test_id.txt").write_text(",".join(map(str, test_ids)) + "\n")
    return folder


def make_regdb_tree(root: Path, num_ids=8, per_id=3, trials=range(1, 11)) -> Path:
    """root/RegDB; in trial t the identities with (id + t) even train, the others test."""
    folder = root / "RegDB"
    (folder / "idx").mkdir(parents=True)
    for pid in range(1, num_ids + 1):
        for modality, letter in (("Visible", "v"), ("Thermal", "t")):
            for name in _regdb_names(pid, letter, per_id):
                save_image(folder / modality / str(pid) / name, 20 * pid)
    for trial in trials:
        pids = range(1, num_ids + 1)
        splits = {
            "train": [pid for pid in pids if (pid + trial) % 2 == 0],
            "test": [pid for pid in pids if (pid + trial) % 2 == 1],
        }
        for split, split_pids in splits.items():
            for modality, letter in (("Visible", "v"), ("Thermal", "t")):
                lines = [
                    f"{modality}/{pid}/{name} {label}"
                    for label, pid in enumerate(split_pids)
                    for name in _regdb_names(pid, letter, per_id)
                ]
                path = folder / "idx" / f"{split}_{modality.lower()}_{trial}.txt"
                path.write_text("\n".join(lines) + "\n")
    return folder


def make_sysu_tree(
    root: Path, train_ids=(1, 2, 5), val_ids=(3, 9), test_ids=(6, 10, 21), per_camera=3
) -> Path:
    """root/SYSU-MM01; every identity in every camera, but 10 (a test identity) not in 1 and 2."""
    folder = root / "SYSU-MM01"
    (folder / "exp").mkdir(parents=True)
    lists = {"train": train_ids, "val": val_ids, "test": test_ids}
    for name, pids in lists.items():
        (folder / "exp" / f"{name}_id.txt").write_text(",".join(map(str, pids)) + ",\n")
    for camera in range(1, 7):
        (folder / f"cam{camera}").mkdir()
        for pid in (*train_ids, *val_ids, *test_ids):
            if pid == 10 and camera in (1, 2):
                continue
            for number in range(1, per_camera + 1):
                save_image(folder / f"cam{camera}" / f"{pid:04d}" / f"{number:04d}.jpg", 9 * pid)
    return folder


def _llcm_names(pid, cameras, suffix, per_camera):
    return [
        f"{pid:04d}_c{camera:02d}_s{1800 + index}_f{index}_{suffix}.jpg"
        for camera in cameras
        for index in range(per_camera)
    ]


def _regdb_names(pid, letter, per_id):
    return [f"male_front_{letter}_{12 * index + 7:05d}_{pid}.bmp" for index in range(per_id)]
