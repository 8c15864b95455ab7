"""Recurrent networks: one step of each (cells), and whole networks of layers and directions as one program.

Parameters come as torch lays them out: for each layer, and in it for each direction, weight_ih, weight_hh, then bias_ih
and bias_hh if there are biases, then weight_hr if the state is projected.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._floating import wide
from jtorch.ops._matrices import same_dtype
from jtorch.ops._op import Array, Key, derived, op
from jtorch.ops._recurrence import KINDS, Weights, one_step, product, recurrence
from jtorch.ops.dropout import kept
from jtorch.ops.packing import lengths_of, packed_places, padded_places, take_rows

# one step


def _check_cell(name: str, count: int, input: Array, states: Sequence[Array], w_ih: Array, w_hh: Array, *b: Any):
    same_dtype(name, input, *states, w_ih, w_hh, *b)
    sizes = [x.ndim for x in (input, *states)]
    fits = all(n in (1, 2) and n == input.ndim for n in sizes) and w_ih.ndim == w_hh.ndim == 2
    _args.check(fits, f"{name}(): expected input and states of 1 or 2 dimensions, got {sizes}", RuntimeError)
    features, hidden = w_ih.shape[1], w_hh.shape[1]
    message = f"input has inconsistent input_size: got {input.shape[-1]} expected {features}"
    _args.check(input.shape[-1] == features, message, RuntimeError)
    for i, h in enumerate(states):
        message = f"hidden{i} has inconsistent hidden_size: got {h.shape[-1]}, expected {hidden}"
        _args.check(h.shape[-1] == hidden, message, RuntimeError)
        message = f"Input batch size {input.shape[0]} doesn't match hidden{i} batch size {h.shape[0]}"
        _args.check(input.ndim == 1 or input.shape[0] == h.shape[0], message, RuntimeError)
    for what, x in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (w_ih, w_hh, *b), strict=True):
        message = f"{what} first dim must be {count} * hidden_size = {count * hidden}, but got "
        _args.check(
            x is None or x.shape[0] == count * hidden, message + f"{None if x is None else x.shape}", RuntimeError
        )


def _gates(mode: str, input: Array, w_ih: Array, w_hh: Array, b_ih: Any, b_hh: Any, w_hr: Any = None) -> tuple:
    """What the input adds to the gates, and the recurrent weights. Biases that can be added at once are in the first."""
    gates = wide(product(input, w_ih))
    inside = None
    if b_ih is not None:
        gates = gates + b_ih
    if b_hh is not None and mode == "GRU":
        inside = wide(b_hh)
    elif b_hh is not None:
        gates = gates + b_hh
    return gates, Weights(w_hh, inside, w_hr)


def _cell(name: str, mode: str, input: Array, states: Sequence[Array], *params: Any) -> tuple:
    _check_cell(name, KINDS[mode].count, input, states, *params)
    gates, weights = _gates(mode, input, *params)
    new, _ = one_step(mode, tuple(wide(h) for h in states), gates, weights)
    return tuple(h.astype(input.dtype) for h in new)


@op(method=False)
def rnn_tanh_cell(
    input: Array, hx: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
) -> Array:
    """The next state of a plain recurrent network: `tanh(W_ih x + b_ih + W_hh h + b_hh)`.

    Shape: (N, I), (N, H), (H, I), (H, H), (H), (H) -> (N, H); or all without N
    Raises:
        RuntimeError: sizes or dtypes do not match.
    """
    return _cell("rnn_tanh_cell", "RNN_TANH", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@op(method=False)
def rnn_relu_cell(
    input: Array, hx: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
) -> Array:
    """The next state of a plain recurrent network: `relu(W_ih x + b_ih + W_hh h + b_hh)`.

    Shape: (N, I), (N, H), (H, I), (H, H), (H), (H) -> (N, H); or all without N
    Raises:
        RuntimeError: sizes or dtypes do not match.
    """
    return _cell("rnn_relu_cell", "RNN_RELU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@op(method=False)
def lstm_cell(
    input: Array, hx: Sequence[Array], w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
) -> tuple[Array, Array]:
    """The next two states (h, c) of an LSTM.

    Of the sums of `W_ih x + b_ih + W_hh h + b_hh`, in four parts, the gates i, f, o are the sigmoids and g is the tanh
    (in the order i, f, g, o); then `c' = f c + i g` and `h' = o tanh(c')`.

    Shape: (N, I), (N, H) twice, (4H, I), (4H, H), (4H), (4H) -> (N, H) twice; or all without N
    Raises:
        RuntimeError: sizes or dtypes do not match.
    Source: Hochreiter and Schmidhuber, Neural Computation 9 (1997).
    """
    _args.check(len(hx) == 2, "lstm_cell expects two hidden states", RuntimeError)
    return _cell("lstm_cell", "LSTM", input, hx, w_ih, w_hh, b_ih, b_hh)  # type: ignore[return-value]


@op(method=False)
def gru_cell(
    input: Array, hx: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None
) -> Array:
    """The next state of a gated recurrent unit.

    With `x = W_ih x + b_ih` and `h = W_hh h + b_hh` in three parts each: `r = sigmoid(x_r + h_r)`,
    `z = sigmoid(x_z + h_z)`, `n = tanh(x_n + r h_n)`, and the state is `(1 - z) n + z h`.

    Shape: (N, I), (N, H), (3H, I), (3H, H), (3H), (3H) -> (N, H); or all without N
    Raises:
        RuntimeError: sizes or dtypes do not match.
    Source: Cho et al., arXiv 1406.1078 (2014).
    """
    return _cell("gru_cell", "GRU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


# whole networks


def _dropped(x: Array, p: float, key: Array) -> Array:
    return jnp.where(kept(key, p, x.shape), x * (1 / (1 - p) if p < 1 else 0), 0).astype(x.dtype)


def _layers(params: Sequence[Array], has_biases: bool, directions: int, num_layers: int, name: str) -> list[list]:
    """The parameters of each direction of each layer: weight_ih, weight_hh, bias_ih, bias_hh, weight_hr."""
    count = len(params) // (num_layers * directions)
    known = (4, 5) if has_biases else (2, 3)
    fits = count in known and count * num_layers * directions == len(params)
    expected = f"{num_layers * directions} times {known[0]} parameters"
    _args.check(fits, f"{name}(): expected {expected}, got {len(params)}", RuntimeError)
    rows = [list(params[i : i + count]) for i in range(0, len(params), count)]
    return [r if has_biases else [*r[:2], None, None, *r[2:]] for r in rows]


def _network(mode: str, input: Array, states: Sequence[Array], params: Sequence[Array], lengths: Array | None,
             has_biases: bool, num_layers: int, p: float, bidirectional: bool, batch_first: bool, key: Any) -> tuple:  # fmt: skip
    """(output, last states...) of a network. Without `states` they begin as zeros."""
    name = mode.lower()
    same_dtype(name, input, *states, *params)
    _args.check(input.ndim == 3, f"{name}(): expected an input of 3 dimensions, got {input.ndim}", RuntimeError)
    if batch_first:
        input = jnp.swapaxes(input, 0, 1)
    _args.check(input.shape[0] > 0, "Expected sequence length to be larger than 0 in RNN", RuntimeError)
    directions = 2 if bidirectional else 1
    rows = _layers(params, has_biases, directions, num_layers, name)
    x, lasts = input, []
    for layer in range(num_layers):
        if layer and p > 0:
            key, drawn = jax.random.split(key)
            x = _dropped(x, p, drawn)
        outputs = []
        for at in range(layer * directions, (layer + 1) * directions):
            gates, weights = _gates(mode, x, *rows[at])
            firsts = _first_states(mode, states, at, gates, weights)
            out, last = recurrence(mode, at % directions == 1, gates, firsts, weights, lengths)
            outputs.append(out.astype(input.dtype))
            lasts.append(last)
        x = outputs[0] if directions == 1 else jnp.concatenate(outputs, -1)
    ends = [jnp.stack(each).astype(input.dtype) for each in zip(*lasts, strict=True)]
    return jnp.swapaxes(x, 0, 1) if batch_first else x, *ends


def _first_states(mode: str, states: Sequence[Array], at: int, gates: Array, weights: Weights) -> tuple:
    if states:
        return tuple(wide(s[at]) for s in states)
    units = gates.shape[-1] // KINDS[mode].count
    sizes = [weights.hidden.shape[1], units] if mode == "LSTM" else [units]
    return tuple(jnp.zeros((gates.shape[1], n), gates.dtype) for n in sizes)


@op(method=False, function=False)
def _recurrent(
    mode: str, input: Array, states: Sequence[Array], params: Sequence[Array], lengths: Array | None, has_biases: bool,
    num_layers: int, bidirectional: bool, batch_first: bool,
) -> tuple:  # fmt: skip
    """The network without dropout."""
    return _network(mode, input, states, params, lengths, has_biases, num_layers, 0, bidirectional, batch_first, None)


@op(method=False, function=False)
def _recurrent_dropping(
    mode: str, input: Array, states: Sequence[Array], params: Sequence[Array], lengths: Array | None, has_biases: bool,
    num_layers: int, bidirectional: bool, batch_first: bool, dropout: float, *, key: Key | None = None,
) -> tuple:  # fmt: skip
    """The network with dropout between its layers."""
    return _network(
        mode, input, states, params, lengths, has_biases, num_layers, dropout, bidirectional, batch_first, key
    )


def recurrent(
    mode: str, input: Any, states: Any, params: Any, has_biases: bool, num_layers: int, dropout: float, train: bool,
    bidirectional: bool, batch_first: bool, lengths: Any = None, key: Any = None,
) -> tuple:  # fmt: skip
    """(output, last states...) of a network: all its layers and directions in one program.

    Args:
        mode: RNN_TANH, RNN_RELU, LSTM or GRU.
        states: the first states, none of them for zeros.
        lengths: how many times of each sequence count.
    Shape: (T, N, I) -> (T, N, D*H), (L*D, N, H)...
    """
    settings = (mode, input, tuple(states), tuple(params), lengths, has_biases, num_layers, bidirectional, batch_first)
    if train and dropout > 0 and num_layers > 1:
        return _recurrent_dropping(*settings, float(dropout), key=key)
    return _recurrent(*settings)


def _rounded(length: int) -> int:
    """A length of at most an eighth more, so that sequences of many lengths share few programs."""
    step = max(1, 2 ** (length.bit_length() - 4))
    return -(-length // step) * step


def recurrent_packed(
    mode: str, data: Any, batch_sizes: Any, states: Any, params: Any, has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, key: Any = None,
) -> tuple:  # fmt: skip
    """`recurrent` of a packed batch: each sequence has its own length, and backwards each begins at its own end.

    Args:
        batch_sizes: how many sequences have an element at each time, as numbers.
    Shape: (sum of lengths, I) -> (sum of lengths, D*H), (L*D, N, H)...
    """
    lengths = lengths_of(batch_sizes)
    total = int(lengths.sum())
    fits = data.ndim == 2 and data.shape[0] == total
    message = f"{mode.lower()}(): expected packed data of shape ({total}, *), got {tuple(data.shape)}"
    _args.check(fits, message, RuntimeError)
    padded = take_rows(data, packed_places(lengths, _rounded(int(lengths[0]))), 0)
    output, *last = recurrent(
        mode, padded, states, params, has_biases, num_layers, dropout, train, bidirectional, False,
        lengths.astype(np.int32), key,
    )  # fmt: skip
    count = len(lengths)
    back = padded_places(lengths, np.arange(count), count, 1)
    return take_rows(output, back, None, 2), *last


def _on_padded(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, key=None):
    return input, None, hx, (params, has_biases, num_layers, dropout, train, bidirectional, batch_first), key


def _on_packed(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional, key=None):
    return data, batch_sizes, hx, (params, has_biases, num_layers, dropout, train, bidirectional), key


def _called(mode: str, args: tuple, kwargs: dict) -> tuple:
    packed = "batch_sizes" in kwargs or (len(args) > 3 and isinstance(args[3], tuple | list))
    input, batch_sizes, hx, settings, key = (_on_packed if packed else _on_padded)(*args, **kwargs)
    states = tuple(hx) if mode == "LSTM" else (hx,)
    if packed:
        return recurrent_packed(mode, input, np.asarray(batch_sizes), states, *settings, key=key)
    return recurrent(mode, input, states, *settings, key=key)


@derived(method=False)
def rnn_tanh(*args, **kwargs):
    """(output, last states) of a plain recurrent network with tanh.

    Called as `rnn_tanh(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)`, or for
    a packed batch as `rnn_tanh(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)`.

    Shape: (T, N, I), (L*D, N, H) -> (T, N, D*H), (L*D, N, H)
    """
    return _called("RNN_TANH", args, kwargs)


@derived(method=False)
def rnn_relu(*args, **kwargs):
    """(output, last states) of a plain recurrent network with relu. Called as `rnn_tanh` is.

    Shape: (T, N, I), (L*D, N, H) -> (T, N, D*H), (L*D, N, H)
    """
    return _called("RNN_RELU", args, kwargs)


@derived(method=False)
def lstm(*args, **kwargs):
    """(output, last h, last c) of an LSTM network. Called as `rnn_tanh` is, `hx` being the two states (h, c).

    Shape: (T, N, I), (L*D, N, P) and (L*D, N, H) -> (T, N, D*P), (L*D, N, P), (L*D, N, H); P is H unless projected
    """
    return _called("LSTM", args, kwargs)


@derived(method=False)
def gru(*args, **kwargs):
    """(output, last states) of a GRU network. Called as `rnn_tanh` is.

    Shape: (T, N, I), (L*D, N, H) -> (T, N, D*H), (L*D, N, H)
    """
    return _called("GRU", args, kwargs)
