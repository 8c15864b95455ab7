"""Changes of dtype and device, with gradients that go back the same way."""

from typing import Any

import jax

from jtorch.ops import _args
from jtorch.ops._op import Array, DType, op

to_dtype = _args.to_dtype


@op(method=False, function=False)
def _to_copy(input: Array, dtype: DType) -> Array:
    """The values in another dtype; complex to real keeps the real part (bools tell of both), floats are cut towards zero.

    Shape: (*) -> (*)
    """
    return _args.cast(input, dtype)


@op(method=False, function=False, eager=True)
def _to_device(input: Array, device: Any) -> Array:
    """The same values on another device.

    Shape: (*) -> (*)
    """
    return jax.device_put(input, device)
