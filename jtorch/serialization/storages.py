"""The bytes that tensors of a file share, and tensors as torch's files describe them: storage, offset, size, stride.

Tensors whose parts of a storage overlap share memory when they are read, as in torch. What a file says of sizes is
compared with what it holds before anything is made of it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtorch import _types, _views
from jtorch._tensor import Tensor, from_array
from jtorch.autograd import no_grad
from jtorch.nn.parameter import Buffer, Parameter
from jtorch.ops import _args
from jtorch.optim._entries import Step

UNTYPED = "UntypedStorage"
_TYPED = {
    f"{_types.long_name(d.dtype)}Storage": d for d in _types.dtypes.values() if _types.long_name(d.dtype) != d.name
}
_REPEATED = 2**28
"""How many bytes the tensors of a file may have beyond eight times those of its storages; JAX has to make them all."""


def type_name(dtype: np.dtype) -> str:
    """The name of torch's storage class for a dtype; the newer dtypes have none of their own."""
    name = f"{_types.long_name(dtype)}Storage"
    return name if name in _TYPED else UNTYPED


def dtype_of(name: str) -> np.dtype:
    """The dtype that a storage class stands for.

    Raises: RuntimeError for one that JAX has no dtype for.
    """
    known = name == UNTYPED or name in _TYPED
    _args.check(known, f"load(): expected storages of a dtype that JAX has, got {name}", RuntimeError)
    return np.dtype(np.uint8) if name == UNTYPED else _TYPED[name].dtype


class Storage:
    """What a file holds under one key.

    Args:
        data: the elements, flat.
        place: the device that they go to; None is JAX's default one.
    """

    def __init__(self, data: np.ndarray, place: Any):
        self.data, self.place = data, place
        self.counted = False  # whether its size allows for tensors

    def cpu(self) -> "Storage":
        """The same, for the CPU: what a `map_location` function may return."""
        return Storage(self.data, _types.device("cpu"))

    def cuda(self, device: Any = 0) -> "Storage":
        """The same, for a GPU: what a `map_location` function may return."""
        return Storage(self.data, _types.device("cuda", device) if isinstance(device, int) else _types.device(device))

    def array(self, part: np.ndarray) -> jax.Array:
        """Elements of it on their device."""
        return jnp.asarray(part) if self.place is None else jax.device_put(part, self.place.jax())


class Use(NamedTuple):
    """A tensor of some elements of a storage: `data` is the storage's, in the dtype of the tensor."""

    tensor: Tensor
    storage: Storage
    data: np.ndarray
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def last(self) -> int:
        """The place of its last element."""
        return self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))


class Rebuilding:
    """The tensors of one file, while they are read: torch's functions that make them, by torch's names."""

    def __init__(self):
        self._uses: dict[int, Use] = {}  # by the id of the tensor
        self._made: dict[tuple, tuple] = {}  # arrays by the part of a storage that they are, with the storage
        self._allowed = _REPEATED
        self.functions: dict[str, Callable] = {
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self._of_dtype,
            "torch._utils._rebuild_parameter": self._parameter,
            "torch._utils._rebuild_parameter_with_state": self._parameter,
            "torch._tensor._rebuild_from_type_v2": self._of_type,
        } | {name: _refusal(name, what) for name, what in _REFUSED.items()}

    def tensor(
        self,
        storage: Storage,
        offset: int,
        size: Sequence[int],
        stride: Sequence[int],
        requires_grad: bool = False,
        hooks: Any = None,
        metadata: Any = None,
    ) -> Tensor:
        """The tensor of some elements of a storage.

        Raises: RuntimeError where the storage has no such elements.
        """
        return self._strided(storage, storage.data, offset, size, stride, requires_grad, metadata)

    def _of_dtype(self, storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None) -> Tensor:
        whole = storage.data.nbytes % dtype.itemsize == 0
        _args.check(whole, f"load(): expected whole elements of {dtype}, got {storage.data.nbytes} bytes", RuntimeError)
        return self._strided(storage, storage.data.view(dtype.dtype), offset, size, stride, requires_grad, metadata)

    def _strided(self, storage, data, offset, size, stride, requires_grad, metadata) -> Tensor:
        _check_inside(data.size, offset, size, stride)
        metadata = dict(metadata or {})
        _args.check(
            not set(metadata) - {"conj", "neg"}, f"load(): expected tensors without {sorted(metadata)}", RuntimeError
        )
        bits = bool(metadata.get("conj")), bool(metadata.get("neg"))
        key = id(storage), data.dtype, offset, tuple(size), tuple(stride), bits
        if key not in self._made:
            self._made[key] = self._array(storage, data, offset, size, stride, bits), storage
        made = from_array(self._made[key][0])
        if requires_grad:
            made.requires_grad_()
        if not metadata and made.numel():
            self._uses[id(made)] = Use(made, storage, data, offset, tuple(size), tuple(stride))
        return made

    def _array(self, storage, data, offset, size, stride, bits) -> jax.Array:
        self._allowed += 0 if storage.counted else 8 * data.nbytes
        storage.counted = True
        self._allowed -= math.prod(size) * data.itemsize
        message = f"load(): expected tensors not much larger in all than their storages, got one of size {tuple(size)}"
        _args.check(
            self._allowed >= 0, f"{message} made of {data.size} elements; clone() it before save()", RuntimeError
        )
        strides = [s * data.itemsize for s in stride]
        raw = data.view(np.uint8).data if data.size else b""
        part = np.ndarray(tuple(size), data.dtype, raw, offset * data.itemsize if data.size else 0, strides)
        part = np.conj(part) if bits[0] else part
        return storage.array(np.negative(part) if bits[1] else part)

    def _parameter(self, data: Tensor, requires_grad: bool, hooks: Any, state: Any = None) -> Parameter:
        return self._owned(Parameter(data.detach(), requires_grad), data)

    def _of_type(self, make: Callable, kind: type, args: tuple, state: Any) -> Tensor:
        data = make(*args)
        state = state[0] if isinstance(state, tuple) else state
        if state and state.get("_is_buffer"):
            return self._owned(Buffer(data.detach(), persistent=bool(state.get("persistent", True))), data)
        return data

    def _owned(self, made: Any, data: Tensor) -> Any:
        """A parameter or buffer of the data, in whose place it uses the storage."""
        use = self._uses.pop(id(data), None)
        if use is not None:
            self._uses[id(made)] = use._replace(tensor=made)
        return made

    def finish(self) -> None:
        """Let tensors share memory where torch's would, and keep strides other than row-major ones."""
        of_storage: dict[Storage, list[Use]] = {}
        for use in self._uses.values():
            of_storage.setdefault(use.storage, []).append(use)
        for storage, uses in of_storage.items():
            roots: dict[np.dtype, Tensor] = {}
            for group in _overlapping(uses):
                if len(group) == 1 and _views.is_row_major(group[0].stride, group[0].size):
                    continue
                with no_grad():
                    data = group[0].data
                    if data.dtype not in roots:
                        roots[data.dtype] = from_array(storage.array(data))
                    root = roots[data.dtype]
                    for use in group:
                        use.tensor._share_memory_of(_part(root, use.offset, use.size, use.stride))


def _part(root: Tensor, offset: int, size: tuple, stride: tuple) -> Tensor:
    whole = offset == 0 and math.prod(size) == root.numel() and _views.is_row_major(stride, size)
    if whole:
        return root if root.shape == size else root.view(size)  # type: ignore[attr-defined]
    return root.as_strided(size, stride, offset)  # type: ignore[attr-defined]


def _check_inside(numel: int, offset: int, size: Sequence[int], stride: Sequence[int]) -> None:
    numbers = [offset, *size, *stride]
    sound = len(size) == len(stride) and all(type(n) is int and n >= 0 for n in numbers)
    _args.check(sound, f"load(): expected sizes and strides of a tensor, got {size} and {stride}", RuntimeError)
    count = math.prod(size)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if count else offset - 1
    _args.check(
        last < numel,
        f"load(): expected a storage of more than {last} elements, got {numel}: not enough data",
        RuntimeError,
    )


def _overlapping(uses: list[Use]) -> list[list[Use]]:
    """The uses in groups such that those of different groups have no element in common."""
    groups: list[list[Use]] = []
    reach = -1
    for use in sorted(uses, key=lambda use: use.offset):
        if groups and use.offset <= reach and use.data.dtype == groups[-1][0].data.dtype:
            groups[-1].append(use)
        else:
            groups.append([use])
        reach = max(reach, use.last)
    return groups


_REFUSED = {
    "torch._utils._rebuild_qtensor": "quantized",
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_meta_tensor_no_storage": "meta",
}


def _refusal(name: str, what: str) -> Callable:
    def refuse(*args: Any) -> Any:
        raise NotImplementedError(f"load(): expected dense tensors, got a {what} one: JAX has none")

    return refuse


def geometry(tensor: Tensor) -> tuple[Tensor, int, tuple[int, ...], tuple[int, ...]]:
    """What a file says of a tensor: the tensor whose elements are the storage, offset, size and stride."""
    tensor._value()
    base = None if isinstance(tensor, Step) else tensor._base  # counts that are read together are written one by one
    if base is None or not (tensor._chain is _views.CUT or tensor._is_true_view()) or base.dtype != tensor.dtype:
        return tensor, 0, tuple(tensor.shape), _views.row_major(tensor.shape)
    return base, tensor.storage_offset(), tuple(tensor.shape), tensor._strides()
