"""examples/unsupervised: clusters, memories, matches and measures against literal definitions."""

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("sklearn", reason="scikit-learn is an optional extra")
from PIL import Image, ImageEnhance
from sklearn.cluster import DBSCAN

from examples.unsupervised.cluster_losses import memories_of
from examples.unsupervised.cluster_sampler import draw_clusters
from examples.unsupervised.clustering import cluster_images, cluster_means, near_pairs
from examples.unsupervised.epoch_values import epoch_values, in_words
from examples.unsupervised.matching import match_clusters
from examples.unsupervised.measures import coverage, main_identities, matched_purity, purity
from examples.unsupervised.memories import Memories, cluster_contrast, moved_memory
from examples.unsupervised.two_views import TwoViews, jittered
from wrimnet.data.augmentation import AugmentationSettings
from wrimnet.data.sampler import BatchRequest
from wrimnet.metrics.reranking import rerank
from wrimnet.modality import INFRARED, VISIBLE


def unit(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return F.normalize(torch.from_numpy(rng.standard_normal(shape)), dim=-1)


def people(num_people, num_images, spread, seed=0):
    """Unit embeddings of people with so many images each, one after another."""
    centers = unit(num_people, 1, 16, seed=seed)
    noise = spread * unit(num_people, num_images, 16, seed=seed + 1)
    return F.normalize((centers + noise).flatten(0, 1), dim=1)


def test_clusters_are_those_of_dbscan_on_the_whole_matrix():
    embeddings = people(9, 12, spread=1.1)
    full = near_pairs(embeddings, k1=8, k2=3, eps=1.0).toarray()
    expected = DBSCAN(eps=0.55, min_samples=4, metric="precomputed").fit_predict(full)
    assert len(set(expected)) > 3 and (expected == -1).any()
    found = cluster_images(embeddings, k1=8, k2=3, eps=0.55, min_samples=4)
    np.testing.assert_array_equal(found, expected)
    own = 2 - 2 * embeddings @ embeddings.T
    between = rerank(own, 40, k1=8, k2=3, original_weight=0.0)
    np.testing.assert_allclose(full[:40, 40:], between.numpy(), atol=1e-12)


def test_people_who_are_far_apart_are_the_clusters():
    labels = cluster_images(people(6, 10, spread=0.2), k1=9, k2=3, eps=0.6, min_samples=4)
    np.testing.assert_array_equal(labels, np.repeat(np.arange(6), 10))


def test_means_of_clusters_leave_outliers_out():
    embeddings = unit(5, 3)
    means = cluster_means(embeddings, np.array([1, -1, 0, 1, -1]))
    expected = torch.stack((embeddings[2], F.normalize(embeddings[0] + embeddings[3], dim=0)))
    torch.testing.assert_close(means, expected)


def contrast_by_loops(features, labels, memory, temperature):
    total = 0.0
    for feature, label in zip(features.tolist(), labels.tolist(), strict=True):
        powers = [
            np.exp(sum(a * b for a, b in zip(feature, row, strict=True)) / temperature)
            for row in memory.tolist()
        ]
        total -= np.log(powers[label] / sum(powers))
    return total / len(labels)


def test_contrast_is_the_mean_cross_entropy_and_gives_the_memory_no_gradient():
    features, memory = unit(6, 5).requires_grad_(), unit(4, 5, seed=1).requires_grad_()
    labels = torch.tensor([0, 3, 3, 1, 2, 0])
    loss = cluster_contrast(features, labels, memory, temperature=0.05)
    expected = contrast_by_loops(features, labels, memory, 0.05)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert memory.grad is None and features.grad.abs().sum() > 0
    assert torch.autograd.gradcheck(
        lambda f: cluster_contrast(f, labels, memory, temperature=0.3), features
    )


def moved_by_loops(memory, features, labels, momentum):
    memory = memory.clone()
    for feature, label in zip(features, labels.tolist(), strict=True):
        row = momentum * memory[label] + (1 - momentum) * feature
        memory[label] = row / row.norm()
    return memory


def test_memory_moves_by_each_image_in_turn():
    memory, features = unit(4, 5), unit(9, 5, seed=1)
    labels = torch.tensor([2, 0, 2, 2, 3, 0, 3, 2, 0])
    before = memory.clone()
    found = moved_memory(memory, features, labels, momentum=0.2, hardest=False)
    torch.testing.assert_close(found, moved_by_loops(memory, features, labels, 0.2))
    assert torch.equal(found[1], before[1])  # not in the batch
    assert torch.equal(memory, before)


def test_memory_moves_by_the_hardest_image_of_each_cluster():
    memory, features = unit(4, 5), unit(9, 5, seed=1)
    labels = torch.tensor([2, 0, 2, 2, 3, 0, 3, 2, 0])
    hardest = []
    for label in (0, 2, 3):
        rows = [i for i in range(9) if labels[i] == label]
        hardest.append(min(rows, key=lambda i: float(features[i] @ memory[labels[i]])))
    expected = moved_by_loops(memory, features[hardest], labels[hardest], 0.2)
    found = moved_memory(memory, features, labels, momentum=0.2, hardest=True)
    torch.testing.assert_close(found, expected)


def test_each_modality_moves_its_own_memory_once_and_matches_lead_across():
    memories = Memories()
    memories.rows = {VISIBLE: unit(3, 5), INFRARED: unit(2, 5, seed=1)}
    memories.matches = {VISIBLE: torch.tensor([1, 0, 1]), INFRARED: torch.tensor([2, 0])}
    visible, infrared = memories.rows[VISIBLE].clone(), memories.rows[INFRARED].clone()
    features, labels = unit(4, 5, seed=2), torch.tensor([0, 1, 1, 0])
    memories.within(INFRARED, features, labels, 0.05)
    memories.crossing = INFRARED
    across = memories.across(features, labels, 0.05)
    expected = contrast_by_loops(features, torch.tensor([2, 0, 0, 2]), visible, 0.05)
    assert float(across) == pytest.approx(expected)
    memories.crossing = VISIBLE
    across = memories.across(features, labels, 0.05)
    expected = contrast_by_loops(features, torch.tensor([1, 0, 0, 1]), infrared, 0.05)
    assert float(across) == pytest.approx(expected)
    for _ in range(2):  # a second time there is nothing left to move by
        memories.move(momentum=0.2, hardest=False)
        assert torch.equal(memories.rows[VISIBLE], visible)
        moved = moved_by_loops(infrared, features, labels, 0.2)
        torch.testing.assert_close(memories.rows[INFRARED], moved)


def first_round_by_trying(cost):
    """Least cost of a square matrix whose missing columns are zero, by trying every order."""
    rows, columns = cost.shape
    square = np.hstack([cost, np.zeros((rows, rows - columns))])
    best = min(permutations(range(rows)), key=lambda p: sum(square[i, p[i]] for i in range(rows)))
    return {row: column for row, column in enumerate(best) if column < columns}


def match_by_trying(visible, infrared):
    """The spec's two directions, with more rounds where clusters are left."""
    cost = np.exp(-(visible @ infrared.T).numpy())
    pairs = first_round_by_trying(cost)
    back = {column: row for row, column in pairs.items()}
    while left := [row for row in range(len(cost)) if row not in pairs]:
        part = cost[left]
        if len(left) >= part.shape[1]:
            found = first_round_by_trying(part)
        else:
            found = {row: column for column, row in first_round_by_trying(part.T).items()}
        pairs |= {left[row]: column for row, column in found.items()}
    return [pairs[i] for i in range(len(visible))], [back[i] for i in range(len(infrared))]


@pytest.mark.parametrize("more", [VISIBLE, INFRARED])
@pytest.mark.parametrize(("larger", "smaller"), [(4, 4), (5, 3), (6, 2), (3, 1)])
def test_matches_are_those_of_trying_every_assignment(larger, smaller, more):
    large, small = unit(larger, 4, seed=larger), unit(smaller, 4, seed=9)
    from_large, from_small = match_by_trying(large, small)
    found = match_clusters(large, small) if more == VISIBLE else match_clusters(small, large)[::-1]
    assert [part.tolist() for part in found] == [from_large, from_small]


def test_purity_coverage_and_matches_of_a_case_by_hand():
    labels = np.array([0, 0, 0, 1, 1, -1, 2])
    pids = np.array([7, 7, 5, 5, 9, 9, 7])
    assert purity(labels, pids) == (2 + 1 + 1) / 6
    assert coverage(labels, pids) == 2 / 3  # 7, 5 and 7 again
    assert main_identities(labels, pids).tolist() == [7, 5, 7]
    assert matched_purity(np.array([1, 1, 0]), np.array([7, 5, 5]), np.array([5, 7])) == 2 / 3


def test_values_of_an_epoch_say_agreement_only_where_identities_exist():
    labels, modality = np.array([0, 1, 1, -1, 0, 0]), np.array([0, 0, 0, 0, 1, 1])
    matches = {VISIBLE: torch.tensor([0, 0]), INFRARED: torch.tensor([1])}
    counts = {
        "clusters_visible": 2, "outliers_visible": 1, "clusters_infrared": 1,
        "outliers_infrared": 0, "matched_pairs": 2,
    }  # fmt: skip
    assert epoch_values(labels, modality, np.zeros(6, int), matches) == counts
    found = epoch_values(labels, modality, np.array([1, 2, 2, 3, 2, 2]), matches)
    shares = {
        "purity_visible": 1, "coverage_visible": 2 / 3, "purity_infrared": 1,
        "coverage_infrared": 1, "purity_matches": 0.5,
    }  # fmt: skip
    assert found == counts | shares
    assert "outliers visible 1, " in in_words(found) and "coverage visible 0.667" in in_words(found)


def test_batches_hold_clusters_of_each_modality_and_no_outlier():
    modality = np.repeat([VISIBLE, INFRARED], 30)
    labels = np.concatenate([np.arange(30) % 7 - 1, np.arange(30) % 4 - 1])
    for iteration in range(5):
        rng = np.random.default_rng(iteration)
        rows = draw_clusters(labels, modality, rng, BatchRequest(3, 4, iteration, 0))
        drawn = labels[rows].reshape(2, 3, 4)
        assert (drawn == drawn[..., :1]).all() and (drawn >= 0).all()
        assert all(len(set(half[:, 0])) == 3 for half in drawn)
        assert (modality[rows] == np.repeat([VISIBLE, INFRARED], 12)).all()


def test_jitter_is_that_of_pil():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 8, 6, 3), dtype=np.uint8)
    factors = np.array([[1.4, 0.6, 1.0], [0.7, 1.3, 1.0], [1.5, 0.2, 1.0]])
    found = jittered(torch.from_numpy(images), factors).numpy().astype(int)
    for image, factor, result in zip(images, factors.T, found, strict=True):
        expected = Image.fromarray(image)
        steps = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for enhance, value in zip(steps, factor, strict=True):
            expected = enhance(expected).enhance(value)
        assert np.abs(result - np.asarray(expected).astype(int)).max() <= 3  # PIL rounds each step
    np.testing.assert_array_equal(found[2], images[2])


def test_half_of_the_visible_images_go_in_twice():
    settings = AugmentationSettings(
        scales=(1.0,), flip_prob=0.0, erase_prob=0.0, erase_area=(0.1, 0.2),
        erase_aspect=(0.5, 2.0), grayscale_prob=0.0,
    )  # fmt: skip
    views = TwoViews(jitter=0.5, padding=0, settings=settings, fill=(0, 0, 0), seed=0)
    images = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (8, 6, 4, 3), dtype=np.uint8)
    )
    batch = {
        "images": images, "modality": torch.tensor([0] * 4 + [1] * 4), "iteration": 3,
        "targets": torch.arange(8),
    }  # fmt: skip
    found = views.augment(batch)
    assert found["targets"].tolist() == [0, 1, 0, 1, 4, 5, 6, 7]
    assert found["modality"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    pixels = found["images"].permute(0, 2, 3, 1)
    torch.testing.assert_close(pixels[:2], images[:2].float())
    torch.testing.assert_close(pixels[4:], images[4:].float())
    second = pixels[2:4]
    assert (second == second[..., :1]).all()  # one channel in place of all
    assert not any((second[..., 0] == images[:2, ..., c].float()).all() for c in range(3))


def test_losses_without_the_hook_say_what_makes_clusters():
    inputs = SimpleNamespace(output=SimpleNamespace(branches={"memories": None}))
    with pytest.raises(ValueError, match=r"there are no clusters: the hook .* a dry run"):
        memories_of(inputs)
