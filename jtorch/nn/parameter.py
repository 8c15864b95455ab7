"""Parameter and Buffer: tensors that a module owns, and at the same time the Variables that Flax NNX sees.

Their array is the Variable's value, so NNX reads and replaces it without knowing of tensors; everything else that a
torch program does with them is Tensor's. What modules do with them is in `module`.
"""

import copy
import inspect
import sys
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jtorch import _types
from jtorch._capture import state
from jtorch._tensor import Tensor, from_array
from jtorch.ops import _args

_example: Any = nnx.Variable(None, hijax=False, ref=False)
_METADATA = _example.get_metadata()
_TraceState = type(_example._trace_state)


_LONELY = 3
"""What getrefcount says of a root that only one view holds: the view, a local variable and the argument."""


class ConstructorSignature:
    """What `inspect.signature` says of a class whose metaclass, NNX's, hides it: the arguments of `__init__`."""

    def __get__(self, instance: Any, owner: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        return inspect.Signature(list(inspect.signature(owner.__init__).parameters.values())[1:])


class _Owned(Tensor):
    """A tensor whose array is the value of an NNX Variable; Tensor's ways of hashing and comparing come first."""

    _wants_grad = False
    __slots__ = ()
    __signature__ = ConstructorSignature()

    def _fill(self, array: Any, requires_grad: bool) -> None:
        """What `Variable.__init__` does, in a thirtieth of the time."""
        self._trace_state = _TraceState()
        self._var_metadata = _METADATA | {"requires_grad": requires_grad}
        self._raw_value = array
        self._mark()

    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__

    def __getattr__(self, name: str) -> Any:
        metadata = {} if name == "_var_metadata" else self._var_metadata
        if name in metadata:
            return metadata[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def __jax_array__(self) -> Any:
        raise AttributeError("a tensor is no array to JAX: with it `array + tensor` would lose the gradient")

    @property
    def _requires_grad(self) -> bool:
        return self._var_metadata.get("requires_grad", self._wants_grad)

    @_requires_grad.setter
    def _requires_grad(self, value: bool) -> None:
        self._var_metadata["requires_grad"] = value

    def _put(self, array: Any, writer: Tensor | None = None) -> None:
        made_here = isinstance(array, jax.core.Tracer) and self._trace_state.is_valid()
        if not made_here:  # then Tensor's own check decides
            super()._put(array, writer)
            return
        (self if writer is None else writer)._counter()[0] += 1
        self._raw_value = array

    def _current(self) -> Any:
        """A view's array. It is a view no longer once nothing else can reach the root."""
        value, root = super()._current(), self._base
        if root is not None and sys.getrefcount(root) <= _LONELY + (root._leaf is not None) and self._node is None:
            self._raw_value, self._base, self._chain = value, None, ()
        return value

    def update_from_state(self, variable_state: Any) -> None:
        """Take the value and metadata of another Variable, as NNX does when a state comes back."""
        self._node = None
        before = self._raw_value
        super().update_from_state(variable_state)  # type: ignore[misc]
        if self._base is not None:
            array, self._raw_value = self._raw_value, before
            self._rebind(array)

    def __str__(self) -> str:
        return repr(self)

    def __deepcopy__(self, memo: dict) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        made = type(self)._new(jnp.array(self._value(), copy=True), copy.deepcopy(self._var_metadata, memo))
        made._mark()
        memo[id(self)] = made
        return made

    def __reduce_ex__(self, protocol: Any):
        return _unpickle, (type(self), np.asarray(self.detach()._concrete("pickle")), dict(self._var_metadata))


def _unpickle(kind: type, array: np.ndarray, metadata: dict) -> Any:
    made = kind._new(jnp.asarray(array), metadata)  # type: ignore[attr-defined]
    made._mark()
    return made


def _array(data: Any, name: str) -> Any:
    if isinstance(data, Tensor):
        return data._value()
    if data is None:
        return jnp.zeros(0, _args.default_float())
    _args.check(
        isinstance(data, jax.Array | np.ndarray),
        f"{name}(): expected a Tensor or an array, got {type(data).__name__}",
        TypeError,
    )
    return jnp.asarray(data)


class Parameter(_Owned, nnx.Param):
    """A tensor that a module registers as a parameter when it is assigned as an attribute.

    To NNX it is an `nnx.Param`. `requires_grad` is part of its metadata.

    Args:
        data: a tensor, whose memory is shared, a JAX array or a NumPy array; None makes an empty parameter.

    Raises:
        RuntimeError: gradients are asked for and the dtype is neither float nor complex.
    """

    _wants_grad = True

    def __init__(self, data: Any = None, requires_grad: bool = True):
        array = _array(data, "Parameter")
        if requires_grad and not _args.is_inexact(array.dtype):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        if requires_grad and isinstance(data, Tensor):
            data._check_may_record()
        self._fill(array, bool(requires_grad))
        if isinstance(data, Tensor):
            self._share_memory_of(data)

    def __repr__(self, **options: Any):
        return "Parameter containing:\n" + super().__repr__(**options)


class Buffer(_Owned, nnx.BatchStat):
    """A tensor that a module registers as a buffer when it is assigned as an attribute.

    To NNX it is an `nnx.BatchStat`. Modules turn every tensor that becomes a buffer into one of these.

    Args:
        data: a tensor, whose memory is shared, a JAX array or a NumPy array; None makes an empty buffer.
        persistent: whether it belongs to the module's `state_dict`.

    Differs: torch registers the tensor itself, here `module.b is b` does not hold.
    """

    persistent = True
    _is_buffer = False  # whether it registers itself when it is assigned

    def __init__(self, data: Any = None, *, persistent: bool = True):
        self._fill(_array(data, "Buffer"), False)
        self.persistent, self._is_buffer = persistent, True
        if isinstance(data, Tensor) and data._edge() is None:
            self._share_memory_of(data)
        elif isinstance(data, Tensor):
            self._look_at(data if data._base is None else data._base, data._chain)
            self._node, self._index = data._node, data._index
            self._be_inference(data._inference)


def as_buffer(tensor: Any) -> Any:
    """The tensor as a module keeps it among its buffers."""
    if tensor is None or isinstance(tensor, _Owned):
        return tensor
    made = Buffer(tensor)
    made._is_buffer = False
    return made


# without a shape yet


def _of_bare(name: str) -> Callable:
    """The method of Tensor that converts, on the empty array that stands for the values to come."""

    def converted(self: "UninitializedTensorMixin", *args: Any, **kwargs: Any) -> Tensor:
        return getattr(from_array(self._raw_value), name)(*args, **kwargs)

    converted.__name__ = name
    return converted


class UninitializedTensorMixin(_Owned):
    """What parameters and buffers of an unknown shape share: a dtype and a device, but no values to use."""

    cls_to_become: ClassVar[type]
    to, cpu, cuda, type, half, float, double, bfloat16 = map(
        _of_bare, ("to", "cpu", "cuda", "type", "half", "float", "double", "bfloat16")
    )

    def _begin(self, requires_grad: bool, device: Any, dtype: Any) -> None:
        array = jnp.zeros(0, _args.default_float() if dtype is None else _args.to_dtype(dtype))
        if requires_grad and not _args.is_inexact(array.dtype):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        self._fill(array if device is None else jax.device_put(array, _types.device(device).jax()), bool(requires_grad))

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Become an ordinary parameter or buffer of this shape, filled with zeros.

        Args:
            device, dtype: None keeps what it has.
        """
        array = jnp.zeros(tuple(shape), self._raw_value.dtype if dtype is None else _args.to_dtype(dtype))
        place = self._raw_value.sharding if device is None else _types.device(device).jax()
        self._be_inference(state.inference)
        self._put(jax.device_put(array, place))
        self.__class__ = self.cls_to_become

    _usual = False

    def _value(self) -> NoReturn:
        raise ValueError(
            f"Attempted to use an uninitialized parameter or buffer, {self!r}: expected one with a shape; call the lazy "
            "module with a dummy batch first"
        )

    detach = numel = dim = _value

    @property
    def shape(self) -> NoReturn:
        """Refuses: there is none yet."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. It usually is an initialized parameter that "
            "`load_state_dict` tries to load from it; call the lazy module with a dummy batch first"
        )

    @property
    def dtype(self) -> _types.dtype:
        """The type that the elements are to have."""
        return _types.of_array(self._raw_value.dtype)

    @property
    def device(self) -> _types.device:
        """Where the values are to be."""
        return _types.device_of(self._raw_value)

    def share_memory_(self) -> NoReturn:
        """Refuses."""
        raise RuntimeError("Can't share memory on an uninitialized parameter or buffer: call the lazy module first")

    def __deepcopy__(self, memo: dict) -> Any:
        made = memo[id(self)] = self.__class__._new(self._raw_value, copy.deepcopy(self._var_metadata, memo))
        return made

    def __reduce_ex__(self, protocol: Any):
        return _unpickle, (self.__class__, np.asarray(self._raw_value), dict(self._var_metadata))

    def __repr__(self, **options: Any) -> str:
        return f"<{self.__class__.__name__}>"


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is not known yet. Using it raises a ValueError until `materialize` gives it one."""

    cls_to_become = Parameter

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None):
        self._begin(requires_grad, device, dtype)


class UninitializedBuffer(UninitializedTensorMixin, Buffer):
    """A buffer whose shape is not known yet. Using it raises a ValueError until `materialize` gives it one."""

    cls_to_become = Buffer

    def __init__(
        self, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ):  # fmt: skip
        self._begin(requires_grad, device, dtype)
        self.persistent, self._is_buffer = persistent, True


def is_lazy(param: Any) -> bool:
    """Whether it is a parameter or buffer without a shape yet."""
    return isinstance(param, UninitializedTensorMixin)
