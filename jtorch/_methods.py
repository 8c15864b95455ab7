"""Methods, in-place twins and operators of Tensor, attached from the op records; and the methods that no op gives.

Imported after every ops file, for its effect.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch import _calling, _creation, _filling, _types, _views
from jtorch._calling import assign_checked, reshaped
from jtorch._capture import state
from jtorch._tensor import Tensor, from_array
from jtorch.autograd import tape
from jtorch.ops import _args, _autocast, _op, indexing, shape
from jtorch.ops._hints import NUMBERS
from jtorch.ops._op import registry

# in-place twins


def _twin(op: Any) -> Callable:
    """`name_` for the op `name`: the result is put into the tensor."""

    def inplace(self, *args, **kwargs):
        self._check_inplace()
        result = _autocast.without(op, self, *args, **kwargs)
        if op.view:
            return reshaped(self, result, op.name)
        return assign_checked(self, result._value(), result._edge())

    inplace.__name__ = op.name + "_"
    inplace.__qualname__ = f"Tensor.{op.name}_"
    inplace.__doc__ = f"In place: {_first_line(op)}"
    inplace.__signature__ = op.__signature__  # type: ignore[attr-defined]
    return inplace


def _first_line(op: Any) -> str:
    return (op.__doc__ or "").strip().partition("\n")[0]


# operators

_BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "pow", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
_REFLECTED = {"truediv": "_times_reciprocal"}
_STRICT = ("add", "mul", "and", "or", "xor")
_LENIENT = ("mod", "pow")
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_OPERANDS = (Tensor, int, float, complex, np.ndarray, np.generic, jax.Array)  # the last is slow to ask


def _binary(op: Any) -> Callable:
    def forward(self, other):
        return op(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    return forward


def _reflected(op: Any, symbol: str) -> Callable:
    def backward(self, other):
        if not isinstance(self, Tensor):  # called as a plain function: some of torch's refuse this and some pass
            if symbol in _STRICT:
                raise TypeError(f"__r{symbol}__(): expected a Tensor, got {type(self).__name__}")
            if symbol == "truediv":
                raise AttributeError(f"__r{symbol}__(): expected a Tensor, got {type(self).__name__}")
            return op(other, self) if symbol in _LENIENT and isinstance(other, Tensor) else NotImplemented
        return op(other, self) if isinstance(other, _OPERANDS) else NotImplemented

    return backward


def _attach_operators() -> None:
    for symbol, name in _BINARY.items():
        op = registry[name]
        setattr(Tensor, f"__{symbol}__", _binary(op))
        setattr(Tensor, f"__r{symbol}__", _reflected(registry[_REFLECTED.get(symbol, name)], symbol))
        twin = getattr(Tensor, name + "_", None)
        if twin is not None:
            setattr(Tensor, f"__i{symbol}__", twin)
    Tensor.__rdiv__ = Tensor.__rtruediv__  # Python 2's name, which torch still has
    for name in _COMPARISONS:
        setattr(Tensor, f"__{name}__", _binary(registry[name]))
    for symbol, name in (("neg", "neg"), ("pos", "positive"), ("abs", "abs"), ("invert", "bitwise_not")):
        setattr(Tensor, f"__{symbol}__", registry[name])


def _attach_methods() -> None:
    for name, op in registry.items():
        if op.method and not hasattr(Tensor, name):
            setattr(Tensor, name, op)
        if op.inplace and not hasattr(Tensor, name + "_"):
            twin = _twin(op)
            setattr(Tensor, name + "_", twin)


# reading and writing by an index

_VALUES = (Tensor, int, float, complex, jax.Array)


def _plain_index(index: Any) -> Any:
    """The index with arrays in place of tensors."""
    if type(index) is int:  # the usual one
        return index
    if isinstance(index, Tensor):
        return index._value()
    if isinstance(index, tuple):
        return tuple(_plain_index(x) for x in index)
    if isinstance(index, list) and any(isinstance(x, Tensor) for x in index):
        return [x._value() if isinstance(x, Tensor) and x.ndim else _plain_number(x) for x in index]
    return index


def _plain_number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def _check_index(self, index: Any, value: Any = None) -> None:
    """Raise where the gradient of a read by an index, or a write of `value`, needs an inference tensor in the index."""
    parts = index if isinstance(index, tuple | list) else (index,)
    if any(isinstance(x, Tensor) and x._inference for x in parts):
        recorded = self._edge() is not None or (isinstance(value, Tensor) and value._edge() is not None)
        _args.check(not (state.grad and state.watch is None and recorded), tape.UNSAVED, RuntimeError)


def _getitem(self, index):
    if self._careful is not None and state.grad:
        self._check_fresh()
    spec, arrays = indexing.encode(_plain_index(index), self.shape, static_ints=_is_traced(self))
    if spec.is_view:  # so usual that what leads to the call is spared
        return _calling.call(indexing.slice_view, (self, arrays), (spec,))
    _check_index(self, index)
    return indexing.gather_index(self, arrays, spec)


def _picks_part(index: Any) -> bool:
    """Whether an index is of numbers and slices alone: where it leads is then looked up before a write is judged."""
    if type(index) is int:  # the usual one
        return True
    parts = index if isinstance(index, tuple) else (index,)
    numbers = (x.ndim == 0 and x.dtype.name != "bool" for x in parts if isinstance(x, Tensor))
    return all(x is None or x is ... or isinstance(x, int | slice | Tensor) for x in parts) and all(numbers)


def _setitem(self, index, value):
    part = _picks_part(index)
    if not part:
        self._check_inplace(part=True)
    spec, arrays = indexing.encode(_plain_index(index), self.shape, static_ints=_is_traced(self), writing=True)
    if not isinstance(value, _VALUES):
        value = _creation.as_tensor(value)
    elif not spec.is_view and type(index) is not bool:
        indexing.check_written(self._value().dtype, value, spec, arrays)
    if type(value) in NUMBERS:
        _args.check_fits("index", value, self._value().dtype, infinite=True)
    if not spec.is_view:
        _check_index(self, index, value)
    if spec.is_view and self._base is not None and self._overlaps():
        _filling.copy_(indexing.slice_view(self, arrays, spec), value)  # a part may lie apart where the whole does not
        return
    if spec.is_view:  # without a mask there is nothing to validate
        result = _calling.call(indexing.setitem, (self, value, arrays), (spec, False), checked=True)
    else:
        result = indexing.setitem(self, value, arrays, spec)
    if part:
        self._check_inplace(part=True)
    self._assign(result._value(), result._edge())


def _is_traced(tensor: Tensor) -> bool:
    root = tensor if tensor._base is None else tensor._base
    return state.session is not None or isinstance(root._raw_value, Tracer)


# what a tensor can tell of itself

_PREDICATES = {
    "is_floating_point": lambda self: _args.is_float(self._value().dtype),
    "is_complex": lambda self: _args.is_complex(self._value().dtype),
    "is_signed": lambda self: self.dtype.is_signed,
    "is_inference": lambda self: self._inference,
    "is_set_to": lambda self, tensor: self is tensor,
}
_CONSTANTS = {"is_sparse": False, "is_quantized": False, "is_meta": False, "is_nested": False, "is_mps": False,
              "is_xpu": False, "is_mkldnn": False, "is_sparse_csr": False,
              "name": None, "volatile": False}  # fmt: skip


def _matrix_transpose(self):
    """The tensor with its last two dimensions exchanged."""
    if self.ndim < 2:
        raise RuntimeError(f"tensor.mT is only supported on matrices or batches of matrices. Got {self.ndim}-D tensor.")
    return self.transpose(-2, -1)


def _real(self):
    """The real part; the tensor itself where it is real."""
    return registry["real"](self) if self.is_complex() else self


def _contiguous(self, *, memory_format=None):
    """The tensor itself where its elements lie in order, else a copy of it whose elements do."""
    return self if self.is_contiguous() else registry["clone"](self)


def _all_transposed(self):
    """The tensor with its dimensions in reverse order."""
    return self.permute(*range(self.ndim - 1, -1, -1))


def _where(self, condition, other):
    """The tensor where the condition holds, `other` elsewhere."""
    return registry["where"](condition, self, other)


def _polygamma(self, n):
    """The n-th derivative of digamma."""
    return registry["polygamma"](n, self)


def _polygamma_(self, n):
    """In place: the n-th derivative of digamma."""
    self._check_inplace()
    result = registry["polygamma"](n, self)
    return assign_checked(self, result._value(), result._edge())


def _new(maker: Callable) -> Callable:
    """`new_zeros` and its kin: sizes given, dtype and device those of this tensor."""

    def new(self, *size, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False, **kwargs):
        _creation.check_layout(layout, new.__name__)
        where = self.device if device is None else device
        return maker(*size, dtype=dtype or self.dtype, device=where, requires_grad=requires_grad, **kwargs)

    new.__name__ = "new_" + maker.__name__
    new.__doc__ = f"A tensor as by `{maker.__name__}`, with this tensor's dtype and device."
    return new


def _new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
    """A copy of `data` as a tensor of this one's dtype and device."""
    where = self.device if device is None else device
    return _creation.tensor(data, dtype=dtype or self.dtype, device=where, requires_grad=requires_grad)


def _made_like(self, *data, device=None):
    """A tensor of this one's dtype and device, of the given sizes or with a copy of the given data."""
    return _creation.made_of(data, self.dtype, self.device if device is None else device)


def _to_dense(self, dtype=None, *, masked_grad=None):
    """Itself, or converted: every tensor is dense."""
    return self if dtype is None else self.to(dtype)


def is_nonzero(input):
    """Whether the one element is not zero.

    Raises:
        RuntimeError: there is not one element.
    """
    if input.numel() != 1:
        amount = "no values" if input.numel() == 0 else "more than one value"
        raise RuntimeError(f"Boolean value of Tensor with {amount} is ambiguous")
    return bool(input)


def is_same_size(input, other):
    """Whether two tensors have one shape."""
    return input.shape == other.shape


def _record_stream(self, stream):
    """Nothing: JAX keeps memory as long as it is used."""


def _apply_(self, callable):
    """Replace each element by `callable(element)`. Slow: for tests and one-off work."""
    values = np.asarray(self._concrete("apply_"))
    self._rebind(jnp.asarray(np.vectorize(callable, otypes=[values.dtype])(values)))
    return self


def _float_power_(self, exponent):
    """In place: the power, of a tensor that is float64 (or complex128) already.

    Raises:
        RuntimeError: it is of another dtype.
    """
    self._check_inplace()
    result = registry["float_power"](self, exponent)
    if result.dtype != self.dtype:
        given, needed = (_types.long_name(x._value().dtype) for x in (self, result))
        raise RuntimeError(
            f"the base given to float_power_ has dtype {given} but the operation's result requires dtype {needed}"
        )
    return assign_checked(self, result._value(), result._edge())


def _view(self, *args, **kwargs):
    """The elements under a new shape (`view(2, -1)`), or their bytes under another dtype (`view(torch.int32)`).

    Raises:
        RuntimeError: the elements do not fit, or would have to be moved for the new shape.
    """
    made = registry["view"](self, *args, **kwargs)
    if (
        self._base is not None
        and made._base is not None
        and not _views.fits(self._chain, made._chain, made._base.shape)
    ):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return made


def _view_as(self, other):
    """The elements under the shape of another tensor; see `view`."""
    return _view(self, tuple(other.shape))


def _as_subclass(self, cls):
    """The same memory as a tensor of another class."""
    made = self.detach() if not self.requires_grad else self.view(self.shape)
    made.__class__ = cls
    return made


def _requires_storage(self, *args, **kwargs):
    """Not available: a JAX array has no storage that could be shared.

    Raises: NotImplementedError.
    """
    raise NotImplementedError(
        "storage(): expected a strided memory block, got a JAX array, which has none; use data_ptr() or numpy()"
    )


def _data_ptr(self):
    """The address of the root's memory."""
    root = self if self._base is None else self._base
    return root._concrete("data_ptr").unsafe_buffer_pointer() + self.storage_offset() * self.itemsize


def is_tensor(obj: Any) -> bool:
    """Whether it is a Tensor."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def broadcast_shapes(*shapes: Any) -> _types.Size:
    """The shape that tensors of these shapes broadcast to.

    Raises:
        RuntimeError: they do not.
    """
    return _types.Size(shape.broadcast_shapes(*shapes))


def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are real floats."""
    return input.dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Whether the elements are complex."""
    return input.dtype.is_complex


def is_inference(input: Tensor) -> bool:
    """Whether it was made in inference_mode, and is not to be written or kept for a gradient outside."""
    return input._inference


def result_type(tensor1: Any, tensor2: Any) -> _types.dtype:
    """The dtype that arithmetic on the two gives."""
    first, second = (x._value() if isinstance(x, Tensor) else x for x in (tensor1, tensor2))
    return _types.of_array(_args.result_type(first, second))


def promote_types(type1: Any, type2: Any) -> _types.dtype:
    """The smallest dtype that both can be converted to."""
    return _types.of_array(_args.promote_types(type1, type2))


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a result of the first dtype may be written into a tensor of the second."""
    return _args.can_cast(from_, to)


_WRITTEN = {
    "__jtorch_op__": staticmethod(_calling.call),
    "__getitem__": _getitem, "__setitem__": _setitem, "new_tensor": _new_tensor,
    "new": _made_like, "to_dense": _to_dense, "polygamma": _polygamma, "polygamma_": _polygamma_,
    "is_nonzero": is_nonzero, "is_same_size": is_same_size, "record_stream": _record_stream,
    "apply_": _apply_, "contiguous": _contiguous, "view": _view, "view_as": _view_as,
    "where": _where,
    "float_power_": _float_power_, "as_subclass": _as_subclass,
    "storage": _requires_storage, "untyped_storage": _requires_storage,
    "data_ptr": _data_ptr, **_PREDICATES, **_CONSTANTS,
    "real": property(_real), "imag": property(registry["imag"]),
    "mT": property(_matrix_transpose), "T": property(_all_transposed),
    "H": property(lambda self: _matrix_transpose(self).conj()),
    "mH": property(lambda self: _matrix_transpose(self).conj()),
    "unfold": registry["unfold_dimension"], "is_cuda": property(lambda self: self.device.type == "cuda"),
    "is_cpu": property(lambda self: self.device.type == "cpu"),
}  # fmt: skip


def attach() -> None:
    """Give Tensor its methods."""
    for name, value in _WRITTEN.items():
        setattr(Tensor, name, value)
    for name in ("zeros", "ones", "empty", "full", "empty_strided"):
        setattr(Tensor, "new_" + name, _new(getattr(_creation, name)))
    for name in _filling.__all__:
        setattr(Tensor, name, getattr(_filling, name))
    _attach_methods()
    _attach_operators()
    _op.boxes.append(from_array)


attach()
