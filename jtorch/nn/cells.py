"""One step of a recurrent network as a module: RNNCell, LSTMCell, GRUCell. Whole sequences are in `rnn`."""

import math
from typing import Any

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.nn import init
from jtorch.nn.module import Module
from jtorch.nn.parameter import Parameter
from jtorch.ops import rnn as ops
from jtorch.ops._args import check


class RNNCellBase(Module):
    """What the cells share: their parameters.

    Shape: (N, I), (N, H) -> (N, H); or all without N
    Args:
        num_chunks: the number of gates.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = num_chunks * hidden_size
        sizes = {
            "weight_ih": (gates, input_size),
            "weight_hh": (gates, hidden_size),
            "bias_ih": gates,
            "bias_hh": gates,
        }
        for name, size in sizes.items():
            left_out = name.startswith("bias") and not bias
            made = None if left_out else Parameter(_creation.empty(size, device=device, dtype=dtype))
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters evenly within `1 / sqrt(hidden_size)`."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _params(self) -> tuple:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def _checked(self, input: Tensor, hx: Any, what: str = "hidden") -> Any:
        """The state, zeros for None, after a look at the dimensions."""
        name = type(self).__name__
        check(input.ndim in (1, 2), f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        if hx is None:
            return input.new_zeros((*input.shape[:-1], self.hidden_size))  # type: ignore[attr-defined]
        check(hx.ndim in (1, 2), f"{name}: Expected {what} to be 1D or 2D, got {hx.ndim}D instead")
        return hx

    def extra_repr(self) -> str:
        """The sizes, and the settings that differ from the defaults."""
        text = f"{self.input_size}, {self.hidden_size}"
        for name, usual in (("bias", True), ("nonlinearity", "tanh")):
            value = vars(self).get(name, usual)
            text += "" if value is usual or (value == usual and name != "bias") else f", {name}={value}"
        return text


class RNNCell(RNNCellBase):
    """One step of a plain recurrent network: `h' = f(W_ih x + b_ih + W_hh h + b_hh)`.

    Shape: (N, I), (N, H) -> (N, H); or all without N
    Args:
        nonlinearity: "tanh" or "relu".
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device: Any = None,
        dtype: Any = None,
    ):  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state. Without `hx` it begins as zeros.

        Raises:
            ValueError, RuntimeError: input or state have not the right dtype or sizes.
        """
        hx = self._checked(input, hx)
        known = self.nonlinearity in ("tanh", "relu")
        check(known, f"Unknown nonlinearity: {self.nonlinearity}", RuntimeError)
        cell = ops.rnn_tanh_cell if self.nonlinearity == "tanh" else ops.rnn_relu_cell
        return cell(input, hx, *self._params())


class LSTMCell(RNNCellBase):
    """One step of an LSTM; the formula is at `lstm_cell`.

    Shape: (N, I), ((N, H), (N, H)) -> (N, H), (N, H); or all without N
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next two states (h, c). Without `hx` they begin as zeros.

        Raises:
            ValueError, RuntimeError: input or states have not the right dtype or sizes.
        """
        states = (None, None) if hx is None else hx
        states = tuple(self._checked(input, h, f"hx[{i}]") for i, h in enumerate(states))
        return ops.lstm_cell(input, states, *self._params())


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit; the formula is at `gru_cell`.

    Shape: (N, I), (N, H) -> (N, H); or all without N
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state. Without `hx` it begins as zeros.

        Raises:
            ValueError, RuntimeError: input or state have not the right dtype or sizes.
        """
        return ops.gru_cell(input, self._checked(input, hx), *self._params())
