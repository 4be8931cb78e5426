"""Several processes compute what one process with the whole batch does."""

import numpy as np
import pytest
import torch
from gloo_processes import run_in_processes
from shares_of_a_batch import (
    evaluate_only,
    small_cfg,
    train_and_evaluate,
    train_with_a_broken_image,
)

from wrimnet.data.build import build_dataset, build_train_loader


@pytest.fixture(scope="module")
def data(data):
    (data / "out").mkdir()
    return data


@pytest.fixture(scope="module")
def alone(data):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield train_and_evaluate(data)
    torch.set_num_threads(threads)


@pytest.fixture(
    scope="module", params=[2, pytest.param(4, marks=[pytest.mark.slow, pytest.mark.long])]
)
def together(request, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"by{request.param}")
    return run_in_processes(train_and_evaluate, request.param, folder, data)


def assert_near(found, expected, tolerance):
    """Largest difference of two tensors / largest value."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("kind", ["float64", "recomputed"])
def test_losses_and_gradients_of_consecutive_steps_in_float64(alone, together, kind):
    for of_rank in together:
        assert len(of_rank[kind]["steps"]) == len(alone[kind]["steps"])
        for found, expected in zip(of_rank[kind]["steps"], alone[kind]["steps"], strict=True):
            assert found["losses"] == pytest.approx(expected["losses"], rel=1e-8)
            assert found["gradients"].keys() == expected["gradients"].keys()
            scale = max(gradient.abs().max() for gradient in expected["gradients"].values())
            for name, gradient in expected["gradients"].items():
                difference = (found["gradients"][name] - gradient).abs().max()
                # a gradient that is 0 but for rounding has no relative error of its own
                assert difference <= 1e-8 * max(gradient.abs().max(), 1e-6 * scale), name


def test_weights_and_running_statistics_after_the_steps(alone, together):
    expected = alone["float64"]["state"]
    for of_rank in together:
        found = of_rank["float64"]["state"]
        assert list(found) == list(expected)  # checkpoints interchange
        for name, value in expected.items():
            assert_near(found[name].double(), value.double(), 1e-8)


def test_first_step_of_adam_in_float32(alone, together):
    for of_rank in together:
        found, expected = of_rank["float32"]["steps"][0], alone["float32"]["steps"][0]
        terms = [name for name in expected["losses"] if name != "grad_norm"]
        assert {name: found["losses"][name] for name in terms} == pytest.approx(
            {name: expected["losses"][name] for name in terms}, rel=1e-5
        )


def test_statistics_of_each_process_give_another_loss_and_equal_models(alone, together):
    first, *others = (of_rank["own statistics"] for of_rank in together)
    expected = alone["own statistics"]["steps"][0]["losses"]["loss_cls"]
    assert first["steps"][0]["losses"]["loss_cls"] != pytest.approx(expected, rel=1e-4)
    for other in others:
        for name, value in first["state"].items():
            torch.testing.assert_close(other["state"][name], value, rtol=1e-12, atol=1e-12)


def test_bf16_maps_are_normalized_in_float32_and_stay_bf16(alone, together):
    expected = alone["bf16"]
    for name in ("out", "grad"):
        found = torch.cat([of_rank["bf16"][name] for of_rank in together])
        assert found.dtype == torch.bfloat16
        assert_near(found.float(), expected[name].float(), 2**-7)
    for of_rank in together:
        assert_near(of_rank["bf16"]["variance"], expected["variance"], 1e-2)


def test_batch_of_all_processes_is_that_of_one(alone, together):
    expected = alone["batch"]
    for of_rank in together:
        found = of_rank["batch"]
        assert found["img_paths"] == expected["img_paths"]
        for name in ("images", "targets", "labels", "modality", "camids"):
            assert torch.equal(found[name], expected[name]), name


def test_loss_terms_see_cameras_and_attached_values_of_the_whole_batch(alone, together):
    expected = alone["inputs"]
    assert len(expected["number"].unique()) > 8 and len(expected["camids"].unique()) > 1
    for of_rank in together:
        for name, value in expected.items():
            assert torch.equal(of_rank["inputs"][name], value), name


def test_evaluation_is_equal_to_the_last_bit(alone, together):
    assert_equal_evaluation([of_rank["evaluation"] for of_rank in together], alone["evaluation"])


@pytest.mark.slow
def test_evaluation_by_three_processes_shares_batches_unevenly(data, alone, tmp_path):
    assert_equal_evaluation(run_in_processes(evaluate_only, 3, tmp_path, data), alone["evaluation"])


def assert_equal_evaluation(found, expected):
    for name, part in expected["parts"].items():
        assert np.array_equal(found[0]["parts"][name], part)
    for of_rank in found:
        assert of_rank["metrics"] == expected["metrics"]
    rows = [len(next(iter(of_rank["parts"].values()), ())) for of_rank in found[1:]]
    assert sum(rows) < len(next(iter(expected["parts"].values())))  # nobody embedded everything


def test_nan_of_one_process_ends_all_and_the_whole_batch_is_kept(data, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    said = run_in_processes(train_with_a_broken_image, 2, tmp_path, data, output)
    assert all("became nan at iteration 2, learning rate" in text for text in said), said
    saved = torch.load(output / "replay_00000002.pth", weights_only=True)
    cfg = small_cfg(data)
    loader = build_train_loader(cfg, build_dataset(cfg))
    expected = loader.load(1)
    loader.close()
    assert saved["img_paths"] == expected["img_paths"]
    assert torch.equal(saved["images"], expected["images"])
    assert not list(output.glob("checkpoint_*.pth")), "lost weights were saved"
