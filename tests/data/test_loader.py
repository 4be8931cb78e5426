import os
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from wrimnet.data.cache import open_cache
from wrimnet.data.cache_file import cache_key
from wrimnet.data.images import ImageItem, UnreadableImageError, read_rgb, resize_rgb
from wrimnet.data.loader import TrainLoader, TrainSet
from wrimnet.data.reading import ImageReader, ReadingWatch
from wrimnet.data.sampler import CrossModalitySampler
from wrimnet.data.sources import DecodingSource, DeviceSource, DiskSource, MemorySource
from wrimnet.modality import INFRARED, VISIBLE

H, W = 24, 12
READING = {"height": H, "width": W, "interpolation": "bicubic"}
PIDS = (30, 7, 12, 5)
CPU = torch.device("cpu")


@pytest.fixture
def items(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for pid in PIDS:
        for modality in (VISIBLE, INFRARED):
            for number in range(3):
                path = tmp_path / "data" / f"{pid}_{modality}_{number}.png"
                path.parent.mkdir(exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (30, 15, 3), dtype=np.uint8)).save(path)
                made.append(ImageItem(str(path), pid, pid % 3 + 1, modality, path.name))
    return made


@pytest.fixture
def make(items, tmp_path):
    loaders = []

    def make_loader(cache="none", on_bad_image="error", timeout=20.0, prefetch=2, seed=1):
        watch, dataset = ReadingWatch(), TrainSet(items)
        sampler = CrossModalitySampler(
            pids=dataset.pids,
            modalities=dataset.modality,
            num_pids=2,
            num_instances=2,
            seed=seed,
        )
        loaders.append(
            TrainLoader(
                dataset=dataset,
                sampler=sampler,
                source=source(items, tmp_path, cache, on_bad_image, watch),
                watch=watch,
                device=CPU,
                prefetch=prefetch,
                timeout=timeout,
            )
        )
        return loaders[-1]

    yield make_loader
    for loader in loaders:
        loader.close()


def source(items, folder, cache, on_bad_image, watch):
    if cache == "none":
        reader = ImageReader(items, on_bad_image=on_bad_image, watch=watch, **READING)
        return DecodingSource(reader, num_threads=2, pin=False)
    key = cache_key(items, dataset="Drawn", on_bad_image=on_bad_image, **READING)
    opened = open_cache(key, items, folder / "cache", num_processes=1, timeout=30.0)
    if cache == "disk":
        return DiskSource(opened, watch=watch, pin=False)
    return MemorySource(opened, pin=False) if cache == "ram" else DeviceSource(opened, device=CPU)


def take(loader, count, start=0):
    batches = loader.iterate(start)
    taken = [next(batches) for _ in range(count)]
    batches.close()
    return taken


def test_batch_contract(make, items):
    loader = make()
    assert len(loader.dataset) == 24 and loader.dataset.num_classes == 4
    by_path = {item.path: item for item in items}
    for iteration, batch in enumerate(take(loader, 5)):
        assert batch["iteration"] == iteration and batch["repeats"] == 0
        assert batch["images"].dtype == torch.uint8 and batch["images"].shape == (8, H, W, 3)
        assert batch["modality"].tolist() == [VISIBLE] * 4 + [INFRARED] * 4
        for name in ("targets", "modality", "camids"):
            assert batch[name].dtype == torch.int64 and batch[name].shape == (8,)
        for row, path in enumerate(batch["img_paths"]):
            item = by_path[path]
            assert sorted(PIDS)[batch["targets"][row]] == item.pid
            assert batch["camids"][row] == item.camid
            assert batch["modality"][row] == item.modality
            expected = resize_rgb(read_rgb(path), H, W, "bicubic")
            assert (batch["images"][row].numpy() == expected).all()


def test_new_labels_count_from_the_next_batch_on(make):
    loader = make()
    pids, batches = loader.dataset.pids, loader.iterate(0)
    before = next(batches)
    time.sleep(0.1)  # batches are read ahead
    labels = (pids % 2).astype(np.int64)
    loader.relabel(labels)
    after = [next(batches), next(batches)]
    batches.close()
    rows = {path: row for row, path in enumerate(loader.dataset.paths)}
    assert [before["iteration"], *(batch["iteration"] for batch in after)] == [0, 1, 2]
    for batch in after:
        expected = labels[[rows[path] for path in batch["img_paths"]]]
        assert batch["targets"].tolist() == batch["labels"].tolist() == expected.tolist()
        assert sorted({*expected}) == [0, 1]


def attach(items, name, of_number):
    return [item._replace(attached={name: of_number(n)}) for n, item in enumerate(items)]


@pytest.mark.parametrize(
    ("of_number", "dtype"),
    [
        (lambda n: n, torch.int64),
        (lambda n: [n, -n], torch.int64),
        (lambda n: np.full((2, 3), n / 2), torch.float32),
        (lambda n: n % 2 == 0, torch.bool),
    ],
)
def test_attached_numbers_are_a_tensor_of_the_batch(make, items, of_number, dtype):
    values = [of_number(n) for n in range(len(items))]
    items[:] = attach(items, "attributes", of_number)
    (batch,) = take(make(), 1)
    attached = batch["attached"]["attributes"]
    assert attached.dtype == dtype and len(attached) == 8
    by_path = {item.path: value for item, value in zip(items, values, strict=True)}
    for row, path in enumerate(batch["img_paths"]):
        np.testing.assert_array_equal(attached[row].numpy(), np.asarray(by_path[path]))


@pytest.mark.parametrize("of_number", ["image {}".format, lambda n: [1.0] * n, lambda n: None])
def test_other_attached_values_are_a_list(make, items, of_number):
    items[:] = attach(items, "text", of_number)
    (batch,) = take(make(), 1)
    by_path = {item.path: item.attached["text"] for item in items}
    assert batch["attached"]["text"] == [by_path[path] for path in batch["img_paths"]]


def test_every_image_has_the_same_names_attached(make, items):
    items[:] = attach(items, "mask", str)
    items[5] = items[5]._replace(attached={"masks": "5"})
    message = r"_2.png has \['masks'\] attached, .* has \['mask'\]; .* the same names"
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("cache", ["disk", "ram", "gpu"])
def test_every_cache_gives_the_batches_of_none(make, cache):
    for plain, cached in zip(take(make(), 6), take(make(cache=cache), 6), strict=True):
        assert plain["img_paths"] == cached["img_paths"]
        assert torch.equal(plain["images"], cached["images"])


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_resumed_at_an_iteration_it_gives_the_same_batches(make, cache):
    whole = take(make(cache=cache), 9)
    for resumed, batch in zip(take(make(cache=cache), 4, start=5), whole[5:], strict=True):
        assert resumed["iteration"] == batch["iteration"]
        assert resumed["img_paths"] == batch["img_paths"]
        assert torch.equal(resumed["images"], batch["images"])


def test_batches_do_not_share_memory(make):
    first, second = take(make(cache="ram"), 2)
    assert first["images"].data_ptr() != second["images"].data_ptr()


def test_only_a_few_batches_are_prepared_ahead(make):
    loader, seen = make(prefetch=2), []
    batch = loader.sampler.batch
    loader.sampler.batch = lambda iteration: seen.append(iteration) or batch(iteration)
    batches = loader.iterate()
    next(batches)
    time.sleep(0.5)
    assert max(seen) <= 4
    batches.close()


def test_threads_end(make):
    before = set(threading.enumerate())
    loader = make()
    batches = loader.iterate()
    next(batches)
    assert set(threading.enumerate()) - before
    loader.close()
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(threading.enumerate()) - before


def test_iterating_again_starts_anew(make):
    loader = make()
    assert take(loader, 2)[1]["iteration"] == 1
    assert take(loader, 1, start=7)[0]["iteration"] == 7


def damage_truncate(path):
    os.truncate(path, 60)


def damage_empty(path):
    open(path, "w").close()


@pytest.mark.parametrize("damage", [damage_truncate, damage_empty, os.remove])
def test_bad_image_is_an_error_that_names_it(make, items, damage):
    damage(items[10].path)
    begin = time.monotonic()
    with pytest.raises(UnreadableImageError, match=items[10].relpath):
        take(make(), 50)
    assert time.monotonic() - begin < 15


def test_skip_is_deterministic_counted_and_logged(make, items, caplog):
    damage_truncate(items[10].path)
    runs = []
    for _ in range(2):
        loader = make(on_bad_image="skip")
        caplog.clear()
        with caplog.at_level("WARNING", logger="wrimnet.data.reading"):
            runs.append(take(loader, 20))
        assert list(loader.skipped) == [items[10].path]
        assert caplog.text.count("skipped unreadable image") == 1
        assert "1 skipped so far" in caplog.text
    rows = 0
    replacement = resize_rgb(read_rgb(items[11].path), H, W, "bicubic")
    for batch, again in zip(*runs, strict=True):
        assert torch.equal(batch["images"], again["images"])
        for row, path in enumerate(batch["img_paths"]):
            if path == items[10].path:
                rows += 1
                assert (batch["images"][row].numpy() == replacement).all()
    assert rows > 0


def test_skip_with_none_left_is_an_error(make, items):
    for number in (9, 10, 11):
        damage_empty(items[number].path)
    with pytest.raises(ValueError, match="identity 7 has no readable infrared image left"):
        take(make(on_bad_image="skip"), 50)


def test_stalled_read_is_an_error_that_names_the_file(make, items):
    os.remove(items[0].path)
    os.mkfifo(items[0].path)  # opening it waits for a writer that never comes
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=f"{items[0].relpath}; check the disk"):
        take(make(timeout=1.0), 50)
    assert time.monotonic() - begin < 10


def test_a_slow_consumer_is_not_a_stall(make):
    batches = make(timeout=0.3).iterate()
    next(batches)
    time.sleep(1.0)
    assert [next(batches)["iteration"] for _ in range(4)] == [1, 2, 3, 4]
    batches.close()


def test_shrunk_cache_is_an_error_that_names_it(make):
    loader = make(cache="disk", prefetch=1)
    os.truncate(loader.source.cache.path, 100)
    with pytest.raises(ValueError, match=r"image cache .* is damaged: image \d+ is cut short"):
        take(loader, 5)


def test_closed_while_waiting(make, items):
    loader = make()
    batches = loader.iterate()
    next(batches)
    loader.close()
    with pytest.raises(RuntimeError, match="was closed"):
        for _ in range(10):
            next(batches)


def test_empty_train_set():
    with pytest.raises(ValueError, match="the training set has no image"):
        TrainSet([])


def test_labels_ascend_with_pid(items):
    dataset = TrainSet(items)
    assert sorted(set(zip(dataset.pids.tolist(), dataset.labels.tolist(), strict=True))) == [
        (5, 0),
        (7, 1),
        (12, 2),
        (30, 3),
    ]


def test_batch_must_be_2pk(items):
    from wrimnet.config import get_cfg
    from wrimnet.data.build import build_train_sampler

    cfg = get_cfg()
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_INSTANCE = 12, 4
    with pytest.raises(ValueError, match=r"IMS_PER_BATCH = 12 is not 2 x P x .*nearest: 16"):
        build_train_sampler(cfg, TrainSet(items))
    cfg.SOLVER.IMS_PER_BATCH = 16
    assert build_train_sampler(cfg, TrainSet(items)).batch(0).shape == (16,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_batches_arrive_whole_on_the_gpu(items, tmp_path):
    watch, dataset = ReadingWatch(), TrainSet(items)
    sampler = CrossModalitySampler(
        pids=dataset.pids, modalities=dataset.modality, num_pids=2, num_instances=2, seed=1
    )
    key = cache_key(items, dataset="Drawn", on_bad_image="error", **READING)
    opened = open_cache(key, items, tmp_path / "cache", num_processes=1, timeout=30.0)
    device = torch.device("cuda")
    loader = TrainLoader(
        dataset=dataset,
        sampler=sampler,
        source=DiskSource(opened, watch=watch, pin=True),
        watch=watch,
        device=device,
        prefetch=2,
        timeout=30.0,
    )
    for batch in take(loader, 20):
        expected = [resize_rgb(read_rgb(path), H, W, "bicubic") for path in batch["img_paths"]]
        assert batch["images"].is_cuda and batch["targets"].is_cuda
        assert (batch["images"].cpu().numpy() == np.stack(expected)).all()
    loader.close()
