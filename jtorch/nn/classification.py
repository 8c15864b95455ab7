"""Losses that have the last layer of a classifier in them: LinearCrossEntropyLoss, AdaptiveLogSoftmaxWithLoss."""

import math
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn.container import ModuleList, Sequential
from jtorch.nn.linear import Linear
from jtorch.nn.loss import _WeightedLoss
from jtorch.nn.module import Module
from jtorch.ops._args import check
from jtorch.ops.clusters import _all_log_prob, _class_log_prob
from jtorch.ops.comparison import where


@dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How torch splits the work of `LinearCrossEntropyLoss`. Accepted and without effect: XLA decides that."""

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None


class LinearCrossEntropyLoss(_WeightedLoss):
    """The cross entropy of a linear layer's output; see `F.linear_cross_entropy`.

    Shape: (N, in_features), (N, *) or (N, num_classes, *) -> ()
    Args:
        out_features: the sizes `*` of a loss at several places.
        options: accepted; XLA decides how the work is split.
    """

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (), bias: bool = False,
        device: Any = None, dtype: Any = None, reduction: str = "mean", weight: Tensor | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, options: Any = None,
    ):  # fmt: skip
        sized = weight is None or tuple(weight.shape) == (num_classes,)
        check(sized, f"LinearCrossEntropyLoss(): expected {num_classes} weights, got another number", RuntimeError)
        smooth = 0 <= label_smoothing <= 1
        message = f"LinearCrossEntropyLoss(): expected label_smoothing from 0 to 1, got {label_smoothing}"
        check(smooth, message, RuntimeError)
        super().__init__(weight, reduction=reduction)
        self.num_classes, self.out_features, self.ignore_index = num_classes, out_features, ignore_index
        self.label_smoothing, self.options = label_smoothing, options
        rows = num_classes * math.prod(out_features)
        self.linear = Linear(in_features, rows, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        shape = (self.num_classes, *self.out_features)
        bias = None if self.linear.bias is None else self.linear.bias.reshape(shape)  # type: ignore
        return F.linear_cross_entropy(
            input, self.linear.weight.reshape(*shape, self.linear.in_features), target, linear_bias=bias, weight=self.weight,  # type: ignore
            reduction=self.reduction, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The sizes and settings."""
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )


_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """The log-probabilities of target classes, and minus their mean, by a softmax in clusters of rarer and rarer classes.

    The head scores the classes below the first cutoff, and each cluster; a tail of its own, through ever fewer
    features, scores the classes of a cluster. Classes have to be numbered from the most to the least frequent.

    Shape: (N, in_features), (N) -> (N), (); or (in_features), () -> (), ()
    Args:
        cutoffs: the first class of each cluster.
        div_value: by how much the features of each tail are fewer than those of the one before.
        head_bias: whether the head has a bias.
    Raises:
        ValueError: the cutoffs are not increasing, or not between 1 and n_classes - 1.
        RuntimeError: a target is no class, or shapes do not fit. In compiled code the first gives NaN.
    Differs: every tail is computed for all samples, so that the shapes do not depend on the targets; a tail that no
        target fell into gets gradients of zero, where torch leaves None.
    Source: Grave et al., arXiv 1609.04309 (2016).
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0, head_bias: bool = False,
        device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        cutoffs, made = list(cutoffs), {"device": device, "dtype": dtype}
        check(cutoffs, "cutoffs should be a sequence of length larger than 0")
        sound = cutoffs == sorted(set(cutoffs)) and cutoffs[0] > 0 and cutoffs[-1] < n_classes
        text = (
            "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value"
        )
        check(sound and all(int(c) == c for c in cutoffs), f"{text} is between 1 and n_classes-1")
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, [*cutoffs, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = cutoffs[0], len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i, (start, stop) in enumerate(zip(cutoffs, self.cutoffs[1:], strict=True)):
            features = int(in_features // div_value ** (i + 1))
            narrow, scores = (
                Linear(m, n, bias=False, **made) for m, n in ((in_features, features), (features, stop - start))
            )
            self.tail.append(Sequential(narrow, scores))

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for layers in self.tail:
            for layer in layers.children():
                layer.reset_parameters()  # type: ignore[operator]

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """The log-probabilities of the targets, and the loss."""
        check(target_.ndim <= 1, "0D or 1D target tensor expected, multi-target not supported", RuntimeError)
        single = target_.ndim == 0
        same = single or input_.shape[0] == target_.shape[0]
        check(same, "Input and target should have the same size in the batch dimension.", RuntimeError)
        fits = input_.ndim == target_.ndim + 1
        text = f"{target_.ndim}D target tensor expects {target_.ndim + 1}D input tensors, but found inputs with size"
        check(fits, f"{text} {input_.shape}", RuntimeError)
        input, target = (input_.unsqueeze(0), target_.unsqueeze(0)) if single else (input_, target_)  # type: ignore
        output = _class_log_prob(self.head(input), [tail(input) for tail in self.tail], target)
        return _ASMoutput(output.squeeze(0) if single else output, -output.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes.

        Shape: (N, in_features) -> (N, n_classes)
        """
        return _all_log_prob(self.head(input), [tail(input) for tail in self.tail])

    def predict(self, input: Tensor) -> Tensor:
        """The most likely class by the head; where that is a cluster, the most likely one of all.

        Shape: (N, in_features) -> (N)
        """
        scores = self.head(input)
        likely = scores.argmax(dim=1)
        over_all = _all_log_prob(scores, [tail(input) for tail in self.tail]).argmax(dim=1)
        return where(likely < self.shortlist_size, likely, over_all)
