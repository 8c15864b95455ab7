"""Tables looked up by integers: embedding and one_hot."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, derived, op
from jtorch.ops.gathering import check_range
from jtorch.ops.shape import dtype_of


@jax.custom_jvp
def replaced(x: Array, value: Array, scale: Array) -> Array:
    """`value`, with `scale` times the gradient going to `x`."""
    return value


replaced.defjvps(lambda tangent, out, x, value, scale: tangent * scale, None, None)


def _renormed(rows: Array, max_norm: float, norm_type: float) -> Array:
    norm = jnp.linalg.norm(rows, norm_type, axis=-1, keepdims=True)
    return rows * jnp.where(norm > max_norm, max_norm / (norm + 1e-7), 1).astype(rows.dtype)


def looked_up(input: Array, weight: Array, max_norm: float | None, norm_type: float, scale_grad_by_freq: bool) -> Array:
    """The rows of a table, as `embedding` gives them but for padding."""
    rows = weight.at[input].get(mode="fill", wrap_negative_indices=False)
    if max_norm is not None:
        rows = replaced(rows, _renormed(rows, max_norm, norm_type), jnp.ones((), rows.dtype))
    if scale_grad_by_freq:
        counts = jnp.zeros(weight.shape[0], np.int32).at[input].add(1)
        rows = replaced(rows, rows, (1 / counts.at[input].get(mode="clip")).astype(rows.dtype)[..., None])
    return rows


def _require_table(weight: Array) -> None:
    _args.check(weight.ndim == 2, f"embedding(): expected a weight matrix, got {weight.ndim} dimensions", RuntimeError)


def _check_embedding(input: Array, weight: Array, *rest: Any, **more: Any) -> None:
    _require_table(weight)
    check_range("embedding", input, weight.shape[0], 0)


@op(method=False, function=False, validate=_check_embedding)
def _embedding(
    input: Array, weight: Array, padding_idx: int | None, max_norm: float | None, norm_type: float,
    scale_grad_by_freq: bool,
) -> Array:  # fmt: skip
    """What `embedding` gives for a table that is not written."""
    fits = input.dtype in (np.int64, np.int32)
    _args.check(fits, f"embedding(): expected an input of dtype int64 or int32, got {input.dtype}", RuntimeError)
    _require_table(weight)
    rows = looked_up(input, weight, max_norm, norm_type, scale_grad_by_freq)
    if padding_idx is not None:
        row = _row(padding_idx, weight.shape[0])
        rows = jnp.where((input == row)[..., None], jax.lax.stop_gradient(rows), rows)
    return rows


def renormed_in_place(input: Any, weight: Any, max_norm: float, norm_type: float) -> bool:
    """Whether the table could be written; then the rows that the integers name have at most this norm now."""
    take = getattr(weight, "__jtorch_out__", None)
    if take is not None:
        weight.detach().__jtorch_out__(embedding_renorm(weight, input, max_norm, norm_type))
    return take is not None


@derived(method=False, function=False)
def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    """The rows of `weight` that the integers of `input` name.

    The row `padding_idx` gets no gradient. With `max_norm`, rows of a larger norm are first scaled down to it in the
    table. With `scale_grad_by_freq` the gradient of each row is divided by the number of times it comes up.

    Shape: (*), (V, E) -> (*, E)
    Raises: IndexError for an integer out of range; RuntimeError for an input of another dtype than int64 or int32.
    Differs: with `max_norm` a table that is a plain array cannot be written and stays, only the rows come out scaled
        down; give a Tensor. Gradients are dense, `sparse` or not. In compiled code an integer out of range gives NaN.
    """
    if max_norm is not None and renormed_in_place(input, weight, max_norm, norm_type):
        max_norm = None
    return _embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)


def _row(padding_idx: int, count: int) -> int:
    fits = -count <= padding_idx < count
    _args.check(
        fits, f"embedding(): expected padding_idx from {-count} to {count - 1}, got {padding_idx}", AssertionError
    )
    return padding_idx % count


def _check_renorm(weight: Array, indices: Array, max_norm: float, norm_type: float = 2.0) -> None:
    _check_embedding(indices, weight)


@op(method=False, function=False, differentiable=False, validate=_check_renorm)
def embedding_renorm(weight: Array, indices: Array, max_norm: float, norm_type: float = 2.0) -> Array:
    """A copy of `weight` with the rows that the indices name scaled down to at most `max_norm`.

    Shape: (V, E), (*) -> (V, E)
    """
    used = jnp.zeros(weight.shape[0], bool).at[indices].set(True)
    return jnp.where(used[:, None], _renormed(weight, max_norm, norm_type), weight)


def _check_classes(tensor: Array, num_classes: int) -> None:
    values = np.asarray(tensor)
    if values.size:
        _args.check(values.min() >= 0, f"one_hot(): expected classes of 0 or more, got {values.min()}", RuntimeError)
        _args.check(
            values.max() < num_classes,
            f"one_hot(): expected classes below {num_classes}, got {values.max()}",
            RuntimeError,
        )


@op(method=False, function=False, differentiable=False, validate=_check_classes)
def one_hot_of(tensor: Array, num_classes: int) -> Array:
    """A 1 at the place that each integer names and zeros elsewhere, as int64.

    Shape: (*) -> (*, num_classes)
    Raises: RuntimeError for a class out of range.
    """
    return (tensor[..., None] == jnp.arange(num_classes, dtype=tensor.dtype)).astype(_args.long_dtype())


@derived(method=False, function=False)
def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """A 1 at the place that each integer names and zeros elsewhere, as int64. -1: one class more than the largest.

    Shape: (*) -> (*, num_classes)
    Raises: RuntimeError for a class out of range, an input that is not int64, or a number of classes that would have
        to come from an empty or a traced input.
    """
    dtype = dtype_of(tensor)
    long = dtype in (np.int64, _args.long_dtype())
    _args.check(long, f"one_hot(): expected an int64 tensor, got {dtype}", RuntimeError)
    if num_classes == -1:
        try:
            values = np.asarray(tensor)
        except jax.errors.TracerArrayConversionError as error:
            raise RuntimeError("one_hot(): expected num_classes for a traced tensor, got -1") from error
        _args.check(values.size, "one_hot(): expected num_classes for an empty tensor, got -1", RuntimeError)
        num_classes = int(values.max()) + 1
    _args.check(
        num_classes > 0 or 0 in tensor.shape, f"one_hot(): expected num_classes > 0, got {num_classes}", RuntimeError
    )
    return one_hot_of(tensor, num_classes)
