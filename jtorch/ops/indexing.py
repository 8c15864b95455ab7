"""Reading and writing by subscript: `x[index]`, `x[index] = value`, and `index_put`.

An index comes here encoded by `subscript.encode`. Ops that take an index array as an argument (gather, index_select,
scatter ...) are in `gathering` and `scattering`.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._floating import wide
from jtorch.ops._hints import NUMBERS
from jtorch.ops._op import Array, Op, Scalar, derived, op
from jtorch.ops._placing import placed
from jtorch.ops.shape import dtype_of
from jtorch.ops.subscript import Spec, encode, joint_shape

_MOST = 2**31 - 1


def _region(shape: tuple, basic: tuple, places: Sequence) -> tuple[list, list, list, tuple]:
    """Starts, lengths and steps for each dimension of the input, and the shape of the result."""
    starts, lengths, steps, result, places = [], [], [], [], list(places)
    for entry in basic:
        if entry[0] == "new":
            result.append(1)
            continue
        if entry[0] == "all":
            start, length, step = 0, shape[len(starts)], 1
        else:
            start, length, step = entry[1:] if entry[0] == "cut" else (entry[1], 1, 1)
        starts.append(places.pop(0) if start is None else start)
        lengths.append(length)
        steps.append(step)
        if entry[0] != "at":
            result.append(length)
    rest = shape[len(starts) :]
    return starts + [0] * len(rest), [*lengths, *rest], steps + [1] * len(rest), (*result, *rest)


def _spanned(lengths: list, steps: list) -> list:
    return [(n - 1) * s + 1 if n else 0 for n, s in zip(lengths, steps, strict=True)]


def _cut_out(input: Array, starts: list, spans: list) -> Array:
    if all(isinstance(s, int) for s in starts):
        return jax.lax.slice(input, starts, [s + n for s, n in zip(starts, spans, strict=True)])
    return jax.lax.dynamic_slice(input, _aligned(starts, input.shape), spans)


def _aligned(starts: list, shape: tuple) -> list:
    """Starts of one dtype, as XLA wants them."""
    dtype = np.int32 if max(shape) <= _MOST else np.int64
    return [jnp.asarray(s).astype(dtype) for s in starts]


def _last_step(spec: Spec) -> str:
    """What torch's last step of the index is."""
    steps = [entry[0] for entry in spec.basic if entry[0] != "all"]
    return {"at": "select", "new": "unsqueeze"}.get(steps[-1] if steps else "cut", "slice")


@op(view=True, method=False, function=False, node=_last_step)
def slice_view(input: Array, arrays: Sequence[Array], spec: Spec) -> Array:
    """`input[index]` for an index of integers, slices and new dimensions, encoded by `encode`.

    Shape: (*) -> as the index says
    """
    starts, lengths, steps, result = _region(input.shape, spec.basic, arrays)
    out = _cut_out(input, starts, _spanned(lengths, steps))
    if max(steps, default=1) > 1:
        out = jax.lax.slice(out, [0] * out.ndim, out.shape, steps)
    return out.reshape(result)


def _halves(arrays: Sequence, spec: Spec) -> tuple[Sequence, Sequence]:
    """The traced places of the basic step, and the arrays of the advanced one."""
    count = sum(e[0] in ("at", "cut") and e[1] is None for e in spec.basic)
    return arrays[:count], arrays[count:]


def subscript(advanced: tuple, arrays: Sequence) -> tuple:
    """The advanced step as a subscript that JAX takes."""
    left = iter(arrays)
    return tuple(slice(None) if kind == "all" else next(left) for kind in advanced)


@op(method=False, function=False)
def gather_index(input: Array, arrays: Sequence[Array], spec: Spec) -> Array:
    """`input[index]` for an index with integer arrays in it, encoded by `encode`: a copy.

    Shape: (*) -> as the index says
    Differs: places outside raise in `encode` where they are known; else they read NaN, or the extreme integer.
    """
    places, indices = _halves(arrays, spec)
    current = slice_view.body(input, places, spec)
    return current.at[subscript(spec.advanced, indices)].get(mode="fill")


@op(method=False, function=False, eager=True)
def gather_counted(input: Array, arrays: Sequence[Array], spec: Spec) -> Array:
    """What `gather_index` gives, for index arrays whose lengths a mask decided.

    The shape of the result is then new with nearly every call, and each would be a program of its own: so on the CPU
    NumPy does it where no gradient is wanted.

    Shape: (*) -> as the index says
    """
    if not all(on_host(x) for x in (input, *arrays)):
        return gather_index(input, arrays, spec)
    places, indices = _halves(arrays, spec)
    current = slice_view(input, places, Spec(spec.basic)) if spec.basic else input
    return placed(np.asarray(current)[subscript(spec.advanced, [np.asarray(i) for i in indices])])


def on_host(array: Any) -> bool:
    """Whether the values are known now and lie in the memory of the CPU."""
    if isinstance(array, jax.core.Tracer):
        return False
    return not isinstance(array, jax.Array) or all(d.platform == "cpu" for d in array.devices())


def reader(spec: Spec) -> Op:
    """The op that reads by a spec; call it with (input, arrays, spec)."""
    return slice_view if spec.is_view else gather_counted if spec.counted else gather_index


@derived(method=False, function=False)
def getitem(input: Any, index: Any) -> Any:
    """`input[index]` by torch's rules.

    Shape: (*) -> as the index says
    Raises: IndexError, ValueError or RuntimeError as `encode` does.
    """
    spec, arrays = encode(index, input.shape)
    return reader(spec)(input, arrays, spec)


# writing


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def overwrite(input: Array, value: Array, indices: tuple, advanced: tuple) -> Array:
    """`input` with `value` at the places of the index arrays.

    Where places coincide one of the values stays, and each of them gets the gradient of the place, as in torch.
    """
    return input.at[subscript(advanced, indices)].set(value)


@overwrite.defjvp
def _overwrite_tangent(advanced, primals, tangents):
    input, value, indices = primals
    at = subscript(advanced, indices)
    kept = tangents[0].at[at].set(0, unique_indices=True)  # zero whichever write is last: so unique in effect
    return overwrite(input, value, indices, advanced), kept.at[at].add(tangents[1])


def add_at(input: Array, at: Any, value: Array) -> Array:
    """`input` with a value added at the places of a subscript, once for each time a place comes up; bools are or'ed.

    Sixteen-bit floats are added up in float32: in bfloat16, 256 + 1 is 256.
    """
    if input.dtype == np.bool_:
        return input.at[at].max(value)
    return wide(input).at[at].add(wide(value)).astype(input.dtype)


def _fitted(value: Array, shape: tuple) -> Array:
    """A value broadcast to the place it is written to; dimensions of size 1 in front fall away."""
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value[0]
    grows = value.ndim <= len(shape) and all(m in (1, n) for m, n in zip(value.shape[::-1], shape[::-1], strict=False))
    _args.check(grows, f"index: expected a value that broadcasts to {shape}, got shape {value.shape}", RuntimeError)
    return jnp.broadcast_to(value, shape)


def _result_shape(shape: tuple, advanced: tuple, indices: Sequence) -> tuple:
    """The shape that the advanced step reads: the index dimensions in front, unless they were next to each other."""
    common = joint_shape(indices)
    at = [i for i, kind in enumerate(advanced) if kind == "index"]
    rest = [n for i, n in enumerate(shape) if i not in at]
    first = at[0] if at[-1] - at[0] == len(at) - 1 else 0
    return (*rest[:first], *common, *rest[first:])


def _masked_values(value: Array, shape: tuple, at: int, rank: int) -> tuple[Array, int | None]:
    """A value to go where a mask over `rank` dimensions from `at` on is True, and the axis that counts those places.

    The axis is None where every place takes the same, and the value then broadcasts to `shape`.
    """
    after = len(shape) - at - rank
    while value.ndim > at + 1 + after and value.shape[0] == 1:
        value = value[0]
    if value.ndim <= after:
        return _fitted(value, shape), None
    lead = value.ndim - after - 1
    if value.shape[lead] != 1:
        return value, lead
    return _fitted(value.reshape(*value.shape[:lead], *(1,) * rank, *value.shape[lead + 1 :]), shape), None


def _write_masked(current: Array, mask: Array, at: int, value: Array) -> Array:
    rank, shape = mask.ndim, current.shape
    after = shape[at + rank :]
    value, axis = _masked_values(value, shape, at, rank)
    if axis is not None:
        value = _fitted(value, (*shape[:at], value.shape[axis], *after))
        if not value.shape[at]:
            return current
        order = jnp.cumsum(mask.reshape(-1)) - 1  # which value each True place takes
        value = jnp.take(value, order, axis=at, mode="clip").reshape(shape)
    return jnp.where(mask.reshape(mask.shape + (1,) * len(after)), value, current)


def _write_advanced(current: Array, advanced: tuple, indices: Sequence, value: Array, accumulate: bool) -> Array:
    if "mask" in advanced:
        return _write_masked(current, indices[0] != 0, advanced.index("mask"), value)
    value = _fitted(value, _result_shape(current.shape, advanced, indices))
    if accumulate:
        return add_at(current, subscript(advanced, indices), value)
    return overwrite(current, value, tuple(indices), advanced)


def _paste(input: Array, value: Array, basic: tuple, places: Sequence) -> Array:
    """`input` with the part that the basic step reads replaced."""
    starts, lengths, steps, _ = _region(input.shape, basic, places)
    value = value.reshape(lengths)
    if 0 in lengths or not input.ndim:
        return input if input.ndim else value
    if max(steps) > 1:
        between = [(0, 0, s - 1) for s in steps]
        written = jax.lax.pad(jnp.ones(lengths, bool), False, between)
        spread = jax.lax.pad(value, jnp.zeros((), value.dtype), between)
        value = jnp.where(written, spread, _cut_out(input, starts, _spanned(lengths, steps)))
    return jax.lax.dynamic_update_slice(input, value, _aligned(starts, input.shape))


def check_written(dtype: Any, value: Any, spec: Spec, arrays: Sequence) -> None:
    """What torch asks of a value to be written at index arrays or a mask: a lone mask converts one number, nothing else.

    Raises:
        RuntimeError: the value is of another dtype, or the mask for one value is none of bools.
    """
    number = type(value) in NUMBERS
    if "mask" in spec.advanced and (number or math.prod(value.shape) == 1):
        kind = _args.to_dtype(arrays[-1].dtype)
        if kind != np.bool_:
            _args.fail(f"index: expected a bool mask for one value, got one of {kind}", RuntimeError)
    elif not number and _args.to_dtype(value.dtype) != dtype:
        _args.fail(
            f"index: expected a value of dtype {dtype}, got {_args.to_dtype(value.dtype)}; convert it by to()",
            RuntimeError,
        )


def _check_setitem(input: Array, value: Any, arrays: Sequence[Array], spec: Spec, accumulate: bool = False) -> None:
    if "mask" not in spec.advanced:
        return
    mask = np.asarray(arrays[-1])
    after = len(_region(input.shape, spec.basic, arrays[:-1])[3]) - spec.advanced.index("mask") - mask.ndim
    shape = np.shape(value)
    length = shape[-1 - after] if len(shape) > after else 1
    count = int(np.count_nonzero(mask))
    _args.check(length in (1, count), f"index: expected {count} values for the mask, got {length}", RuntimeError)


@op(method=False, function=False, validate=_check_setitem)
def setitem(
    input: Array, value: Array | Scalar, arrays: Sequence[Array], spec: Spec, accumulate: bool = False
) -> Array:
    """A copy of the input with `value` at the places of an encoded index (see `encode`, with `writing=True`).

    The value takes the dtype of the input, loses dimensions of size 1 in front, and is broadcast. With `accumulate` it
    is added, once for each time a place comes up.

    Shape: (*), what the index reads -> (*)
    Raises: RuntimeError where the value does not fit.
    """
    places, indices = _halves(arrays, spec)
    value = _args.cast(value, input.dtype)
    if not spec.advanced:
        *_, shape = _region(input.shape, spec.basic, places)
        return _paste(input, _fitted(value, shape), spec.basic, places)
    current = slice_view.body(input, places, spec)
    written = _write_advanced(current, spec.advanced, indices, value, accumulate)
    return _paste(input, written, spec.basic, places)


@derived(inplace=True)
def index_put(input: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    """A copy of the input with `values` at the places that index arrays name, or added there.

    Shape: (*), what the index reads -> (*)
    Raises: IndexError for places outside; RuntimeError where values do not fit or have another dtype.
    """
    same = dtype_of(values) == dtype_of(input)
    _args.check(same, f"index_put(): expected values of dtype {input.dtype}, got {values.dtype}", RuntimeError)
    spec, arrays = encode(tuple(indices), input.shape, writing=not accumulate)
    return setitem(input, values, arrays, spec, accumulate)
