"""Recurrent layers: RNN, LSTM and GRU over whole sequences. Their cells, for one step, are in `cells`.

All layers and directions of a network run as one program, whatever the length of the sequences. The computation is in
`ops.rnn`; here are the parameters, the checks, and packed batches.
"""

import math
import numbers
import warnings
from typing import Any

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.nn import init
from jtorch.nn.dropout import Drawing
from jtorch.nn.parameter import Parameter
from jtorch.nn.utils.rnn import PackedSequence
from jtorch.ops import rnn as ops
from jtorch.ops._args import check
from jtorch.ops._autocast import running as autocast
from jtorch.ops._recurrence import KINDS


def _check_settings(base: "RNNBase", dropout: Any) -> None:
    in_range = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool) and 0 <= base.dropout <= 1
    check(
        in_range, "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
    )
    if base.dropout > 0 and base.num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={base.num_layers}",
            stacklevel=4,
        )
    for name, kind in (("bias", bool), ("batch_first", bool), ("input_size", int), ("hidden_size", int)):
        value = getattr(base, name)
        expected = f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
        check(isinstance(value, kind), expected, TypeError)
    for name in ("input_size", "hidden_size", "num_layers"):
        check(getattr(base, name) > 0, f"{name} must be greater than zero")
    check(base.proj_size >= 0, "proj_size should be a positive integer or zero to disable projections")
    check(base.proj_size < base.hidden_size, "proj_size has to be smaller than hidden_size")
    check(base.mode in KINDS, f"Unrecognized RNN mode: {base.mode}")


class RNNBase(Drawing):
    """What RNN, LSTM and GRU share: their parameters, and the forward.

    Shape: (T, N, I), (L*D, N, H) -> (T, N, D*H), (L*D, N, H)
    Args:
        mode: RNN_TANH, RNN_RELU, LSTM or GRU.
    Raises:
        ValueError, TypeError: a size or setting is not what it can be.
    """

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        self.mode = mode
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        _check_settings(self, dropout)
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            for suffix in ("", "_reverse") if bidirectional else ("",):
                sizes = self._sizes(layer)
                for name, size in sizes.items():
                    setattr(
                        self, f"{name}_l{layer}{suffix}", Parameter(_creation.empty(size, device=device, dtype=dtype))
                    )
                self._all_weights.append([f"{name}_l{layer}{suffix}" for name in sizes])
        self.reset_parameters()

    def _sizes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """The parameters of one direction of a layer, by name."""
        state = self.proj_size or self.hidden_size
        gates = KINDS[self.mode].count * self.hidden_size
        width = self.input_size if layer == 0 else state * (2 if self.bidirectional else 1)
        sizes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, width), "weight_hh": (gates, state)}
        if self.bias:
            sizes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
        if self.proj_size:
            sizes |= {"weight_hr": (self.proj_size, self.hidden_size)}
        return sizes

    def reset_parameters(self) -> None:
        """Draw all parameters evenly within `1 / sqrt(hidden_size)`."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: XLA lays parameters out by itself."""

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters, a list for each direction of each layer."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, name) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, weights: list[Any]) -> None:
        for name, weight in zip(self._flat_weights_names, weights, strict=True):
            if getattr(self, name) is not weight:
                setattr(self, name, weight)

    # checks

    def check_input(self, input: Tensor, batch_sizes: Any) -> None:
        """Raise unless the input, which is packed where there are `batch_sizes`, has the right dtype and sizes.

        Raises:
            ValueError: its dtype is not the weights'.
            RuntimeError: its sizes are not right.
        """
        dtype = getattr(self, self._all_weights[0][0]).dtype
        message = f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). "
        advice = f"Convert input: input.to({dtype}), or convert model: model.to({input.dtype})"
        check(input.dtype == dtype or bool(autocast.on), message + advice)
        ndim = 3 if batch_sizes is None else 2
        check(input.ndim == ndim, f"input must have {ndim} dimensions, got {input.ndim}", RuntimeError)
        message = f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
        check(input.shape[-1] == self.input_size, message, RuntimeError)

    def _expected(self, input: Tensor, batch_sizes: Any, width: int) -> tuple[int, int, int]:
        count = int(batch_sizes[0]) if batch_sizes is not None else input.shape[0 if self.batch_first else 1]
        return self.num_layers * (2 if self.bidirectional else 1), count, width

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Any) -> tuple[int, int, int]:
        """The shape of the states h for this input."""
        return self._expected(input, batch_sizes, self.proj_size or self.hidden_size)

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: tuple[int, int, int], msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """Raise unless states have this shape.

        Raises:
            RuntimeError: they have not.
        """
        found = tuple(hx.shape)
        check(found == expected_hidden_size, msg.format(expected_hidden_size, list(found)), RuntimeError)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Any) -> None:
        """Raise unless input and states have the right dtype and sizes.

        Raises:
            ValueError, RuntimeError: they have not.
        """
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Any) -> Any:
        """The states with their sequences in another order; themselves for None."""
        return hx if permutation is None else hx.index_select(1, permutation)

    # the forward

    def _check_dims(self, batched: bool, hx: Any) -> None:
        kind, ndim = ("batched 3-D", 3) if batched else ("unbatched 2-D", 2)
        message = f"For {kind} input, hx should also be {ndim}-D but got {hx.ndim}-D tensor"
        check(hx.ndim == ndim, message, RuntimeError)

    def _states(self, hx: Any) -> tuple:
        return (hx,)

    def _hidden(self, last: tuple) -> Any:
        return last[0]

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """(output at each time, last states). Without `hx` the states begin as zeros.

        Raises:
            ValueError, RuntimeError: input or states have not the right dtype or sizes.
        """
        if isinstance(input, PackedSequence):
            return self._of_packed(input, hx)
        name = "RNN" if self.mode.startswith("RNN") else self.mode
        message = (
            f"{name}: Expected input to be 2D or 3D, got {input.ndim}D {'tensor ' if name == 'RNN' else ''}instead"
        )
        check(input.ndim in (2, 3), message)
        batched, at = input.ndim == 3, 0 if self.batch_first else 1
        if hx is not None:
            self._check_dims(batched, hx)
        if not batched:
            input = input.unsqueeze(at)
            hx = hx if hx is None else self._hidden(tuple(h.unsqueeze(1) for h in self._states(hx)))
        if hx is None:
            self.check_input(input, None)
        else:
            self.check_forward_args(input, hx, None)
        states = () if hx is None else self._states(hx)
        output, *last = ops.recurrent(self.mode, input, states, *self._settings(), self.batch_first, key=self._drawn())
        if not batched:
            output, last = output.squeeze(at), [h.squeeze(1) for h in last]
        return output, self._hidden(tuple(last))

    def _of_packed(self, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        data, batch_sizes, sorted_indices, unsorted_indices = packed
        sizes = packed.sizes()
        if hx is None:
            self.check_input(data, sizes)
        else:
            hx = self.permute_hidden(hx, sorted_indices)
            self.check_forward_args(data, hx, sizes)
        states = () if hx is None else self._states(hx)
        output, *last = ops.recurrent_packed(self.mode, data, sizes, states, *self._settings(), key=self._drawn())
        hidden = self.permute_hidden(self._hidden(tuple(last)), unsorted_indices)
        return PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices), hidden

    def _settings(self) -> tuple[list[Any], bool, int, float, bool, bool]:
        return self._flat_weights, self.bias, self.num_layers, self.dropout, self.training, bool(self.bidirectional)

    def _drawn(self) -> Any:
        return self.key() if self.training and self.dropout > 0 and self.num_layers > 1 else None

    def extra_repr(self) -> str:
        """The sizes, and the settings that differ from the defaults."""
        text = f"{self.input_size}, {self.hidden_size}"
        usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0}
        for name, value in (usual | {"bidirectional": False}).items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(RNNBase):
    """A plain recurrent network: at each time `h = f(W_ih x + b_ih + W_hh h + b_hh)`, in one layer above another.

    Shape: (T, N, I), (L*D, N, H) -> (T, N, D*H), (L*D, N, H); or all without N; D is 2 if bidirectional
    Args:
        nonlinearity: "tanh" or "relu".
        batch_first: input and output are (N, T, *); the states are not.
        dropout: the probability to drop an output of any layer but the last, while training.
    Raises:
        ValueError, TypeError: a size or setting is not what it can be.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None,
        dtype: Any = None, *, proj_size: None = None,
    ):  # fmt: skip
        check(proj_size is None, "proj_size argument is only supported for LSTM, not RNN or GRU")
        known = nonlinearity in ("tanh", "relu")
        check(known, f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, 0, device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """A network of LSTM layers: `lstm_cell` at each time, in one layer above another.

    Shape: (T, N, I), ((L*D, N, P), (L*D, N, H)) -> (T, N, D*P), ((L*D, N, P), (L*D, N, H)); or all without N;
        D is 2 if bidirectional, P is proj_size if there is one, else H
    Args:
        batch_first: input and output are (N, T, *); the states are not.
        dropout: the probability to drop an output of any layer but the last, while training.
        proj_size: the size that each output is brought to by a matrix of its own; 0: none.
    Raises:
        ValueError, TypeError: a size or setting is not what it can be.
    Source: Hochreiter and Schmidhuber, Neural Computation 9 (1997); projections: Sak et al., arXiv 1402.1128 (2014).
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device,
            dtype,
        )  # fmt: skip

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Any) -> tuple[int, int, int]:
        """The shape of the states c for this input."""
        return self._expected(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Any) -> None:
        """Raise unless input and states have the right dtype and sizes.

        Raises:
            ValueError, RuntimeError: they have not.
        """
        self.check_input(input, batch_sizes)
        expected = self.get_expected_hidden_size(input, batch_sizes), self.get_expected_cell_size(input, batch_sizes)
        for i in range(2):
            self.check_hidden_size(hidden[i], expected[i], f"Expected hidden[{i}] size {{}}, got {{}}")

    def permute_hidden(self, hx: Any, permutation: Any) -> Any:
        """Both states with their sequences in another order; themselves for None."""
        return hx if permutation is None else tuple(h.index_select(1, permutation) for h in hx)

    def _check_dims(self, batched: bool, hx: Any) -> None:
        kind, ndim = ("batched 3-D", 3) if batched else ("unbatched 2-D", 2)
        message = (
            f"For {kind} input, hx and cx should also be {ndim}-D but got ({hx[0].ndim}-D, {hx[1].ndim}-D) tensors"
        )
        check(hx[0].ndim == hx[1].ndim == ndim, message, RuntimeError)

    def _states(self, hx: Any) -> tuple:
        return tuple(hx)

    def _hidden(self, last: tuple) -> Any:
        return last


class GRU(RNNBase):
    """A network of gated recurrent units: `gru_cell` at each time, in one layer above another.

    Shape: (T, N, I), (L*D, N, H) -> (T, N, D*H), (L*D, N, H); or all without N; D is 2 if bidirectional
    Args:
        batch_first: input and output are (N, T, *); the states are not.
        dropout: the probability to drop an output of any layer but the last, while training.
    Raises:
        ValueError, TypeError: a size or setting is not what it can be.
    Source: Cho et al., arXiv 1406.1078 (2014).
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, device: Any = None, dtype: Any = None, *,
        proj_size: None = None,
    ):  # fmt: skip
        check(proj_size is None, "proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
