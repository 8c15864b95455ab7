"""The small value types that tensors are described by: dtype, device, Size, finfo, iinfo, layout, memory_format."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jtorch._devices import device as device
from jtorch._devices import device_of as device_of
from jtorch.ops import _args


class dtype:
    """A dtype as torch names it. JAX and NumPy take it wherever they take a dtype.

    Without `jax_enable_x64` a tensor made with float64 or int64 has the 32-bit form.
    """

    __slots__ = ("name", "dtype")

    def __init__(self, name: str, jax_type: Any):
        self.name = name
        self.dtype = np.dtype(jax_type)

    @property
    def is_floating_point(self) -> bool:
        """Whether it is a real float type."""
        return _args.is_float(self.dtype)

    @property
    def is_complex(self) -> bool:
        """Whether it is a complex type."""
        return _args.is_complex(self.dtype)

    @property
    def is_signed(self) -> bool:
        """Whether it holds negative numbers."""
        return self.dtype.kind not in "bu"

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    def to_complex(self) -> "dtype":
        """The complex dtype of the same precision."""
        return of_array(np.complex128 if self.itemsize == 8 else np.complex64)

    def __repr__(self):
        return f"torch.{self.name}"

    def __reduce__(self):
        return _dtype_by_name, (self.name,)


_NAMES = {
    "float32": jnp.float32, "float64": jnp.float64, "float16": jnp.float16, "bfloat16": jnp.bfloat16,
    "float8_e4m3fn": jnp.float8_e4m3fn, "float8_e5m2": jnp.float8_e5m2,
    "int64": jnp.int64, "int32": jnp.int32, "int16": jnp.int16, "int8": jnp.int8,
    "uint8": jnp.uint8, "uint16": jnp.uint16, "uint32": jnp.uint32, "uint64": jnp.uint64,
    "bool": jnp.bool_, "complex64": jnp.complex64, "complex128": jnp.complex128,
}  # fmt: skip
dtypes = {name: dtype(name, kind) for name, kind in _NAMES.items()}
"""Every dtype by torch's name."""

_by_numpy = {d.dtype: d for d in dtypes.values()}
float32, float64, float16, bfloat16 = (dtypes[n] for n in ("float32", "float64", "float16", "bfloat16"))
float8_e4m3fn, float8_e5m2 = dtypes["float8_e4m3fn"], dtypes["float8_e5m2"]
int64, int32, int16, int8 = (dtypes[n] for n in ("int64", "int32", "int16", "int8"))
uint8, uint16, uint32, uint64 = (dtypes[n] for n in ("uint8", "uint16", "uint32", "uint64"))
complex64, complex128, bool_ = dtypes["complex64"], dtypes["complex128"], dtypes["bool"]


def of_array(numpy_dtype: Any) -> dtype:
    """The dtype for a NumPy or JAX one."""
    found = _by_numpy.get(numpy_dtype)
    if found is None:
        found = _by_numpy.get(np.dtype(numpy_dtype))
        _args.check(found is not None, f"dtype: expected a type that torch has, got {numpy_dtype}", TypeError)
    return found  # type: ignore[return-value]


def _dtype_by_name(name: str) -> dtype:
    return dtypes[name]


_LONG_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long",
    "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool", "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}  # fmt: skip


def long_name(numpy_dtype: Any) -> str:
    """The name that torch's error messages use, such as Float or Long."""
    name = of_array(numpy_dtype).name
    return _LONG_NAMES.get(name, name)


def dtype_of_type(text: str) -> dtype:
    """The dtype that a tensor type's name means, such as `torch.FloatTensor` or `torch.cuda.HalfTensor`."""
    short = text.rpartition(".")[2].removesuffix("Tensor")
    for name, long in _LONG_NAMES.items():
        if long == short:
            return dtypes[name]
    raise ValueError(f"type(): expected a tensor type such as torch.FloatTensor, got {text!r}")


class Size(tuple):
    """A shape. A tuple that prints as torch's and counts its elements."""

    __slots__ = ()

    def numel(self) -> int:
        """The product of the sizes."""
        return math.prod(self)

    def __repr__(self):
        return f"torch.Size({list(self)})"

    def __add__(self, other):
        return Size(tuple.__add__(self, other))

    def __radd__(self, other):
        return Size(tuple(other) + tuple(self))

    def __mul__(self, count):
        return Size(tuple.__mul__(self, count))

    __rmul__ = __mul__

    def __getitem__(self, index):
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found

    def __reduce__(self):
        return Size, (tuple(self),)


class finfo:
    """The limits of a float dtype, the default one if none is given."""

    def __init__(self, type: Any = None):
        self._dtype = of_array(_args.default_float() if type is None else np.dtype(type))
        info = jnp.finfo(self._dtype.dtype)
        self.bits = info.bits
        self.eps, self.max, self.min, self.tiny = (float(getattr(info, n)) for n in ("eps", "max", "min", "tiny"))
        self.smallest_normal = self.tiny
        self.resolution = float(info.resolution)
        self.dtype = self._dtype.name

    def __repr__(self):
        shown = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{n}={getattr(self, n):g}' for n in shown)}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype."""

    def __init__(self, type: Any):
        self._dtype = of_array(np.dtype(type))
        info = jnp.iinfo(self._dtype.dtype)
        self.bits, self.min, self.max = info.bits, int(info.min), int(info.max)
        self.dtype = self._dtype.name

    def __repr__(self):
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


class _Token:
    """A named constant that is accepted and means nothing to XLA, such as a memory format."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self):
        return f"torch.{self.name}"

    def __reduce__(self):
        return _token_by_name, (self.name,)


layout = memory_format = _Token
_TOKENS = ("strided", "contiguous_format", "preserve_format", "channels_last", "channels_last_3d", "sparse_coo")
tokens = {name: _Token(name) for name in _TOKENS}
strided, contiguous_format, preserve_format, channels_last, channels_last_3d, sparse_coo = tokens.values()


def _token_by_name(name: str) -> _Token:
    return tokens[name]


def check_cast(source: Any, target: Any) -> None:
    """Raise torch's error where a result of one dtype cannot be written into a tensor of another."""
    if source != target and not _args.can_cast(source, target):
        raise RuntimeError(
            f"result type {long_name(source)} can't be cast to the desired output type {long_name(target)}"
        )
