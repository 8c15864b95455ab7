"""The draws that torch makes on a CPU, as NumPy arrays: for each op that samples, how torch uses its stream.

An op that is not here draws from a JAX key instead, also outside compiled code. The stream itself is in `_twister`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jtorch._twister import Twister, fused
from jtorch.ops import _args, fills, sampling
from jtorch.ops._kept import Kept
from jtorch.ops._placing import placed
from jtorch.ops.dropout import _alpha_dropout, _alpha_dropout_but, _dropout, _dropout_but, kept_shape

twins: dict[str, Callable] = {}
"""For the name of an op, the function of a stream, the result's shape and dtype, and the op's arguments by name."""


def _twin(*ops: Any) -> Callable:
    def declare(function: Callable) -> Callable:
        twins.update((op.name, function) for op in ops)
        return function

    return declare


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _is_double(dtype: Any) -> bool:
    return dtype in (np.float64, np.complex128)


def _parts(shape: tuple[int, ...], dtype: Any, draw: Callable) -> np.ndarray:
    """An array of the dtype that `draw(count, dtype)` fills: complex numbers part by part."""
    if not _args.is_complex(dtype):
        return draw(_count(shape), dtype).reshape(shape).astype(dtype)
    real = np.dtype(np.float64 if _is_double(dtype) else np.float32)
    return draw(2 * _count(shape), real).astype(real).view(dtype).reshape(shape)


# even


def _even(stream: Twister, count: int, dtype: Any, low: float, high: float) -> np.ndarray:
    """Numbers from `low` to below `high`; what would round up to `high` is `low`."""
    wide = np.float64 if _is_double(dtype) else np.float32
    u = stream.doubles(count) if wide is np.float64 else stream.floats(count)
    start, stop = wide(low), wide(high)
    drawn = fused(u, stop - start, start).astype(dtype)
    return np.where(drawn == np.asarray(high, dtype), np.asarray(low, dtype), drawn)


@_twin(sampling.rand, sampling.rand_like)
def _rand(stream: Twister, shape: tuple, dtype: Any, **_: Any) -> np.ndarray:
    return _parts(shape, dtype, lambda count, kind: _even(stream, count, kind, 0.0, 1.0))


@_twin(fills.uniform)
def _uniform(stream: Twister, shape: tuple, dtype: Any, input: Any, start: Any, to: Any) -> np.ndarray:
    return _parts(shape, dtype, lambda count, kind: _even(stream, count, kind, float(start), float(to)))


def _whole(stream: Twister, shape: tuple, dtype: Any, low: int, span: int) -> np.ndarray:
    """Integers from `low` on, `span` different ones: of 32 random bits where these are enough, else of 64."""
    words = stream.words if span < 2**28 else stream.longs
    drawn = words(_count(shape))
    if span < 2**64:  # else they are what they are, and torch does not move them to begin at `low`
        drawn = drawn % np.uint64(span) + np.uint64(low % 2**64)
    return drawn.view(np.int64).reshape(shape).astype(dtype)


@_twin(sampling._randint)
def _randint(stream: Twister, shape: tuple, dtype: Any, low: Any, high: Any, **_: Any) -> np.ndarray:
    return _whole(stream, shape, dtype, int(low), int(high) - int(low))


@_twin(sampling.randint_like)
def _randint_like(stream: Twister, shape: tuple, dtype: Any, low: Any, high: Any, **_: Any) -> np.ndarray:
    low, high = (0, low) if high is None else (low, high)
    return _whole(stream, shape, dtype, int(low), int(high) - int(low))


@_twin(fills.random)
def _random(stream: Twister, shape: tuple, dtype: Any, input: Any, bounds: tuple) -> np.ndarray:
    if len(bounds) == 2 and bounds[1] is None:
        top = fills.greatest(dtype)
        return _whole(stream, shape, dtype, int(bounds[0]), top - int(bounds[0]) + 1)
    if bounds:
        low, high = (0, *bounds) if len(bounds) == 1 else bounds
        return _whole(stream, shape, dtype, int(low), int(high) - int(low))
    long = dtype in (np.int64, np.float64)
    drawn = stream.longs(_count(shape)) if long else stream.words(_count(shape))
    return (drawn % np.uint64(fills.greatest(dtype) + 1)).reshape(shape).astype(dtype)


@_twin(sampling.randperm)
def _randperm(stream: Twister, shape: tuple, dtype: Any, n: int, **_: Any) -> np.ndarray:
    steps = np.arange(max(n - 1, 0))
    partners = steps + (stream.words(len(steps)) % (n - steps).astype(np.uint64)).astype(np.int64)
    return _swapped(np.append(partners, n - 1)[:n]).astype(dtype)


def _swapped(partners: np.ndarray) -> np.ndarray:
    """The numbers from 0 on, once each step has swapped its place with that of its partner, which is never before it.

    Step k leaves what was at place k with its partner. So what is found at a place is what the last step before that
    chose this place brought there from its own, and so on back to a place that none had chosen: its own number.
    """
    steps = np.arange(len(partners))
    order = np.argsort(partners, kind="stable")
    again = partners[order[1:]] == partners[order[:-1]]
    earlier = np.full(len(partners), -1)  # the step before this one that chose the same place
    earlier[order[1:][again]] = order[:-1][again]
    latest = np.full(len(partners), -1)  # the last step that chose a place
    latest[partners] = steps
    source = np.where(latest == steps, earlier, latest)
    source = np.where(source < 0, steps, source)
    while True:
        further = source[source]
        if np.array_equal(further, source):
            return np.where(earlier < 0, partners, source[earlier])
        source = further


# normal


@_twin(sampling.randn, sampling.randn_like)
def _randn(stream: Twister, shape: tuple, dtype: Any, **_: Any) -> np.ndarray:
    return _normal_like(stream, shape, dtype, None, 0.0, 1.0)


@_twin(fills.normal_like)
def _normal_like(stream: Twister, shape: tuple, dtype: Any, input: Any, mean: Any, std: Any) -> np.ndarray:
    each = np.sqrt(0.5) if _args.is_complex(dtype) else 1.0  # of a complex number, each part has half the variance
    gaps = getattr(input, "_base", None) is not None and not input.is_contiguous()

    def bell(count: int, kind: Any) -> np.ndarray:
        if count >= 16 and not gaps:
            return stream.normal_block(count, float(mean) * each, float(std) * each, np.dtype(kind))
        return stream.normals(count) * (float(std) * each) + float(mean) * each

    return _parts(shape, dtype, bell)


@_twin(sampling.normal)
def _normal(stream: Twister, shape: tuple, dtype: Any, mean: Any, std: Any, size: Any, **_: Any) -> np.ndarray:
    if size is not None:
        return _normal_like(stream, shape, dtype, None, mean, std)
    drawn = _normal_like(stream, shape, dtype, None, 0.0, 1.0)
    return (drawn * np.asarray(_plain(std), dtype) + np.asarray(_plain(mean), dtype)).astype(dtype)


@_twin(fills.log_normal)
def _log_normal(stream: Twister, shape: tuple, dtype: Any, input: Any, mean: Any, std: Any) -> np.ndarray:
    return np.exp(stream.normals(_count(shape)) * float(std) + float(mean)).reshape(shape).astype(dtype)


# others


@_twin(fills.exponential)
def _exponential(stream: Twister, shape: tuple, dtype: Any, input: Any, lambd: Any) -> np.ndarray:
    return (np.log1p(-stream.doubles(_count(shape))) * (-1 / float(lambd))).reshape(shape).astype(dtype)


@_twin(fills.cauchy)
def _cauchy(stream: Twister, shape: tuple, dtype: Any, input: Any, median: Any, sigma: Any) -> np.ndarray:
    turn = np.tan(np.pi * (stream.doubles(_count(shape)) - 0.5))
    return (float(median) + float(sigma) * turn).reshape(shape).astype(dtype)


@_twin(fills.geometric)
def _geometric(stream: Twister, shape: tuple, dtype: Any, input: Any, p: Any) -> np.ndarray:
    return np.ceil(np.log(stream.doubles(_count(shape))) / np.log1p(-float(p))).reshape(shape).astype(dtype)


def _trials(stream: Twister, shape: tuple, p: Any) -> np.ndarray:
    """Where a trial of probability `p`, a Python number or an array, succeeds."""
    numbers = np.asarray(_plain(p))
    if isinstance(p, int | float) or numbers.dtype == np.float64:
        return stream.doubles(_count(shape)).reshape(shape) < numbers
    return stream.floats(_count(shape)).reshape(shape) < numbers.astype(np.float32)


@_twin(fills.bernoulli_like)
def _bernoulli_like(stream: Twister, shape: tuple, dtype: Any, input: Any, p: Any) -> np.ndarray:
    return _trials(stream, shape, p).astype(dtype)


@_twin(sampling.bernoulli)
def _bernoulli(stream: Twister, shape: tuple, dtype: Any, input: Any, p: Any) -> np.ndarray:
    return _trials(stream, shape, input if p is None else p).astype(dtype)


@_twin(sampling.multinomial)
def _multinomial(stream: Twister, shape: tuple, dtype: Any, input: Any, num_samples: int, replacement: bool) -> Any:
    weights = np.asarray(_plain(input))
    rows = np.atleast_2d(weights).astype(np.float64 if weights.dtype == np.float64 else np.float32)
    if replacement and num_samples > 1:
        u = stream.doubles(len(rows) * num_samples).reshape(len(rows), -1)
        total = np.cumsum(rows, 1, dtype=rows.dtype)
        pairs = zip(total / total[:, -1:], u, strict=True)
        return np.stack([np.searchsorted(t, x) for t, x in pairs]).reshape(shape).astype(dtype)
    waiting = _exponential(stream, rows.shape, rows.dtype, None, 1.0)
    order = np.argsort(-(rows / waiting), 1, kind="stable")
    return order[:, :num_samples].reshape(shape).astype(dtype)


# layers that drop


def _dropping(after: Any) -> Callable:
    """The draw of what is kept, and the op that drops the rest."""

    def drop(
        stream: Twister, shape: tuple, dtype: Any, input: Any, p: Any, kept_dims: int | None, inplace: bool
    ) -> Any:
        return after(input, _trials(stream, kept_shape(shape, kept_dims), 1 - float(p)), p, inplace)

    return drop


_twin(_dropout)(_dropping(_dropout_but))
_twin(_alpha_dropout)(_dropping(_alpha_dropout_but))

# calling them

_results = Kept()


def _plain(value: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    return value._value() if hasattr(value, "_value") else value


def _memory_order(input: Any) -> list[int] | None:
    """The dimensions of a tensor as they lie in torch's memory, where it fills a tensor in that order and not in its own."""
    strides = input._strides() if hasattr(input, "_strides") and input._base is not None else ()
    order = sorted(range(len(strides)), key=lambda i: -strides[i])
    return order if order != list(range(len(strides))) else None


def draw(stream: Twister, op: Any, traced: Sequence, static: tuple) -> Any:
    """What the op's twin draws: an array of JAX, or the result of another op."""
    named = dict(zip((*op.traced, *op.static), (*traced, *static), strict=True))
    for known in (op.traced[op.key_at], "dtype"):
        named.pop(known, None)
    arrays = [_plain(value) for value in traced]
    aval = _result(op, arrays, static)
    if op.validate is not None:
        op.check(arrays, static)
    order = _memory_order(named["input"]) if op.__module__ == fills.__name__ else None
    if order is None:
        drawn = twins[op.name](stream, aval.shape, aval.dtype, **named)
    else:
        drawn = twins[op.name](stream, tuple(aval.shape[i] for i in order), aval.dtype, **named)
        drawn = np.transpose(drawn, np.argsort(order))
    return placed(drawn) if isinstance(drawn, np.ndarray) else drawn


def _result(op: Any, arrays: list, static: tuple) -> Any:
    """The shape and dtype of the op's result, once its body has found the arguments sound."""
    kinds = tuple((x.shape, x.dtype) if hasattr(x, "shape") else type(x) for x in arrays)
    found = _results.get((op.name, kinds, static))
    if found is None:
        values = [*arrays]
        values[op.key_at] = jax.random.key(0)
        found = jax.eval_shape(lambda *given: op._apply(op._promoted(), given, static), *values)
        _args.check_room(found.shape, found.dtype)
        _results[op.name, kinds, static] = found
    return found
