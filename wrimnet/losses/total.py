"""The total loss, as a list of terms in the order of the paper, whose last formula it is.

    L = L_cls_P5 + L_tri_P5 + lambda1 L_CMKIC_P5 + lambda2 (L_cls_P4 + L_tri_P4)

A custom term is appended by :func:`register_term`, from a module that PLUGINS names. It is
then in the total, in the log as ``loss_NAME`` and ``raw/NAME``, and in the report of a value that
is not finite. A term of weight 0 is neither computed nor logged.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from wrimnet.losses.classification import partitioned_classification_loss
from wrimnet.losses.cmkic import cmkic_loss
from wrimnet.losses.pairs import check_cross_modality_pairs, check_identity_pairs
from wrimnet.losses.triplet import triplet_loss


class Attached(dict[str, Any]):
    """What the dataset attached to the images of a batch, by name."""

    def __missing__(self, name: str) -> Any:
        raise KeyError(
            f"{name!r} is not attached to the images; the dataset attaches {sorted(self)} "
            "(ImageItem.attached)"
        )


class LossInputs(NamedTuple):
    """What a term is computed from.

    Where processes share a batch, ``output``, ``targets``, ``camids`` and ``attached`` are of this
    process's B images, and ``gather`` makes of the rows (B, ...) of a tensor those of all N images
    of the batch, visible ones first. So ``gather(camids)`` belongs to ``pids`` and ``modality``.
    """

    output: Any  # of the head, such as :class:`wrimnet.modeling.aicl_head.HeadOutput`
    targets: Tensor  # (B,) classes
    pids: Tensor  # (N,) classes of the whole batch
    modality: Tensor  # (N,) VISIBLE or INFRARED, of the whole batch
    gather: Callable[[Tensor], Tensor]  # (B, ...) -> (N, ...)
    camids: Tensor | None = None  # (B,) cameras; None for a batch that does not say
    attached: Mapping[str, Any] = {}  # by name: a tensor (B, ...) or a list of B values


def _no_check(labels: Tensor, modality: Tensor) -> None:
    """Of a term that every batch of the sampler fits."""


class LossTerm(NamedTuple):
    """One term of the total.

    Args:
        name: in the log.
        compute: (inputs, settings by name) -> scalar.
        weights: configuration keys whose product is the weight.
        settings: argument name -> configuration key.
        check: refuses (labels (N,), modality (N,)), on the CPU, that the term cannot be computed
            from.
    """

    name: str
    compute: Callable[..., Tensor]
    weights: tuple[str, ...]
    settings: Mapping[str, str] = {}
    check: Callable[[Tensor, Tensor], None] = _no_check


def _classification(level: str, inputs: LossInputs, label_smoothing: float) -> Tensor:
    logits = getattr(inputs.output, level).logits
    return partitioned_classification_loss(logits, inputs.targets, label_smoothing=label_smoothing)


def _triplet(level: str, inputs: LossInputs, **settings: Any) -> Tensor:
    pooled = inputs.gather(getattr(inputs.output, level).pooled)
    return triplet_loss(pooled, inputs.pids, **settings)


def _cmkic(inputs: LossInputs, **settings: Any) -> Tensor:
    embeddings = inputs.gather(inputs.output.contrastive)
    return cmkic_loss(embeddings, inputs.pids, inputs.modality, **settings)


_WRIM = "MODEL.WRIM"
_SMOOTHING = {"label_smoothing": f"{_WRIM}.CLASSIFICATION.LABEL_SMOOTHING"}
_HINGE = {
    name: f"{_WRIM}.TRIPLET.{name.upper()}" for name in ("margin", "soft_margin", "unit_length")
}
_CLASSIFICATION, _TRIPLET = (f"{_WRIM}.CLASSIFICATION.WEIGHT",), (f"{_WRIM}.TRIPLET.WEIGHT",)
_AUXILIARY = (f"{_WRIM}.AUXILIARY.ENABLED", f"{_WRIM}.AUXILIARY.WEIGHT")  # lambda2

TERMS = [
    LossTerm("cls", partial(_classification, "main"), _CLASSIFICATION, _SMOOTHING),
    LossTerm(
        "tri",
        partial(_triplet, "main"),
        _TRIPLET,
        _HINGE,
        lambda labels, modality: check_identity_pairs(labels),
    ),
    LossTerm(
        "cmkic",
        _cmkic,
        (f"{_WRIM}.CMKIC.WEIGHT",),  # lambda1
        {
            "top_k": f"{_WRIM}.CMKIC.TOP_K",
            "temperature": f"{_WRIM}.CMKIC.TEMPERATURE",
            "reduction": f"{_WRIM}.CMKIC.REDUCTION",
        },
        check_cross_modality_pairs,
    ),
    LossTerm(
        "cls_aux", partial(_classification, "auxiliary"), _AUXILIARY + _CLASSIFICATION, _SMOOTHING
    ),
    LossTerm("tri_aux", partial(_triplet, "auxiliary"), _AUXILIARY + _TRIPLET, _HINGE),
]


def register_term(term: LossTerm) -> None:
    """Appends a term to the total of every network that is built from now on.

    Raises:
        ValueError: there is a term of that name.
    """
    if any(other.name == term.name for other in TERMS):
        raise ValueError(f"there is a loss term {term.name!r} already; give yours another name")
    TERMS.append(term)


class WeightedTerm(NamedTuple):
    """A term with its weight, above 0, and its settings, as a configuration has them."""

    term: LossTerm
    weight: float
    settings: dict[str, Any]

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Computes the term, without its weight; ValueError if it is no scalar tensor."""
        value = self.term.compute(inputs, **self.settings)
        if not isinstance(value, Tensor) or value.ndim:
            shape = f" {tuple(value.shape)}" if isinstance(value, Tensor) else ""
            raise ValueError(
                f"the loss term {self.term.name} returned a {type(value).__name__}{shape}; "
                "expected a scalar tensor"
            )
        return value


def weighted_terms(read: Callable[[str], Any]) -> dict[str, WeightedTerm]:
    """Returns the terms that have a weight, by name, in the order of the total.

    Args:
        read: configuration key -> value; None where there is no such key, as for a term whose
            plugin this configuration does not name.
    """
    terms = {}
    for term in TERMS:
        weight = 1.0
        for factor in map(read, term.weights):
            weight *= factor or 0.0
        if weight > 0:
            settings = {argument: read(key) for argument, key in term.settings.items()}
            terms[term.name] = WeightedTerm(term, weight, settings)
    return terms
