"""What a tensor is made of: its shape, dtype and device, and where its elements would lie in torch's memory.

`Layout` is the part of Tensor that tells it; it uses only what Tensor defines. A JAX array has no strides: they are worked
out from the chain of reads that made a view.
"""

from collections.abc import Callable
from typing import Any

from jtorch import _types, _views
from jtorch._views import CUT, Unread
from jtorch.ops import _args


class Layout:
    """The shape of a tensor and its kin."""

    _raw_value: Any
    _base: Any
    _chain: tuple
    _value: Callable[[], Any]
    _is_true_view: Callable[[], bool]

    @property
    def shape(self) -> _types.Size:
        """The size of each dimension."""
        box: Any = self._base if self._chain is CUT else self
        return _types.Size(box._raw_value.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        if dim is None:
            return self.shape
        return self.shape[_args.dim(dim, len(self.shape), "size")]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self.shape.numel()

    nelement = numel

    @property
    def dtype(self) -> _types.dtype:
        """The type of the elements."""
        unread = type(self._raw_value) is Unread
        return _types.of_array((self._raw_value if unread else self._value()).dtype)

    @property
    def device(self) -> _types.device:
        """Where the array is."""
        return _types.device_of(self._value())

    def get_device(self) -> int:
        """The number of the accelerator the array is on, -1 for the CPU."""
        place = self.device
        return -1 if place.type == "cpu" else place.number()

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self.itemsize

    @property
    def layout(self) -> Any:
        """Always strided."""
        return _types.strided

    def stride(self, dim: int | None = None) -> Any:
        """The distance between neighbours in each dimension, of the root's elements."""
        strides = self._strides()
        return strides if dim is None else strides[_args.dim(dim, self.ndim, "stride")]

    def storage_offset(self) -> int:
        """The place of the first element among the root's."""
        places = None if self._base is None else _views.places(self._chain, self._base.shape)
        return int(places.flat[0]) if places is not None and places.size else 0

    def _strides(self) -> tuple[int, ...]:
        if self._base is None or self._chain is CUT or not self._is_true_view():
            return _views.row_major(self.shape)
        return _views.strides(_views.places(self._chain, self._base.shape))

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in order without gaps, as they would in torch."""
        return _views.is_row_major(self._strides(), self.shape)
