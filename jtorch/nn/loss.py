"""Losses as modules, each its function in `nn.functional` with the arguments stored.

All take `reduction`: "mean", "sum" or "none". `size_average` and `reduce` are torch's deprecated forms of it.
"""

import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar
from typing import Any

from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn._declared import Declared, functional
from jtorch.ops._args import check
from jtorch.ops.loss import legacy_reduction


class _Loss(Declared):
    """A loss, whose deprecated arguments turn into `reduction`."""

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"

    def __post_init__(self, size_average: bool | None = None, reduce: bool | None = None):
        self.reduction = legacy_reduction(size_average, reduce, self.reduction)


class _WeightedLoss(_Loss):
    """A loss with a `weight`, which is a buffer."""

    weight: Tensor | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"


# regression


class L1Loss(_Loss):
    """The absolute differences of input and target.

    Shape: (*), (*) -> ()
    """

    forward = functional(F.l1_loss)


class MSELoss(_Loss):
    """The squared differences of input and target.

    Shape: (*), (*) -> ()
    """

    forward = functional(F.mse_loss)


class SmoothL1Loss(_Loss):
    """Squared differences divided by `2 * beta` below `beta`, absolute differences less `beta / 2` above.

    Shape: (*), (*) -> ()
    """

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    beta: float = 1.0
    forward = functional(F.smooth_l1_loss)


class HuberLoss(_Loss):
    """Half the squared differences up to `delta`, lines of slope `delta` beyond.

    Shape: (*), (*) -> ()
    Source: Huber, Annals of Mathematical Statistics 35 (1964).
    """

    reduction: str = "mean"
    delta: float = 1.0
    forward = functional(F.huber_loss)

    def __post_init__(self, **none: Any):
        real = isinstance(self.delta, float | int)
        check(real, f"delta must be a float or int, got: {type(self.delta)}", TypeError)


# likelihoods


class KLDivLoss(_Loss):
    """The Kullback-Leibler divergence of target probabilities from log-probabilities; see `F.kl_div`.

    Shape: (N, *), (N, *) -> ()
    Args:
        reduction: "batchmean" as well, which is the divergence.
    """

    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    log_target: bool = False
    forward = functional(F.kl_div)


class PoissonNLLLoss(_Loss):
    """The negative log-likelihood of counts under Poisson rates; see `F.poisson_nll_loss`.

    Shape: (*), (*) -> ()
    """

    log_input: bool = True
    full: bool = False
    size_average: InitVar[bool | None] = None
    eps: float = 1e-8
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        settings = {"eps": self.eps, "reduction": self.reduction}
        return F.poisson_nll_loss(log_input, target, self.log_input, self.full, **settings)


class GaussianNLLLoss(_Loss):
    """The negative log-likelihood of targets under normal distributions; see `F.gaussian_nll_loss`.

    Shape: (N, *, D), (N, *, D), (N, *, D) or (N, *, 1) or (N, *) -> ()
    """

    _: KW_ONLY
    full: bool = False
    eps: float = 1e-6
    reduction: str = "mean"
    forward = functional(F.gaussian_nll_loss)


# classes


class NLLLoss(_WeightedLoss):
    """Minus the log-probabilities of the target classes; see `F.nll_loss`.

    Shape: (N, C, *), (N, *) -> (); or (C), () -> ()
    """

    weight: Tensor | None = None
    size_average: InitVar[bool | None] = None
    ignore_index: int = -100
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    forward = functional(F.nll_loss)


class CTCLoss(_Loss):
    """Minus the log-probabilities of target sequences under all alignments with the input; see `F.ctc_loss`.

    Shape: (T, N, C), (N, S) or (sum of target lengths), (N), (N) -> (); or (T, C), (S), (), () -> ()
    Args:
        blank: the label that stands for none.
        zero_infinity: targets that are too long for their input count as 0.
    Source: Graves et al., ICML (2006).
    """

    blank: int = 0
    reduction: str = "mean"
    zero_infinity: bool = False
    forward = functional(F.ctc_loss)


class NLLLoss2d(NLLLoss):
    """`NLLLoss` under its old name."""

    def __post_init__(self, size_average: bool | None = None, reduce: bool | None = None):
        warnings.warn("`NLLLoss2d` has been deprecated. Please use `NLLLoss` instead.", FutureWarning, stacklevel=3)
        super().__post_init__(size_average, reduce)


class CrossEntropyLoss(_WeightedLoss):
    """The cross entropy of softmax scores and target classes or probabilities; see `F.cross_entropy`.

    Shape: (N, C, *), (N, *) or (N, C, *) -> (); or (C), () or (C) -> ()
    """

    weight: Tensor | None = None
    size_average: InitVar[bool | None] = None
    ignore_index: int = -100
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    label_smoothing: float = 0.0
    forward = functional(F.cross_entropy)


class BCELoss(_WeightedLoss):
    """The cross entropy of probabilities and target probabilities.

    Shape: (*), (*) -> ()
    """

    forward = functional(F.binary_cross_entropy)


class BCEWithLogitsLoss(_Loss):
    """The cross entropy of sigmoid scores and target probabilities; see `F.binary_cross_entropy_with_logits`.

    Shape: (*), (*) -> ()
    """

    weight: Tensor | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    pos_weight: Tensor | None = None
    forward = functional(F.binary_cross_entropy_with_logits)


class SoftMarginLoss(_Loss):
    """`log(1 + exp(-target * input))` for targets 1 and -1.

    Shape: (*), (*) -> ()
    """

    forward = functional(F.soft_margin_loss)


class MultiMarginLoss(_WeightedLoss):
    """How far other classes' scores come within `margin` of the target's; see `F.multi_margin_loss`.

    Shape: (N, C), (N) -> (); or (C), () -> ()
    Raises:
        ValueError: p is neither 1 nor 2, or weight has not one dimension.
    """

    p: int = 1
    margin: float = 1.0
    weight: Tensor | None = None
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    forward = functional(F.multi_margin_loss)

    def __post_init__(self, size_average: bool | None = None, reduce: bool | None = None):
        super().__post_init__(size_average, reduce)
        check(self.p in (1, 2), "only p == 1 and p == 2 supported")
        check(self.weight is None or self.weight.ndim == 1, "weight must be None or a one-dimensional tensor")


class MultiLabelMarginLoss(_Loss):
    """How far other classes' scores come within 1 of the targets'; see `F.multilabel_margin_loss`.

    Shape: (N, C), (N, C) -> (); or (C), (C) -> ()
    """

    forward = functional(F.multilabel_margin_loss)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The binary cross entropy of sigmoid scores and targets 0 or 1, as a mean over the classes.

    Shape: (N, C), (N, C) -> ()
    """

    forward = functional(F.multilabel_soft_margin_loss)


# distances and rankings


class HingeEmbeddingLoss(_Loss):
    """The distances where the target is 1, what they fall short of `margin` where it is -1.

    Shape: (*), (*) -> ()
    """

    margin: float = 1.0
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    forward = functional(F.hinge_embedding_loss)


class MarginRankingLoss(_Loss):
    """`max(0, margin - target * (input1 - input2))` for targets 1 and -1.

    Shape: (N), (N), (N) -> ()
    """

    margin: float = 0.0
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    forward = functional(F.margin_ranking_loss)


class CosineEmbeddingLoss(_Loss):
    """1 minus the cosine where the target is 1, what the cosine exceeds `margin` by where it is -1.

    Shape: (N, E), (N, E), (N) -> (); or (E), (E), () -> ()
    """

    margin: float = 0.0
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    forward = functional(F.cosine_embedding_loss)


def _check_margin(margin: float) -> None:
    check(margin > 0, f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead")


class TripletMarginLoss(_Loss):
    """What the anchor is nearer to the negative than `margin` beyond its distance to the positive.

    Shape: (N, E), (N, E), (N, E) -> (); or (E), (E), (E) -> ()
    Args:
        p: the norm of the distances.
        swap: take the distance of positive and negative where that is the smaller one.
    Raises:
        ValueError: margin <= 0.
    Source: Balntas et al., BMVC (2016).
    """

    margin: float = 1.0
    p: float = 2.0
    eps: float = 1e-6
    swap: bool = False
    size_average: InitVar[bool | None] = None
    reduce: InitVar[bool | None] = None
    reduction: str = "mean"
    forward = functional(F.triplet_margin_loss)

    def __post_init__(self, size_average: bool | None = None, reduce: bool | None = None):
        super().__post_init__(size_average, reduce)
        _check_margin(self.margin)


class TripletMarginWithDistanceLoss(_Loss):
    """`TripletMarginLoss` for any distance: a function of two tensors, by default the Euclidean one.

    Shape: (N, *), (N, *), (N, *) -> ()
    Raises:
        ValueError: margin <= 0.
    """

    _: KW_ONLY
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None
    margin: float = 1.0
    swap: bool = False
    reduction: str = "mean"
    forward = functional(F.triplet_margin_with_distance_loss)

    def __post_init__(self, **none: Any):
        _check_margin(self.margin)
        if self.distance_function is None:
            self.distance_function = F.pairwise_distance
