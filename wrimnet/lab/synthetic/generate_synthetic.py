"""Writes a generated dataset: all of it, or nothing that looks like it."""

import dataclasses
import functools
import json
import sys
import time
from pathlib import Path

from tqdm import tqdm

from wrimnet.data.images import SYNTHETIC_MARK
from wrimnet.lab.synthetic.layouts import LAYOUTS
from wrimnet.lab.synthetic.plan import Plan, PlannedImage, Request
from wrimnet.lab.synthetic.rendering import MAX_IMAGES_PER_ID, Studio
from wrimnet.lab.synthetic.writing import encode, processes, require_same, whole_tree, write_files
from wrimnet.modality import MODALITY_NAMES

GENERATOR_VERSION = 1  # raise it whenever a rendered image changes
IMAGES_PER_JOB = 32
MAX_IDENTITIES = 9999


def generate_synthetic(
    *,
    layout: str,
    out: Path,
    request: Request,
    height: int = 128,
    width: int = 64,
    workers: int = 1,
    force: bool = False,
    camera_shift: float = 0.0,
) -> Path:
    """Write a dataset and return its folder.

    The tree grows in a folder beside the final one and is renamed at the end. A folder that already
    holds the very same dataset is left alone.

    Args:
        layout: a key of ``LAYOUTS``.
        out: folder that gets the dataset's folder (``LLCM``, ``RegDB`` or ``SYSU-MM01``).
        request: how much to draw.
        height: rows of an image.
        width: columns of an image.
        workers: processes; they do not change a byte.
        force: replace a folder that was generated with other options.
        camera_shift: how far the cameras' responses are from the usual ones, from 0.

    Raises:
        FileExistsError: the folder holds something else, and is not generated or ``force`` is not
            given.
        ValueError: a count or a size is too small or too large.
    """
    _check(request, height, width, workers)
    if not 0 <= camera_shift <= 10:
        raise ValueError(f"camera_shift is {camera_shift}, expected 0 to 10")
    folder_name, make_plan = LAYOUTS[layout]
    folder = Path(out) / folder_name
    arguments = {"layout": layout, **dataclasses.asdict(request), "height": height, "width": width}
    if folder.exists() and not force:
        expected = {
            "generator_version": GENERATOR_VERSION,
            **arguments,
            "camera_shift": camera_shift or None,  # descriptions without one are of 0
        }
        require_same(folder, expected, "this generated dataset")
        print(f"{folder} already holds this dataset", file=sys.stderr)
        return folder
    plan = make_plan(request)
    with whole_tree(folder) as partial:
        for name in plan.folders:
            (partial / name).mkdir(parents=True)
        _write_images(plan, partial, request.seed, (height, width), workers, camera_shift)
        if camera_shift:
            arguments["camera_shift"] = camera_shift
        description = {"generator_version": GENERATOR_VERSION, **arguments, "counts": _count(plan)}
        write_files(partial, {**plan.files, SYNTHETIC_MARK: _to_json(description)})
    return folder


def _check(request: Request, height: int, width: int, workers: int) -> None:
    least = {"train_ids": 2, "test_ids": 1, "images_per_id": 1, "test_images_per_id": 1, "seed": 0}
    for name, bound in least.items():
        if getattr(request, name) < bound:
            raise ValueError(f"{name} is {getattr(request, name)}, expected at least {bound}")
    for name in ("images_per_id", "test_images_per_id"):
        if getattr(request, name) >= MAX_IMAGES_PER_ID:
            raise ValueError(
                f"{name} is {getattr(request, name)}, expected below {MAX_IMAGES_PER_ID}"
            )
    if request.train_ids + request.test_ids > MAX_IDENTITIES:
        raise ValueError(
            f"{request.train_ids} + {request.test_ids} identities do not fit folders of four "
            f"digits; use at most {MAX_IDENTITIES}"
        )
    if height < 48 or width < 24:
        raise ValueError(f"images of {height}x{width} are too small; use at least 48x24")
    if workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")


def _count(plan: Plan) -> dict[str, int]:
    counts = {f"{name}_images": 0 for name in MODALITY_NAMES}
    for image in plan.images:
        counts[f"{MODALITY_NAMES[image.shot.modality]}_images"] += 1
    return {"identities": len({image.shot.pid for image in plan.images}), **counts}


def _write_images(
    plan: Plan,
    folder: Path,
    seed: int,
    size: tuple[int, int],
    workers: int,
    camera_shift: float,
) -> None:
    settings = (seed, *size, plan.outdoor_scenes, camera_shift)
    jobs = [
        (folder, settings, plan.images[start : start + IMAGES_PER_JOB])
        for start in range(0, len(plan.images), IMAGES_PER_JOB)
    ]
    started, total = time.perf_counter(), len(plan.images)
    with (
        processes(min(workers, len(jobs))) as run,
        tqdm(desc="drawing", total=total, unit=" images", disable=None) as bar,
    ):
        for number in run(_render_job, jobs):
            bar.update(number)
    seconds = time.perf_counter() - started
    print(f"{total} images in {seconds:.1f} s, {total / seconds:.0f} images/s", file=sys.stderr)


@functools.lru_cache(maxsize=1)
def _studio(
    seed: int, height: int, width: int, outdoor_scenes: frozenset[int], camera_shift: float
) -> Studio:
    return Studio(
        seed=seed,
        height=height,
        width=width,
        outdoor_scenes=outdoor_scenes,
        camera_shift=camera_shift,
    )


def _render_job(job: tuple[Path, tuple, list[PlannedImage]]) -> int:
    folder, settings, images = job
    studio = _studio(*settings)
    for planned in images:
        content = encode(studio.render(planned.shot), Path(planned.paths[0]).suffix)
        write_files(folder, dict.fromkeys(planned.paths, content))
    return len(images)


def _to_json(description: dict[str, object]) -> bytes:
    return (json.dumps(description, indent=2) + "\n").encode()
