"""The total of the loss terms: names, weights, formula, raw values, number format."""

import pytest
import torch
from tiny_models import make_batch, make_model

from wrimnet.losses import cmkic_loss, partitioned_classification_loss, triplet_loss
from wrimnet.losses.total import LossTerm, WeightedTerm

NAMES = ("cls", "tri", "cmkic", "cls_aux", "tri_aux")
PARTLY_WEIGHTED = {
    "no_cmkic": ({"CMKIC__WEIGHT": 0}, {"cls", "tri", "cls_aux", "tri_aux"}),
    "no_auxiliary_loss": ({"AUXILIARY__WEIGHT": 0}, {"cls", "tri", "cmkic"}),
    "no_auxiliary": ({"AUXILIARY__ENABLED": False}, {"cls", "tri", "cmkic"}),
    "no_triplet": ({"TRIPLET__WEIGHT": 0}, {"cls", "cmkic", "cls_aux"}),
    "no_classification": ({"CLASSIFICATION__WEIGHT": 0}, {"tri", "cmkic", "tri_aux"}),
    "only_triplet": (
        {"CLASSIFICATION__WEIGHT": 0, "CMKIC__WEIGHT": 0, "AUXILIARY__ENABLED": False},
        {"tri"},
    ),
}


def head_output(model, batch):
    levels = model.train().backbone(model.preprocess_image(batch["images"]), 4)
    return model.compute_heads(levels, 4)


def terms_by_hand(output, batch):
    """Each term of the paper's total, without a weight."""
    targets, modality = batch["targets"], batch["modality"]
    return {
        "cls": partitioned_classification_loss(output.main.logits, targets, label_smoothing=0.1),
        "tri": triplet_loss(output.main.pooled, targets, margin=0.4),
        "cmkic": cmkic_loss(output.contrastive, targets, modality, top_k=1, temperature=0.2),
        "cls_aux": partitioned_classification_loss(
            output.auxiliary.logits, targets, label_smoothing=0.1
        ),
        "tri_aux": triplet_loss(output.auxiliary.pooled, targets, margin=0.4),
    }


def test_terms_see_cameras_and_what_the_dataset_attached():
    model, seen = make_model(AUXILIARY__ENABLED=False, CMKIC__WEIGHT=0), []
    term = LossTerm(
        "seen", lambda inputs: seen.append(inputs) or inputs.output.main.pooled.sum(), ()
    )
    model.terms = {"seen": WeightedTerm(term, 1.0, {})}
    attached = {"attributes": torch.rand(8, 3), "text": [str(row) for row in range(8)]}
    batch = make_batch(height=32, width=16) | {"camids": torch.arange(8), "attached": attached}
    model.train()(batch)
    assert torch.equal(seen[0].camids, batch["camids"])
    assert torch.equal(seen[0].gather(seen[0].camids), batch["camids"])
    assert seen[0].attached == attached


def test_sum_of_the_terms_is_the_total_of_the_paper():
    """L = c L_cls + t L_tri + lambda1 L_CMKIC + lambda2 (c L_cls_aux + t L_tri_aux)."""
    model = make_model(
        CLASSIFICATION__WEIGHT=0.9,
        CLASSIFICATION__LABEL_SMOOTHING=0.1,
        TRIPLET__WEIGHT=0.7,
        TRIPLET__MARGIN=0.4,
        CMKIC__WEIGHT=0.3,
        CMKIC__TOP_K=1,
        CMKIC__TEMPERATURE=0.2,
        AUXILIARY__WEIGHT=0.2,
        AUXILIARY__STRIPES=1,
    )
    batch = make_batch()
    output = head_output(model, batch)
    losses = model.losses(output, batch["targets"], 4)
    raw = terms_by_hand(output, batch)
    factors = {"cls": 0.9, "tri": 0.7, "cmkic": 0.3, "cls_aux": 0.18, "tri_aux": 0.14}
    expected = {f"loss_{name}": factors[name] * raw[name] for name in NAMES}
    assert list(losses) == list(expected)
    torch.testing.assert_close(losses, expected)
    total = 0.9 * raw["cls"] + 0.7 * raw["tri"] + 0.3 * raw["cmkic"]
    total = total + 0.2 * (0.9 * raw["cls_aux"] + 0.7 * raw["tri_aux"])
    torch.testing.assert_close(sum(losses.values()), total)


def test_sum_reduction_reaches_the_loss():
    by_mean, by_sum = (
        make_model(CMKIC__REDUCTION=reduction)(make_batch())["loss_cmkic"]
        for reduction in ("mean", "sum")
    )
    torch.testing.assert_close(by_sum, 4 * by_mean)  # four anchors in each direction


def test_raw_losses_are_the_unweighted_terms_without_a_graph():
    model = make_model()
    losses = model.train()(make_batch())
    factors = {"cls": 1.0, "tri": 1.0, "cmkic": 0.5, "cls_aux": 0.1, "tri_aux": 0.1}
    assert list(model.raw_losses) == list(NAMES)
    for name, raw in model.raw_losses.items():
        assert not raw.requires_grad
        torch.testing.assert_close(losses[f"loss_{name}"].detach(), factors[name] * raw)


def test_feature_norm_is_the_mean_over_the_images_without_a_graph():
    model, pooled = make_model().train(), []
    model.heads.register_forward_hook(lambda *call: pooled.append(call[-1].main.pooled))
    model(make_batch())
    norms = [sum(value**2 for value in row) ** 0.5 for row in pooled[0].tolist()]
    assert float(model.statistics["feature_norm"]) == pytest.approx(sum(norms) / len(norms))
    assert not model.statistics["feature_norm"].requires_grad


@pytest.mark.parametrize(("overrides", "left"), PARTLY_WEIGHTED.values(), ids=PARTLY_WEIGHTED)
def test_term_of_weight_zero_is_neither_computed_nor_logged(monkeypatch, overrides, left):
    computed = []
    for original in (partitioned_classification_loss, triplet_loss, cmkic_loss):

        def counted(*args, _original=original, **kwargs):
            computed.append(_original)
            return _original(*args, **kwargs)

        monkeypatch.setattr(f"wrimnet.losses.total.{original.__name__}", counted)
    model = make_model(**overrides)
    losses = model.train()(make_batch())
    assert set(losses) == {f"loss_{name}" for name in left}
    assert set(model.raw_losses) == left
    assert len(computed) == len(left)


@pytest.mark.parametrize(("overrides", "left"), PARTLY_WEIGHTED.values(), ids=PARTLY_WEIGHTED)
def test_no_trainable_parameter_is_without_a_loss(overrides, left):
    """A part of the network that no term reaches would be carried along and never trained."""
    model = make_model(**overrides)
    sum(model.train()(make_batch()).values()).backward()
    unreached = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert unreached == []


def test_losses_are_float32_under_autocast_and_close_to_full_precision():
    model, batch = make_model(), make_batch()
    full = model.train()(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = head_output(model, batch)
        losses = model(batch)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    features = [output.main.pooled, output.contrastive, *output.main.logits, *output.main.necks]
    assert {tensor.dtype for tensor in features} == {torch.float32}
    for name, loss in losses.items():
        torch.testing.assert_close(loss, full[name], rtol=0.1, atol=0.1)


def test_backbone_does_run_in_bfloat16_under_autocast():
    model, batch = make_model(), make_batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        levels = model.backbone(model.preprocess_image(batch["images"]), 4)
    assert {level.dtype for level in levels.values()} == {torch.bfloat16}


def test_losses_under_autocast_are_computed_from_features_as_in_full_precision():
    """Under autocast a matrix product of distances would be bfloat16: off by more than 1."""
    model, batch = make_model(), make_batch()
    output = head_output(model, batch)
    plain = model.losses(output, batch["targets"], 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = model.losses(output, batch["targets"], 4)
    torch.testing.assert_close(under_autocast, plain, rtol=0, atol=0)


def test_contrastive_embedding_gives_both_levels_the_same_weight():
    output = head_output(make_model(), make_batch())
    main, auxiliary = output.contrastive.split(128, dim=1)
    half = torch.full((8,), 0.5).sqrt()
    torch.testing.assert_close(main.norm(dim=1), half)
    torch.testing.assert_close(auxiliary.norm(dim=1), half)


def test_contrastive_embedding_without_auxiliary_level_is_the_main_projection():
    output = head_output(make_model(AUXILIARY__ENABLED=False), make_batch())
    expected = torch.nn.functional.normalize(output.main.contrastive, dim=1)
    torch.testing.assert_close(output.contrastive, expected)


def test_exchanging_identities_leaves_every_loss():
    """The order of the identities in a batch carries no meaning."""
    model, batch = make_model(), make_batch()
    order = torch.tensor([2, 3, 0, 1, 6, 7, 4, 5])
    moved = {name: value[order] for name, value in batch.items()}
    torch.testing.assert_close(model(batch), model(moved), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("returned", "message"),
    [(0.5, "own returned a float; expected"), (torch.ones(2), r"own returned a Tensor \(2,\);")],
)
def test_term_that_is_no_scalar_tensor_is_named(returned, message):
    term = WeightedTerm(LossTerm("own", lambda inputs: returned, ()), 1.0, {})
    with pytest.raises(ValueError, match=message):
        term(None)
