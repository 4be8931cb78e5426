"""The checks name the first image without a pair, and refuse nothing else."""

import pytest
import torch

from wrimnet.losses import check_cross_modality_pairs, check_identity_pairs
from wrimnet.losses.pairs import cross_modality_pairs, identity_pairs

COMPLETE = (torch.tensor([4, 4, 9, 9]), torch.tensor([0, 1, 0, 1]))


def test_a_complete_batch_passes():
    assert check_cross_modality_pairs(*COMPLETE) is None
    assert check_identity_pairs(COMPLETE[0]) is None


def test_pairs_by_hand():
    positive, negative = cross_modality_pairs(*COMPLETE)
    assert positive.int().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert negative.int().tolist() == [[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    positive, negative = identity_pairs(COMPLETE[0])
    assert positive.int().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert negative.int().tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_no_positive_of_the_other_modality_is_named():
    pids, modality = torch.tensor([4, 4, 9, 9, 7]), torch.tensor([0, 1, 0, 1, 1])
    with pytest.raises(ValueError, match=r"anchor 4 \(pid 7, infrared\) has no positive of the o"):
        check_cross_modality_pairs(pids, modality)


def test_no_negative_of_the_other_modality_is_named():
    pids, modality = torch.tensor([4, 4, 4]), torch.tensor([0, 1, 1])
    with pytest.raises(ValueError, match=r"anchor 0 \(pid 4, visible\) has no negative of the oth"):
        check_cross_modality_pairs(pids, modality)


def test_an_unknown_modality_is_named():
    with pytest.raises(ValueError, match=r"image 2 has modality 3; expected 0 \(visible\) or 1 \("):
        check_cross_modality_pairs(COMPLETE[0], torch.tensor([0, 1, 3, 1]))


def test_no_positive_is_named():
    with pytest.raises(ValueError, match=r"anchor 2 \(pid 9\) has no positive in the batch of 3"):
        check_identity_pairs(torch.tensor([4, 4, 9]))


def test_no_negative_is_named():
    with pytest.raises(ValueError, match=r"anchor 0 \(pid 4\) has no negative in the batch of 2"):
        check_identity_pairs(torch.tensor([4, 4]))
