"""Parameter groups and learning-rate laws."""

import math
from itertools import pairwise

import pytest
import torch
from tiny_runs import tiny_cfg
from torch import nn

from wrimnet.config import config_hash
from wrimnet.config.tree import changed_cfg
from wrimnet.engine.solver import build_groups, build_lr_scheduler, build_optimizer
from wrimnet.modeling.weights import build_model
from wrimnet.registries import OPTIMIZER_REGISTRY, SCHEDULE_REGISTRY, register_as
from wrimnet.schedules import cosine, multi_step, warm_up_factor


@pytest.fixture
def cfg_of(tmp_path):
    return lambda **overrides: tiny_cfg(tmp_path, tmp_path, **overrides)


def build(cfg):
    model = build_model(changed_cfg(cfg, {"MODEL.HEADS.NUM_CLASSES": 5}))
    return model, build_optimizer(cfg, model)


def group_of(optimizer, parameter):
    (group,) = [g for g in optimizer.param_groups if any(p is parameter for p in g["params"])]
    return group


def test_recipe_has_one_group_of_every_trainable_parameter(cfg_of):
    model, optimizer = build(cfg_of())
    (group,) = optimizer.param_groups
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for p in group["params"]} == trainable
    assert len(group["params"]) == len(trainable)
    assert (group["lr"], group["weight_decay"]) == (3.5e-4, 5e-4)


def test_decay_and_rate_by_kind_make_the_fewest_groups(cfg_of):
    cfg = cfg_of(
        SOLVER__HEADS_LR_FACTOR="10",
        SOLVER__BIAS_LR_FACTOR="2",
        SOLVER__WEIGHT_DECAY_NORM="0",
        SOLVER__WEIGHT_DECAY_BIAS="0.1",
    )
    model, optimizer = build(cfg)
    names = dict(model.named_parameters())
    expected = {
        "backbone.conv1.weight": (1, 5e-4),
        "backbone.bn1.weight": (1, 0),
        "backbone.bn1.bias": (1, 0),
        "heads.main.classifiers.0.weight": (10, 5e-4),
        "heads.main.projection.0.bias": (20, 0.1),
        "heads.main.necks.0.weight": (10, 0),
    }
    for name, (factor, decay) in expected.items():
        group = group_of(optimizer, names[name])
        assert group["lr"] == pytest.approx(factor * 3.5e-4), name
        assert group["weight_decay"] == decay, name
    settings = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert len(set(settings)) == len(settings) == 6


def test_groups_are_the_same_for_a_base_rate_of_zero(cfg_of):
    model = nn.ModuleDict({"heads": nn.Linear(1, 1), "backbone": nn.Linear(1, 1)})
    sizes = [
        [len(group["params"]) for group in build_groups(cfg, model)]
        for cfg in (
            cfg_of(SOLVER__BASE_LR=rate, SOLVER__HEADS_LR_FACTOR="2") for rate in ("1", "0")
        )
    ]
    assert sizes == [[2, 2], [2, 2]]


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm1d(2), nn.InstanceNorm2d(2, affine=True), nn.LayerNorm(2), nn.RMSNorm(2)],
    ids=lambda norm: type(norm).__name__,
)
def test_every_norm_has_the_decay_of_norms(cfg_of, norm):
    model = nn.Sequential(norm, nn.Linear(2, 2, bias=False))
    groups = build_groups(cfg_of(SOLVER__WEIGHT_DECAY_NORM="0"), model)
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert [decays[id(p)] for p in model.parameters()] == [0.0] * len([*norm.parameters()]) + [5e-4]


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_optimizer_is_the_named_one(cfg_of, name):
    _, optimizer = build(cfg_of(SOLVER__OPT=name, SOLVER__NESTEROV="True"))
    assert type(optimizer) is getattr(torch.optim, name)
    if name == "SGD":
        assert (optimizer.defaults["momentum"], optimizer.defaults["nesterov"]) == (0.9, True)


def test_decay_is_inside_adams_gradient():
    """Adam's L2 term is divided by the gradient's size: a step of lr whatever the decay."""
    parameter = nn.Parameter(torch.tensor([5.0]))
    optimizer = torch.optim.Adam([parameter], lr=0.1, weight_decay=0.5, fused=True)
    parameter.grad = torch.zeros(1)
    optimizer.step()
    assert float(parameter.detach()) == pytest.approx(4.9, abs=1e-4)


def rates(cfg, iterations, iters_per_epoch):
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=cfg.SOLVER.BASE_LR)
    schedule = build_lr_scheduler(cfg, optimizer, iters_per_epoch)
    found = []
    for _ in range(iterations):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_each_step_multiplies_by_gamma_from_its_epoch_on():
    law = multi_step([120, 80, 80], 0.5)
    assert [law(epoch) for epoch in (0, 79, 80, 119, 120, 500)] == [1, 1, 0.25, 0.25, 0.125, 0.125]


def test_without_steps_the_rate_stays():
    assert multi_step([], 0.1)(1000) == 1


def test_cosine_starts_at_one_falls_and_ends_at_the_least():
    law = cosine(max_epoch=100, delay=20, least=0.01)
    values = [law(epoch) for epoch in range(120)]
    assert values[:21] == [1.0] * 21
    assert all(after < before for before, after in pairwise(values[20:101]))
    assert values[60] == pytest.approx((1 + 0.01) / 2)
    assert values[100:] == pytest.approx([0.01] * 20)
    assert values[30] == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 8)) / 2)


def test_cosine_reaches_the_configured_rate(cfg_of):
    cfg = cfg_of(SOLVER__SCHED="CosineAnnealingLR", SOLVER__MAX_EPOCH="4", SOLVER__ETA_MIN_LR="0")
    found = rates(cfg, 10, 2)
    assert found[:2] == [3.5e-4] * 2
    assert found[4] == pytest.approx(3.5e-4 / 2)
    assert found[8] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("method", ["linear", "constant"])
def test_warm_up_rises_to_one_and_is_gone(method):
    law = warm_up_factor(4, 0.2, method)
    expected = [0.2, 0.4, 0.6, 0.8] if method == "linear" else [0.2] * 4
    assert [law(iteration) for iteration in range(6)] == pytest.approx([*expected, 1, 1])
    assert warm_up_factor(0, 0.2, method)(0) == 1


def test_rate_is_one_law_for_all_groups(cfg_of):
    cfg = cfg_of(SOLVER__HEADS_LR_FACTOR="10", SOLVER__STEPS="[1]")
    _, optimizer = build(cfg)
    schedule = build_lr_scheduler(cfg, optimizer, 1)
    optimizer.step()
    schedule.step()
    rates_now = sorted(group["lr"] for group in optimizer.param_groups)
    assert rates_now == pytest.approx([3.5e-5, 3.5e-4])


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.heads = nn.Linear(2, 3), nn.Linear(3, 1)


@pytest.mark.parametrize("name", ["NAdam", "RMSprop", "Adagrad", "RAdam", "Adamax"])
def test_any_optimizer_of_torch_has_the_groups_of_the_recipe(cfg_of, name):
    optimizer = build_optimizer(cfg_of(SOLVER__OPT=name), Line())
    assert type(optimizer) is getattr(torch.optim, name)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (3.5e-4, 5e-4)


def test_optimizer_without_weight_decay_is_not_given_any(cfg_of):
    with pytest.raises(ValueError, match=r"'Rprop' has no weight decay; set SOLVER.WEIGHT_DECAY 0"):
        build_optimizer(cfg_of(SOLVER__OPT="Rprop"), Line())
    optimizer = build_optimizer(cfg_of(SOLVER__OPT="Rprop", SOLVER__WEIGHT_DECAY="0"), Line())
    assert optimizer.param_groups[0]["lr"] == 3.5e-4


@pytest.mark.parametrize("name", ["LBFGS", "Optimizer", "lr_scheduler", "adam"])
def test_unknown_optimizer_says_what_there_is(cfg_of, name):
    with pytest.raises(ValueError, match=f"SOLVER.OPT = '{name}': expected a class .*PLUGINS"):
        cfg_of(SOLVER__OPT=name)


@register_as(OPTIMIZER_REGISTRY, "Halved")
def build_halved(cfg, groups):
    return torch.optim.SGD(groups, lr=cfg.SOLVER.BASE_LR / 2)


@register_as(SCHEDULE_REGISTRY, "Sawtooth")
def build_sawtooth(cfg, iters_per_epoch):
    return lambda iteration: 1 - (iteration % iters_per_epoch) / iters_per_epoch


def test_registered_optimizer_and_schedule_per_iteration(cfg_of):
    cfg = cfg_of(SOLVER__OPT="Halved", SOLVER__SCHED="Sawtooth", SOLVER__BASE_LR="1")
    optimizer = build_optimizer(cfg, Line())
    schedule, rates = build_lr_scheduler(cfg, optimizer, 4), []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1, 0.75, 0.5, 0.25, 1, 0.75])


def test_unknown_schedule_lists_what_there_is(cfg_of):
    with pytest.raises(ValueError, match=r"SCHED = 'Poly': expected one of Cosine.*MultiStepLR"):
        cfg_of(SOLVER__SCHED="Poly")


def test_multipliers_change_the_rates_of_the_parameters_they_match(cfg_of):
    pairs = "[['backbone.*', 0.1], ['*.bias', 2]]"
    model = Line()
    optimizer = build_optimizer(cfg_of(SOLVER__LR_MULTIPLIERS=pairs, SOLVER__BASE_LR="1"), model)
    rates = {n: group_of(optimizer, p)["lr"] for n, p in model.named_parameters()}
    assert rates == pytest.approx(
        {"backbone.weight": 0.1, "backbone.bias": 0.2, "heads.weight": 1, "heads.bias": 2}
    )


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (
            "[['nothing.*', 0.1]]",
            r"'nothing.\*' matches none of the 4 trainable parameters, such as",
        ),
        ("[['heads.*', -1]]", "expected .pattern, factor."),
        ("[['heads.*']]", "expected .pattern, factor."),
        ("['heads.*', 1]", "expected .pattern, factor."),
    ],
)
def test_multiplier_that_means_nothing_is_refused(cfg_of, pairs, sentence):
    with pytest.raises(ValueError, match=f"SOLVER.LR_MULTIPLIERS.*{sentence}"):
        build_optimizer(cfg_of(SOLVER__LR_MULTIPLIERS=pairs), Line())


def test_default_of_the_new_keys_leaves_the_hash(cfg_of):
    plain = config_hash(cfg_of())
    assert config_hash(cfg_of(HOOKS="()", SOLVER__LR_MULTIPLIERS="()", WRITERS="()")) == plain
    assert config_hash(cfg_of(SOLVER__LR_MULTIPLIERS="[['*', 0.5]]")) != plain
