"""The Dropout family: modules that set part of their input to zero while training.

The draws come from the default generator, in compiled steps as well. Inside somebody else's JAX transformation a module
draws from a stream of its own, which is part of its NNX graph (not of its state_dict), so that `nnx.jit` carries it.
"""

from collections.abc import Callable
from typing import Any

from flax import nnx

from jtorch import random
from jtorch._capture import state
from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn.module import Module
from jtorch.ops._args import check
from jtorch.ops._backend import in_foreign_trace


class Drawing(Module):
    """A module that draws. Its forward passes `key=self.key()` to the op."""

    def __init__(self):
        super().__init__()
        self._start_stream()

    def _start_stream(self) -> None:
        self.rngs = nnx.RngStream(random.stream_key(), tag="dropout")

    def __deepcopy__(self, memo: dict) -> Any:
        made = super().__deepcopy__(memo)
        made._start_stream()  # type: ignore[attr-defined]  # copies draw apart from one another
        return made

    def key(self) -> Any:
        """The key for one draw inside a foreign JAX transformation; None elsewhere, where ops get one by themselves."""
        if state.session is not None or random.is_keyed() or not in_foreign_trace():
            return None
        return self.rngs()


class _DropoutNd(Drawing):
    function: Callable

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        in_range = isinstance(p, Tensor) or 0 <= p <= 1
        check(in_range, f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """The input with a part of it dropped, while training."""
        if not self.training:
            return input
        return type(self).function(input, self.p, True, self.inplace, key=self.key())

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """While training, its input with elements set to 0 with probability `p` and the others divided by `1 - p`.

    Shape: (*) -> (*)
    """

    function = F.dropout


class Dropout1d(_DropoutNd):
    """While training, its input with whole channels set to 0 with probability `p`, the others divided by `1 - p`.

    Shape: (N, C, L) or (C, L) -> same
    """

    function = F.dropout1d


class Dropout2d(_DropoutNd):
    """While training, its input with whole channels set to 0 with probability `p`, the others divided by `1 - p`.

    Shape: (N, C, H, W) or (N, C, L) -> same
    """

    function = F.dropout2d


class Dropout3d(_DropoutNd):
    """While training, its input with whole channels set to 0 with probability `p`, the others divided by `1 - p`.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> same
    """

    function = F.dropout3d


class AlphaDropout(_DropoutNd):
    """While training, its input with elements set to SELU's lower limit, scaled and shifted to keep mean and variance.

    Shape: (*) -> (*)
    Source: Klambauer et al., arXiv 1706.02515 (2017).
    """

    function = F.alpha_dropout


class FeatureAlphaDropout(_DropoutNd):
    """AlphaDropout of whole channels.

    Shape: (N, C, *) -> same
    """

    function = F.feature_alpha_dropout
