"""Tensors turned into other things: another dtype or device, Python numbers, NumPy arrays, JAX arrays, DLPack.

`Conversion` is the part of Tensor that does it; it uses only what Tensor defines.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.core import Tracer

from jtorch import _types
from jtorch.ops import casting

_RANKS = {_types.channels_last: 4, _types.channels_last_3d: 5}


class Conversion:
    """The conversions of a tensor."""

    _value: Callable[[], Any]
    device: Any
    shape: Any
    requires_grad: bool
    clone: Callable[[], Any]
    detach: Callable[[], Any]

    # to another dtype or device

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """The tensor with another dtype or on another device; itself where nothing changes and `copy` is not set.

        `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`, all with `non_blocking`, `copy` and
        `memory_format`, of which only `copy` does anything.

        Raises:
            RuntimeError: the device is not there, or the memory format is for tensors of another rank.
            TypeError: the arguments are nothing of these.
        """
        device, dtype, copy = parse_to(*args, **kwargs)
        form: Any = kwargs.get("memory_format")
        if _RANKS.get(form) not in (None, len(self.shape)):
            raise RuntimeError(f"required rank {_RANKS[form]} tensor to use {form.name} format")
        result: Any = self
        if dtype is not None and dtype != self._value().dtype:
            result = casting._to_copy(result, dtype)
        if device is not None and not _is_there(result._value(), device):
            result = casting._to_device(result, device.jax())
        return result.clone() if copy and result is self else result

    def type(self, dtype: Any = None, non_blocking: bool = False, **kwargs: Any) -> Any:
        """The name of the tensor type, such as `torch.FloatTensor`; with a dtype, the tensor converted to it."""
        if dtype is None:
            where = "" if self.device.type == "cpu" else self.device.type + "."
            return f"torch.{where}{_types.long_name(self._value().dtype)}Tensor"
        if isinstance(dtype, str):
            dtype = _types.dtype_of_type(dtype)
        return self.to(getattr(dtype, "dtype", dtype))

    def type_as(self, other: Any) -> Any:
        """The tensor with the dtype and on the device of another."""
        return self.to(other.dtype).to(other.device)

    def cpu(self, memory_format: Any = None) -> Any:
        """The tensor on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Any:
        """The tensor on a GPU, the current one if none is given.

        Raises:
            RuntimeError: it is not there, or no GPU.
        """
        place = _types.device("cuda" if device is None else device)
        if place.type != "cuda":
            raise RuntimeError(f"cuda(): expected a cuda device, got {place}")
        return self.to(place)

    def pin_memory(self, device: Any = None) -> Any:
        """Itself: JAX stages transfers by its own means."""
        return self

    def is_pinned(self) -> bool:
        """Never."""
        return False

    def share_memory_(self) -> Any:
        """Itself: processes do not share JAX arrays."""
        return self

    # to Python, NumPy and JAX

    def jax(self) -> Any:
        """The `jax.Array`. It is cut from the tape; raises nothing, copies nothing."""
        return self._value()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """A read-only NumPy array on the same memory where the backend allows.

        Differs: torch's can be written; here a write raises, because JAX's memory may be shared.

        Raises:
            RuntimeError: the tensor requires gradients and `force` is not set.
        """
        if not force and self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return np.asarray(self._concrete("numpy"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array if dtype is None and not copy else np.array(array, dtype=dtype)

    def item(self) -> Any:
        """The one element as a Python number.

        Raises:
            RuntimeError: the tensor has more than one element, or is traced.
        """
        value = self._concrete("item")
        if value.size != 1:
            raise RuntimeError(f"a Tensor with {value.size} elements cannot be converted to Scalar")
        return value.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers; a number for a 0-d tensor."""
        return self._concrete("tolist").tolist()

    def _concrete(self, name: str) -> Any:
        value = self._value()
        if isinstance(value, Tracer):
            raise RuntimeError(
                f"{name}(): expected a tensor with a value, got one that is being traced by compile, jit, vmap or "
                "grad, so its value is not known yet; keep the decision in tensors (torch.where), or take it outside"
            )
        return value

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        value = self.item()
        if not isinstance(value, int):
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return value

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self._concrete("__dlpack__").__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._concrete("__dlpack_device__").__dlpack_device__()


_SHORT = {
    "float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16", "long": "int64", "int": "int32",
    "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool", "cfloat": "complex64", "cdouble": "complex128",
}  # fmt: skip


def _short(name: str, target: _types.dtype) -> Any:
    def convert(self, memory_format: Any = None):
        return self.to(target)

    convert.__name__ = name
    convert.__qualname__ = f"Tensor.{name}"
    convert.__doc__ = f"The tensor as {target.name}."
    return convert


for _name, _target in _SHORT.items():
    setattr(Conversion, _name, _short(_name, _types.dtypes[_target]))


def _is_there(array: Any, device: _types.device) -> bool:
    if isinstance(array, Tracer):
        return True
    here = _types.device_of(array)
    return here.type == device.type and (here.index or 0) == device.number()


_PYTHON_TYPES = (float, int, bool, complex)


def parse_to(
    *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False, copy: bool = False,
    memory_format: Any = None,
) -> tuple[_types.device | None, Any, bool]:  # fmt: skip
    """The device, dtype and copy flag that the arguments of a `to` call mean.

    Raises:
        TypeError: they are not a device, a dtype, both in this order, or a tensor, and then the flags.
    """
    rest = list(args)
    if rest and hasattr(rest[0], "_value"):
        like = rest.pop(0)
        device, dtype = like.device, like.dtype
    else:
        if rest and (rest[0] is None or _is_place(rest[0])):
            device = rest.pop(0)
        if rest and (rest[0] is None or _is_type(rest[0])):
            dtype = rest.pop(0)
    flags, rest = [x for x in rest if isinstance(x, bool)], [x for x in rest if not isinstance(x, bool)]
    if rest or len(flags) > 2:
        shown = ", ".join(type(x).__name__ for x in args)
        raise TypeError(f"to(): expected a device, a dtype, both in this order, or a tensor, got ({shown})")
    copy = flags[1] if len(flags) > 1 else copy
    return None if device is None else _types.device(device), None if dtype is None else casting.to_dtype(dtype), copy


def _is_place(value: Any) -> bool:
    return isinstance(value, str | _types.device) or (isinstance(value, int) and not isinstance(value, bool))


def _is_type(value: Any) -> bool:
    return isinstance(value, _types.dtype | np.dtype) or (isinstance(value, type) and value in _PYTHON_TYPES)
