"""Functions that make tensors: from data, from sizes, and from the random generator.

The arrays come from `ops.creation` and `ops.sampling`; what is added here is what only a Tensor has: a device,
`requires_grad`, a generator. On plain arrays use those modules.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch import _devices, _types
from jtorch._tensor import Tensor, from_array
from jtorch.ops import _args, creation, sampling
from jtorch.ops._placing import placed

# from data


def _finish(array: Any, device: Any, requires_grad: bool) -> Tensor:
    if device is not None:
        device = _types.device(device)
        if not isinstance(array, Tracer) and _types.device_of(array) != device:
            array = jax.device_put(array, device.jax())
    if requires_grad and not _args.is_inexact(array.dtype):
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    made = from_array(array)
    return made.requires_grad_() if requires_grad else made


def check_layout(layout: Any, name: str) -> None:
    """Raise for a layout that is not there.

    Raises: NotImplementedError.
    """
    dense = layout is None or layout is _types.strided
    _args.check(dense, f"{name}(): expected layout strided, got {layout}; every tensor is dense", NotImplementedError)


def _numbers(data: Any) -> Any:
    """Nested sequences with tensors among them, as nested sequences of numbers and arrays."""
    if isinstance(data, Tensor):
        return np.asarray(data.detach()._concrete("tensor"))
    if isinstance(data, tuple | list):
        return [_numbers(x) for x in data]
    return data


def _of_torch(data: Any) -> np.ndarray:
    """The values of a tensor of PyTorch."""
    data = data.detach().cpu()
    name = str(data.dtype).rpartition(".")[2]
    try:
        return np.asarray(data)
    except TypeError:  # NumPy lacks bfloat16 and the like; float32 holds them exactly
        return np.asarray(data.float()).astype(_types.dtypes[name].dtype)


def _from_data(data: Any, dtype: Any) -> Any:
    if isinstance(data, Tensor):
        array = data._value()
    elif isinstance(data, jax.Array):
        array = data
    else:
        array = _from_numbers(_of_torch(data) if hasattr(data, "detach") else data, dtype)
    target = array.dtype if dtype is None else _args.to_dtype(dtype)
    return array if array.dtype == target else _args.cast(array, target)


def _from_numbers(data: Any, dtype: Any) -> Any:
    try:
        values = np.asarray(_numbers(data))
    except ValueError as error:
        raise ValueError(f"tensor(): expected sequences of equal lengths, got {error}") from None
    if values.dtype.kind == "O" or (values.dtype.kind == "f" and type(_first(data)) is int):
        values = _wide_integers(values, data, dtype)
    if values.dtype.kind in "USO":
        kinds = _kinds(values)
        if "str" in kinds or "bytes" in kinds:
            raise TypeError(f"tensor(): expected numbers, got {type(data).__name__} of {kinds}; give numbers or arrays")
        raise RuntimeError(f"Could not infer dtype of {kinds}")
    _check_held(values, dtype, isinstance(data, np.ndarray))
    if dtype is not None:
        values = values.astype(_args.to_dtype(dtype)) if values.dtype.kind != "V" else values
    elif (
        not isinstance(data, np.ndarray | np.generic)
        and values.dtype == np.float64
        and not hasattr(_first(data), "dtype")
    ):
        values = values.astype(_args.default_float())
    elif values.dtype == np.complex128 and not isinstance(data, np.ndarray | np.generic):
        values = values.astype(np.complex64 if _args.default_float() != np.float64 else np.complex128)
    return placed(values if isinstance(data, list | tuple | int | float) else values.copy())


def _wide_integers(values: np.ndarray, data: Any, dtype: Any) -> np.ndarray:
    """The values, where NumPy found integers beyond int64 and made floats or objects of them: floats if those are wanted."""
    exact = np.asarray(data, object)
    if not all(isinstance(x, int) for x in exact.flat):
        return values
    wanted = _args.to_dtype(_args.long_dtype() if dtype is None else dtype)
    if _args.is_integral(wanted):
        for end in (exact.min(), exact.max()):
            _args.check_fits("tensor", end, wanted)
    return exact.astype(np.float64)


def _check_held(values: np.ndarray, dtype: Any, is_array: bool) -> None:
    """Raise where numbers do not fit their integer dtype; arrays may be cut to one, but not because int64 is not there."""
    if dtype is None and (values.dtype.kind not in "iu" or (values.ndim == 0 and abs(values.item()) < 2**31)):
        return  # the usual ones
    own = _args.long_dtype() if values.dtype.kind in "iu" and not is_array else values.dtype
    wanted = _args.to_dtype(own if dtype is None else dtype)
    if values.dtype == wanted or not values.size or values.dtype.kind not in "iufc":
        return
    if is_array and not (values.dtype.kind in "iu" and wanted == _args.to_dtype(values.dtype)):
        return
    if values.dtype.kind == "c":
        real = _args.is_complex(wanted) or wanted == np.bool_
        _args.check(real, f"tensor(): expected real numbers for {wanted}, got complex ones", TypeError)
    elif _args.is_integral(wanted):
        for end in (values.min(), values.max()):
            _args.check_fits("tensor", end.item(), wanted)


def _kinds(values: np.ndarray) -> str:
    return ", ".join(sorted({type(v).__name__ for v in values.reshape(-1)[:8].tolist()}))


def _first(data: Any) -> Any:
    """The first number of nested sequences."""
    while isinstance(data, tuple | list) and data:
        data = data[0]
    return data


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A new tensor with a copy of `data`: a number, nested sequences of numbers, a NumPy or JAX array, or a tensor.

    Without `dtype`, Python floats have the default dtype and Python integers are int64.

    Raises:
        ValueError: the sequences are of unequal lengths.
        TypeError: something in them is no number.
    """
    array = _from_data(data, dtype)
    if isinstance(data, Tensor | jax.Array) and not isinstance(array, Tracer):
        array = jnp.array(array, copy=True)
    return _finish(array, device, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor: itself where it is one of that dtype already.

    Differs: a NumPy array is copied, because a JAX array never changes.
    """
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    return _finish(_from_data(data, dtype), device, False)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool | None = None
) -> Tensor:
    """`obj` as a tensor: itself where it is one of that dtype already and `copy` is not True.

    Args:
        requires_grad: None means as `obj`.
    Raises:
        ValueError: `copy` is False and it takes a copy.
    Differs: a NumPy array is always copied, because a JAX array never changes.
    """
    made = as_tensor(obj, dtype, device)
    if copy is False and made is not obj:
        raise ValueError(
            f"asarray(): expected an object that a tensor can share, got {type(obj).__name__}; it is copied"
        )
    if made is obj and copy:
        made = made.clone()
    if requires_grad is False and made.requires_grad:
        made = made.detach()
    elif requires_grad and not made.requires_grad:
        made = (made.detach() if made is obj else made).requires_grad_()
    return made


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """The values of a NumPy array as a tensor.

    Differs: a copy; torch shares the memory.

    Raises:
        TypeError: it is no NumPy array.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    _check_held(ndarray, None, True)
    return _finish(placed(ndarray.copy()), None, False)


class _Copied:
    """What another library exports, copied: a copy is dense."""

    def __init__(self, exporter: Any):
        self._exporter = exporter

    def __dlpack__(self, **options: Any) -> Any:
        return self._exporter.__dlpack__(**{**options, "copy": True})

    def __dlpack_device__(self) -> Any:
        return self._exporter.__dlpack_device__()


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of another library's array, by DLPack.

    What the other library writes there later is seen here, but the reverse never: in-place operations make new memory.

    Args:
        device: where the tensor goes; None is where the memory is.
        copy: True copies always, False never, None where it has to be: other devices, and strides with gaps or
            repetitions.
    Raises:
        BufferError: the other library does not export it, for instance since it requires gradients.
        ValueError: `copy` is False, and it has to be copied.
        TypeError: it has no `__dlpack__`.
    """
    able = hasattr(ext_tensor, "__dlpack__") and hasattr(ext_tensor, "__dlpack_device__")
    kind = type(ext_tensor).__name__
    _args.check(able, f"from_dlpack(): expected an object with __dlpack__ and __dlpack_device__, got {kind}", TypeError)
    try:
        array = jnp.from_dlpack(ext_tensor)
    except jax.errors.JaxRuntimeError as error:
        _args.check(copy is not False, f"from_dlpack(): expected memory to share, got one to copy: {error}", ValueError)
        array = jnp.from_dlpack(_Copied(ext_tensor))
    made = _finish(array, device, False)
    moved = made._value() is not array
    _args.check(not moved or copy is not False, f"from_dlpack(): expected no copy, got the device {device}", ValueError)
    return from_array(jnp.array(array, copy=True)) if copy and not moved else made


def scalar_tensor(
    s: float, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, layout: Any = None, **ignored: Any
) -> Tensor:
    """A 0-d tensor, of the default dtype if none is given."""
    check_layout(layout, "scalar_tensor")
    value = s.item() if isinstance(s, Tensor) else s
    array = creation.full((), value, dtype=_args.default_float() if dtype is None else dtype)
    return _finish(array, device, requires_grad)


# from sizes


def _creator(make: Callable) -> Callable:
    """The Tensor form of a function that makes arrays: with device, requires_grad, out and what torch takes besides."""

    def create(
        *args: Any,
        out: Tensor | None = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        memory_format: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        check_layout(layout, make.__name__)
        args = tuple(x.item() if isinstance(x, Tensor) and x.ndim == 0 else x for x in args)
        if out is not None:
            asked = kwargs.setdefault("dtype", out.dtype)
            if asked is not None and _types.of_array(_args.to_dtype(asked)) != out.dtype:
                raise RuntimeError(f"dtype {asked} does not match dtype of out parameter ({out.dtype})")
        made = _finish(make(*args, **kwargs), device, False if out is not None else requires_grad)
        if out is None:
            return made
        out.__jtorch_out__(made)
        return out

    create.__name__ = create.__qualname__ = make.__name__
    create.__doc__ = make.__doc__
    taken = [
        p for p in inspect.signature(make).parameters.values() if p.name not in ("device", "requires_grad", "layout")
    ]
    extra = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in _EXTRA]
    create.__signature__ = inspect.Signature(taken + extra, return_annotation=Tensor)  # type: ignore[attr-defined]
    return create


_EXTRA = (("out", None), ("device", None), ("requires_grad", False), ("layout", None), ("pin_memory", False))

zeros = _creator(creation.zeros)
ones = _creator(creation.ones)
empty = _creator(creation.empty)
full = _creator(creation.full)
eye = _creator(creation.eye)
arange = _creator(creation.arange)
range = _creator(creation.range)
linspace = _creator(creation.linspace)
logspace = _creator(creation.logspace)
fftfreq = _creator(creation.fftfreq)
rfftfreq = _creator(creation.rfftfreq)
empty_strided = _creator(creation.empty_strided)
empty_permuted = _creator(creation.empty_permuted)
tril_indices = _creator(creation.tril_indices)
triu_indices = _creator(creation.triu_indices)


# like another tensor


def _like(make: Callable) -> Callable:
    """The Tensor form of an op that makes an array like another: on the other's device unless one is given."""

    def create_like(
        input: Any, *args: Any, device: Any = None, requires_grad: bool = False, layout: Any = None,
        memory_format: Any = None, pin_memory: bool = False, generator: Any = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        check_layout(layout, make.__name__)
        if generator is not None:
            kwargs["generator"] = generator
        made = make(input, *args, **kwargs)
        if not isinstance(made, Tensor):
            return made
        if device is not None:
            made = made.to(device=device)
        elif isinstance(input, Tensor):
            made = from_array(_devices.beside(made._value(), input._value()))
        return made.requires_grad_() if requires_grad else made

    return _signed_like(create_like, make)


def _signed_like(function: Callable, make: Callable) -> Callable:
    function.__name__ = function.__qualname__ = make.__name__
    function.__doc__ = make.__doc__
    taken = [p for p in inspect.signature(make).parameters.values() if p.name not in ("memory_format", "key")]
    names = {p.name for p in taken}
    extra = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in _EXTRA[1:] if n not in names]
    function.__signature__ = inspect.Signature(taken + extra)  # type: ignore[attr-defined]
    return function


zeros_like = _like(creation.zeros_like)
ones_like = _like(creation.ones_like)
empty_like = _like(creation.empty_like)
full_like = _like(creation.full_like)
rand_like = _like(sampling.rand_like)
randn_like = _like(sampling.randn_like)
randint_like = _like(sampling.randint_like)


# drawn


def _drawn(make: Callable) -> Callable:
    """The Tensor form of a function that draws: from the default generator, or the one given."""

    create = _creator(make)

    def drawn(*args: Any, generator: Any = None, **kwargs: Any) -> Any:
        return create(*args, generator=generator, **kwargs)

    drawn.__name__ = drawn.__qualname__ = make.__name__
    drawn.__doc__ = make.__doc__
    kept = [p for p in inspect.signature(create).parameters.values() if p.name not in ("key", "generator")]
    generator = inspect.Parameter("generator", inspect.Parameter.KEYWORD_ONLY, default=None)
    drawn.__signature__ = inspect.Signature([*kept, generator])  # type: ignore[attr-defined]
    return drawn


rand = _drawn(sampling.rand)
randn = _drawn(sampling.randn)
randint = _drawn(sampling.randint)
randperm = _drawn(sampling.randperm)


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Any = None, out: Any = None, dtype: Any = None,
    device: Any = None, requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """Numbers drawn from normal distributions: of the means and standard deviations in arrays, or of a given size.

    Raises:
        RuntimeError: a standard deviation is negative.
        TypeError: both are numbers, and there is no size.
    """
    check_layout(layout, "normal")
    made = sampling.normal(mean, std, size, dtype=dtype, generator=generator)
    made = made if size is None else _finish(made, device, requires_grad)
    if out is None:
        return made
    out.__jtorch_out__(made)
    return out


# torch's old constructors by type


class TensorType(type):
    """The type of `FloatTensor` and the like: they make tensors, and the tensors of their dtype and place are theirs."""

    dtype: _types.dtype
    place: str

    def __call__(cls, *data: Any, device: Any = None) -> Tensor:
        return made_of(data, cls.dtype, cls.place if device is None else device)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype and instance.device.type == cls.place


def made_of(data: tuple, dtype: Any, device: Any) -> Tensor:
    """A tensor of the sizes in `data`, or with a copy of the numbers in it; without elements if it is empty."""
    if len(data) == 1 and isinstance(data[0], _types.Size):
        data = data[0]
    if all(isinstance(n, int) for n in data):
        return zeros(*(data or (0,)), dtype=dtype, device=device)
    if len(data) != 1:
        raise TypeError(f"new(): expected sizes, or one sequence of numbers, got {len(data)} arguments")
    return tensor(data[0], dtype=dtype, device=device)


def tensor_type(name: str, target: _types.dtype, place: str = "cpu") -> TensorType:
    """`FloatTensor(2, 3)`, `LongTensor([1, 2])` and the like."""
    doc = f"A {target.name} tensor of the given sizes, or with a copy of the given data."
    return TensorType(name, (), {"dtype": target, "place": place, "__doc__": doc, "__module__": "jtorch"})


FloatTensor = tensor_type("FloatTensor", _types.float32)
DoubleTensor = tensor_type("DoubleTensor", _types.float64)
HalfTensor = tensor_type("HalfTensor", _types.float16)
LongTensor = tensor_type("LongTensor", _types.int64)
IntTensor = tensor_type("IntTensor", _types.int32)
ByteTensor = tensor_type("ByteTensor", _types.uint8)
BoolTensor = tensor_type("BoolTensor", _types.bool_)
ShortTensor = tensor_type("ShortTensor", _types.int16)
CharTensor = tensor_type("CharTensor", _types.int8)
BFloat16Tensor = tensor_type("BFloat16Tensor", _types.bfloat16)
