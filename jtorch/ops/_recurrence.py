"""One recurrent layer in one direction: a scan over time, and its derivative.

The derivative is written by hand so that little is left inside the loop. The slopes of a step are computed for all times
at once, from what the scan kept; the loop of the derivative only carries the states' tangents through the recurrent
matrix. What weights and inputs add enters from outside, so that JAX's transpose of it, the backward pass, has one matrix
product for each weight and not one for each time. It is a JVP, hence forward mode and higher orders follow.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jtorch.ops._floating import wide
from jtorch.ops._matrices import precision_for
from jtorch.ops._op import Array
from jtorch.ops._products import repeated, weighed


class Weights(NamedTuple):
    """The recurrent parameters: hidden to gates, a bias that cannot be added beforehand (GRU), and the projection."""

    hidden: Array
    bias: Array | None = None
    projection: Array | None = None


class Kind(NamedTuple):
    """What tells recurrent networks apart.

    step: (states, gates of the input, their gate sums, projection) -> (new states, what the slopes need)
    slopes: (states before, states after, kept, tangents of both gate sums) -> (what enters by itself, factors)
    carry: (tangents of states, their gate sums, what enters, factors) -> tangents of the output and further states
    count: gates for each hidden unit
    """

    step: Callable
    slopes: Callable
    carry: Callable
    count: int


def product(x: Array, weight: Array, axis: int = 1) -> Array:
    """`x @ weight.T` if the axis is 1, `x @ weight` if it is 0; of 16-bit weights in float32."""
    kept = wide(weight).dtype if weight.dtype.itemsize < 4 else None
    return weighed(x.astype(weight.dtype), weight, axis, precision_for(weight.dtype), kept)


def one_step(mode: str, states: tuple, gates: Array, weights: Weights, axis: int = 1) -> tuple:
    """(new states, what the slopes need); the axis of the hidden weights as for `product`."""
    sums = product(states[0], weights.hidden, axis)
    if weights.bias is not None:
        sums = sums + weights.bias
    return KINDS[mode].step(states, gates, sums, weights.projection)


def _projected(y: Array, projection: Array | None) -> Array:
    return y if projection is None else product(y, projection)


# plain networks: h = f(x + W h)


def _plain(activation: Callable, slope: Callable) -> Kind:
    def step(states: tuple, gates: Array, sums: Array, projection: None) -> tuple:
        return (activation(gates + sums),), ()

    def slopes(before: tuple, after: tuple, kept: tuple, of_input: Array, of_hidden: Array) -> tuple:
        factor = slope(after[0])
        return (factor * (of_input + of_hidden),), (factor,)

    def carry(tangents: tuple, sums: Array, entering: tuple, factors: tuple) -> tuple:
        return (entering[0] + factors[0] * sums,)

    return Kind(step, slopes, carry, 1)


# LSTM


def _lstm_step(states: tuple, gates: Array, sums: Array, projection: Array | None) -> tuple:
    z_i, z_f, z_g, z_o = jnp.split(gates + sums, 4, -1)
    i, f, g, o = jax.nn.sigmoid(z_i), jax.nn.sigmoid(z_f), jnp.tanh(z_g), jax.nn.sigmoid(z_o)
    c = f * states[1] + i * g
    return (_projected(o * jnp.tanh(c), projection), c), (i, f, g, o)


def _lstm_slopes(before: tuple, after: tuple, kept: tuple, of_input: Array, of_hidden: Array) -> tuple:
    i, f, g, o = kept
    t = jnp.tanh(after[1])
    to_cell = jnp.concatenate([g * i * (1 - i), before[1] * f * (1 - f), i * (1 - g * g)], -1)
    to_output = t * o * (1 - o)
    of_cell, of_output = jnp.split(of_input + of_hidden, [to_cell.shape[-1]], -1)
    return (_added(to_cell * of_cell), to_output * of_output), (to_cell, to_output, f, o * (1 - t * t))


def _lstm_carry(tangents: tuple, sums: Array, entering: tuple, factors: tuple) -> tuple:
    to_cell, to_output, f, through = factors
    of_cell, of_output = jnp.split(sums, [to_cell.shape[-1]], -1)
    c = entering[0] + _added(to_cell * of_cell) + f * tangents[1]
    return entering[1] + to_output * of_output + through * c, c


def _added(x: Array) -> Array:
    """The sum of three gates that lie side by side."""
    one, two, three = jnp.split(x, 3, -1)
    return one + two + three


# GRU


def _gru_step(states: tuple, gates: Array, sums: Array, projection: None) -> tuple:
    x_r, x_z, x_n = jnp.split(gates, 3, -1)
    h_r, h_z, h_n = jnp.split(sums, 3, -1)
    r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * h_n)
    return (n + z * (states[0] - n),), (r, z, n, h_n)


def _gru_slopes(before: tuple, after: tuple, kept: tuple, of_input: Array, of_hidden: Array) -> tuple:
    r, z, n, h_n = kept
    new = (1 - n * n) * (1 - z)
    gated = [new * h_n * r * (1 - r), (before[0] - n) * z * (1 - z)]
    to_hidden = jnp.concatenate([*gated, new * r], -1)
    entering = _added(jnp.concatenate([*gated, new], -1) * of_input + to_hidden * of_hidden)
    return (entering,), (to_hidden, z)


def _gru_carry(tangents: tuple, sums: Array, entering: tuple, factors: tuple) -> tuple:
    to_hidden, z = factors
    return (entering[0] + _added(to_hidden * sums) + z * tangents[0],)


KINDS = {
    "RNN_TANH": _plain(jnp.tanh, lambda h: 1 - h * h),
    "RNN_RELU": _plain(lambda x: jnp.maximum(x, 0), lambda h: (h > 0).astype(h.dtype)),
    "LSTM": Kind(_lstm_step, _lstm_slopes, _lstm_carry, 4),
    "GRU": Kind(_gru_step, _gru_slopes, _gru_carry, 3),
}


# over time


def _kept_going(lengths: Array | None, time: Array, new: tuple, old: tuple) -> tuple:
    """The new states of the sequences that are not over (or, backwards, have begun), the old ones of the others."""
    if lengths is None:
        return new
    alive = (time < lengths)[:, None]
    return tuple(jnp.where(alive, n, o) for n, o in zip(new, old, strict=True))


def _scan(
    mode: str, reverse: bool, keep: bool, gates: Array, states: tuple, weights: Weights, lengths: Array | None
) -> tuple:
    """(last states, all states if `keep` else all outputs, what the slopes need)."""
    hidden, axis = repeated(weights.hidden, states[0].shape[0], gates.shape[0])
    weights = weights._replace(hidden=hidden)

    def body(before: tuple, at: tuple) -> tuple:
        time, gate = at
        after, kept = one_step(mode, before, gate, weights, axis)
        after = _kept_going(lengths, time, after, before)
        return after, (after, kept) if keep else (after[:1], ())

    return jax.lax.scan(body, states, (jnp.arange(len(gates)), gates), reverse=reverse)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def recurrence(
    mode: str, reverse: bool, gates: Array, states: tuple, weights: Weights, lengths: Array | None
) -> tuple[Array, tuple]:
    """(output at each time, last states) of a layer.

    Args:
        reverse: go from the last time to the first.
        gates: what the input adds to the gates at each time.
        lengths: how many times of each sequence count; None: all. Others leave the states as they are.
    Shape: (T, N, G*H), states of (N, H) -> (T, N, H), states of (N, H)
    """
    last, (outputs, _) = _scan(mode, reverse, False, gates, states, weights, lengths)
    return outputs[0], last


def _before(after: Array, first: Array, reverse: bool) -> Array:
    """The states that the steps began with."""
    return jnp.concatenate([after[1:], first[None]] if reverse else [first[None], after[:-1]])


def _dense(tangent: Any) -> Any:
    return jnp.zeros(tangent.shape, tangent.dtype) if isinstance(tangent, SymbolicZero) else tangent


def _moves(tangent: Any) -> bool:
    return tangent is not None and not isinstance(tangent, SymbolicZero)


@functools.partial(recurrence.defjvp, symbolic_zeros=True)
def _derivative(mode: str, reverse: bool, primals: tuple, tangents: tuple) -> tuple:
    gates, states, weights, lengths = primals
    gates_dot, states_dot, weights_dot, _ = tangents
    kind = KINDS[mode]
    last, (after, kept) = _scan(mode, reverse, True, gates, states, weights, lengths)
    before = tuple(_before(a, s, reverse) for a, s in zip(after, states, strict=True))
    of_hidden = jnp.zeros((), gates.dtype)
    if _moves(weights_dot.hidden):
        of_hidden = product(before[0], weights_dot.hidden)
    if _moves(weights_dot.bias):
        of_hidden = of_hidden + weights_dot.bias
    entering, factors = kind.slopes(before, after, kept, _dense(gates_dot), of_hidden)
    projected = ()
    if _moves(weights_dot.projection):
        projected = (product(kept[3] * jnp.tanh(after[1]), weights_dot.projection),)

    def body(old: tuple, at: tuple) -> tuple:
        time, entering, factors, projected = at
        output, *further = kind.carry(old, product(old[0], weights.hidden), entering, factors)
        new = (sum(projected, _projected(output, weights.projection)), *further)
        new = _kept_going(lengths, time, new, old)
        return new, new[0]

    xs = (jnp.arange(len(gates)), entering, factors, projected)
    last_dot, outputs_dot = jax.lax.scan(body, tuple(_dense(t) for t in states_dot), xs, reverse=reverse)
    return (after[0], last), (outputs_dot, last_dot)
