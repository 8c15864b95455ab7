"""Numbers and small NumPy arrays brought to JAX's device quickly, where they come again and again.

JAX takes as long for a number beside an array as for half an op, and for a NumPy array as for five. A number that comes
again is kept as an array; the arrays of a shape that was met often go through a program, which is the fast way in.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops._kept import Kept

_boxes: dict[tuple, jax.Array] = {}
_met: set[tuple] = set()
"""The numbers that were asked for once: one that never comes back is not worth an array."""


def boxed(value: Any) -> Any:
    """The array that JAX makes of a Python int or float, weakly typed; or the number itself."""
    key = type(value), value, jax.config.jax_enable_x64
    found = _boxes.get(key)
    return _boxed_anew(key) if found is None else found


def _boxed_anew(key: tuple) -> Any:
    value = key[1]
    fits = -(2**31) <= value < 2**31 if type(value) is int else value != 0  # 0.0 and -0.0 are one key
    if not fits or len(_boxes) >= Kept.MOST:
        return value
    if key in _met:
        _met.discard(key)
        with jax.ensure_compile_time_eval():
            _boxes[key] = jnp.asarray(value)
        return _boxes[key]
    if len(_met) >= Kept.MOST:
        _met.clear()
    _met.add(key)
    return value


_OFTEN = 100
_SMALL = 2**14
_counts = Kept()  # how often arrays of a shape and dtype were placed, up to _OFTEN
_through = jax.jit(lambda values: values)


def placed(values: np.ndarray) -> jax.Array:
    """A NumPy array as a JAX array with memory of its own. Nobody may write to the NumPy array afterwards.

    A shape that was met often has a program, whose compilation takes as long as two hundred arrays without it.
    """
    if values.size > _SMALL:
        return jnp.asarray(values)
    key = values.shape, values.dtype
    count = _counts.get(key, 0)
    if count == _OFTEN:
        return _through(values)
    _counts[key] = count + 1
    return jnp.asarray(values)
