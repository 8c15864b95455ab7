"""Tensor: a mutable box on an immutable `jax.Array`, with torch's views, gradients and in-place semantics.

Ops run in `_calling`. An in-place op puts a new array into the box. A view remembers its *root* and the steps that read
it: it re-reads when the root has changed, and a write to it becomes a write to the root. Methods that are ops are
attached in `_methods`; gradients are in `_gradients`, sizes in `_layout`, other types in
`_conversion`, printing in `_printing`.
"""

import copy
import weakref
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch import _devices, _printing, _types
from jtorch._capture import state
from jtorch._conversion import Conversion
from jtorch._gradients import Gradients
from jtorch._layout import Layout
from jtorch._memory import Memory, Uncounted
from jtorch._views import CUT, Unread, follow, without_gradient
from jtorch.autograd import tape
from jtorch.ops import _args


class Tensor(Gradients, Memory, Conversion, Layout):
    """A multi-dimensional array that can require gradients.

    `Tensor(array)` boxes a `jax.Array`; `Tensor(2, 3)` and `Tensor([1, 2])` are torch's old constructors of the default
    float dtype. Use `jtorch.tensor`.
    """

    # Per-tensor state has defaults on the class: NNX rebuilds Parameters without calling __init__.
    _raw_value: Any
    _requires_grad: bool = False
    _grad: "Tensor | None" = None
    _node: Any = None
    _index: int = 0
    _leaf: Any = None
    _base: "Tensor | None" = None
    _chain: tuple = ()
    _seen: Any = None
    _views: "dict[int, weakref.ref] | None" = None  # of a root: its views, by id, some of them dead
    _count: list[int] | None = None  # [how often the memory has been written], one list for a tensor and its views
    _careful: tuple[str, int] | None = None  # of a view: why writing to it is not recorded, and `_writes` when made
    _head: "Tensor | None" = None  # of a view of a detached tensor, or of one that was given another shape: that tensor
    _usual: bool = True  # False for parameters that wait for a shape and inference tensors: ops have to look
    _inference: bool = False
    _post_hooks: dict | None = None

    __array_priority__ = 1000

    def __init__(self, *data: Any, device: Any = None):
        if len(data) == 1 and isinstance(data[0], jax.Array):
            array = data[0]
        elif len(data) == 1 and isinstance(data[0], Tensor):
            array = data[0]._value()
        elif data and all(isinstance(n, int) for n in data):
            array = jnp.zeros(data, _args.default_float())
        else:
            array = jnp.asarray(np.asarray(data[0] if data else []), _args.default_float())
        self._raw_value = array if device is None else jax.device_put(array, _types.device(device).jax())
        self._mark()

    _plain: type  # Tensor itself, without what parameters and buffers add

    # the value

    def _value(self) -> Any:
        """The current array."""
        if state.session is not None:
            return state.session.read(self)
        if self._base is None:
            return self._raw_value
        return self._current()

    def _current(self) -> Any:
        """A view's array, read again if the root has changed since."""
        base = self._base
        if base is None:
            return self._raw_value
        root = base._raw_value
        if self._chain is CUT:
            return without_gradient(root)
        if self._seen() is not root:
            unread, alone = self._raw_value, len(self._chain) == 1
            if alone and type(unread) is Unread and (found := unread.read_directly(base)) is not None:
                self._raw_value, self._node = found
                self._seen = weakref.ref(root)
            else:
                self._reread(root, base._edge())
        return self._raw_value

    def _reread(self, root: Any, edge: Any) -> None:
        if not self._is_settled_view():
            return
        lifting = None if isinstance(root, Tracer) else state.lifting
        if lifting is not None:  # what a transform makes of it is the matter of the ops that it goes into
            state.lifting = None
        try:
            value, out = self._read(root, edge)
            if isinstance(value, Tracer) and not isinstance(root, Tracer):  # read in a trace that does not know of it
                with jax.ensure_compile_time_eval():
                    value, out = self._read(root, edge)
        finally:
            if lifting is not None:
                state.lifting = lifting
        self._raw_value, self._seen = value, weakref.ref(root)
        if out is not None or None not in self._chain or self._follows_head():  # else its graph is its own, and stays
            self._node, self._index = out or (None, 0)

    def _read(self, root: Any, edge: Any) -> tuple[Any, Any]:
        """The array and the edge that the chain gives on the root's array; a cut in it leaves nothing to record."""
        unread, chain, head, at = self._raw_value, self._chain, self._head, 0
        if type(unread) is Unread and None not in chain and (found := unread.read(self._base)) is not None:
            return found
        if head is not None and head is not self and self._follows_head():
            at = len(head._chain)
            root, _ = follow(chain[:at], root)
            edge = None if type(unread) is Unread and unread.version == self._writes else head._place()
        return follow(chain[at:], root, edge)

    def _edge(self) -> tape.Edge | None:
        """Where gradients for this tensor go, or None."""
        if self._careful is not None and state.grad:
            self._check_fresh()
        return self._place()

    def _place(self) -> tape.Edge | None:
        """The edge, also of a view that is not to be used while recording."""
        if self._base is not None:
            self._value()
        if self._node is not None:
            return self._node, self._index
        if not self._requires_grad:
            return None
        if self._leaf is None:
            self._leaf = tape.Leaf(self)
        return self._leaf, 0

    def _rebind(self, array: Any) -> None:
        """Replace the array, unrecorded. For a view, write through to the root."""
        if state.session is not None:
            state.session.read(self)
        if self._base is not None and self._is_settled_view():
            self._write(array, None)
            return
        self._put(array)

    def _put(self, array: Any, writer: "Tensor | None" = None) -> None:
        if isinstance(array, Tracer) and not isinstance(self._raw_value, Tracer) and _makes_tracers():
            raise RuntimeError(
                "expected a tensor of this trace to be written, got one from outside a jax.jit, vmap or grad: the new "
                "value would be lost; return it, use jtorch.compile, or pass the module through nnx.jit"
            )
        if state.watch is not None:
            state.watch.writes(self)
        (self if writer is None else writer)._counter()[0] += 1
        self._raw_value = array

    def _assign(self, array: Any, edge: Any) -> "Tensor":
        """Take the result of an in-place op: checked, written through, its place on the tape with it."""
        if array.dtype != self._value().dtype:
            array = _args.cast(array, self._raw_value.dtype)
        array = _devices.beside(array, self._raw_value)
        if self._base is not None and self._is_settled_view():
            self._write(array, edge)
            return self
        self._put(array)
        if state.grad:
            self._node, self._index = edge or (None, 0)
        return self

    def _check_inplace(self, part: bool = False) -> None:
        """Raise where torch refuses to write in place (to a `part` of the tensor) outside of inference mode or no_grad."""
        if not self._usual:
            self._check_counted()
        if not state.grad:
            return
        origin = self
        if self._base is not None:
            self._check_recordable(None)
            origin = self if (origin := self._origin()) is None else origin
        if origin._node is None and (origin._requires_grad or (origin is not self and self._place() is not None)):
            what = "a leaf" if origin is self and not part else "a view of a leaf"
            raise RuntimeError(f"{what} Variable that requires grad is being used in an in-place operation.")

    def _snapshot(self) -> tuple:
        return (
            self._raw_value,
            self._node,
            self._index,
            self._leaf,
            self._base,
            self._chain,
            self._seen,
            self._count,
            self._writes,
            self._careful,
            self._head,
        )

    def _restore(self, before: tuple) -> None:
        (self._raw_value, self._node, self._index, self._leaf, self._base, self._chain, self._seen, self._count,
         version, self._careful, self._head) = before  # fmt: skip
        if version:
            self._writes = version

    # ops; `__jtorch_op__` is in `_calling`

    def __jtorch_out__(self, result: "Tensor", name: str | None = None) -> None:
        """Take a result, of the function of that name if it was called with `out=`.

        Raises:
            RuntimeError: it has a graph, or this tensor has, which torch does not record through `out=`.
        """
        if name is not None and state.grad and (result._edge() is not None or self._edge() is not None):
            raise RuntimeError(
                f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
                "arguments requires grad."
            )
        value = result._value()
        _types.check_cast(value.dtype, self._value().dtype)
        self._check_inplace()
        if tuple(value.shape) != tuple(self.shape):
            self._base, self._chain = None, ()
            self._put(_args.cast(value, self._raw_value.dtype))
        else:
            self._assign(value, None)

    # the same memory without the graph

    def detach(self) -> "Tensor":
        """The same memory without the graph."""
        view = _blank(Tensor)
        part = self._base is not None and self._chain is not CUT
        # a view of the whole needs no array; while a function is captured, a tracer tells that it was made inside
        view._raw_value = without_gradient(self._value()) if part or state.session is not None else None
        view._as_view(self, None)
        if self._inference and not state.inference:  # torch then begins to count
            view._count = [0]
        return view

    def detach_(self) -> "Tensor":
        """Cut this tensor from the graph in place."""
        self._value()
        if self._base is not None and not self._is_detached():
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node = None
        return self.requires_grad_(False)

    @property
    def data(self) -> "Tensor":
        """The same memory without the graph; assigning replaces the array without a record."""
        same = self.detach()
        same._count = [0]
        return same

    @data.setter
    def data(self, value: "Tensor") -> None:
        value = value if isinstance(value, Tensor) else from_array(jnp.asarray(value))
        if state.session is not None:
            state.session.read(self)
            state.session.check_exchange(self, value)
        self._leave_memory()
        kept = None
        if type(self._counter()) is Uncounted or value._inference:  # torch keeps the count, or that there is none
            kept, self._count = self._counter(), [0]
        if self._raw_value is not value._value():
            self._put(value._value())
        self._share_memory_of(value)
        if kept is not None:
            self._count = kept

    def __bool__(self) -> bool:
        value = self._concrete("bool")
        if value.size != 1:
            raise RuntimeError(
                "Boolean value of Tensor with no values is ambiguous"
                if value.size == 0
                else "Boolean value of Tensor with more than one value is ambiguous"
            )
        return bool(value.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self):
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))  # type: ignore[attr-defined]

    def __contains__(self, element: Any) -> bool:
        return bool((self == element).any())  # type: ignore[attr-defined]

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and not self.shape else str(self)

    def __hash__(self):
        return id(self)

    def __repr__(self, *, tensor_contents: Any = None):
        return _printing.tensor_text(self)

    def __deepcopy__(self, memo: dict) -> "Tensor":
        if self._edge() is not None and self._node is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment."
            )
        if id(self) in memo:
            return memo[id(self)]
        made = _blank(type(self))
        memo[id(self)] = made
        made._raw_value = jnp.array(self._value(), copy=True)
        made._requires_grad = self._requires_grad
        made._grad = copy.deepcopy(self._grad, memo)
        made._mark()
        return made

    def __reduce_ex__(self, protocol: Any):
        return _unpickle, (type(self), np.asarray(self.detach()._concrete("pickle")), self._requires_grad)


def _makes_tracers() -> bool:
    """Whether every array made at this moment is a tracer, as in `jax.jit`, so that a concrete one is from outside."""
    return isinstance(jnp.zeros(()), Tracer)


# making tensors


def _blank(kind: type) -> Any:
    """A tensor without content: what its maker must fill."""
    return object.__new__(kind)


def from_array(array: Any, edge: Any = None) -> Tensor:
    """A Tensor that boxes an array, at a place on the tape if there is one."""
    tensor = object.__new__(Tensor)
    tensor._raw_value = array
    if edge is not None:
        tensor._node, tensor._index = edge
    if state.inference:
        tensor._be_inference(True)
    return tensor


Tensor._plain = Tensor
tape.make.append(from_array)


def _unpickle(kind: type, array: np.ndarray, requires_grad: bool) -> Tensor:
    tensor = _blank(kind)
    tensor._raw_value = jnp.asarray(array)
    tensor._requires_grad = requires_grad
    tensor._mark()
    return tensor


def _flatten(tensor: Tensor) -> tuple:
    return (tensor._value(),), tensor._requires_grad


def _unflatten(requires_grad: bool, children: Sequence) -> Tensor:
    tensor = object.__new__(Tensor)
    tensor._raw_value = children[0]
    if requires_grad:
        tensor._requires_grad = True
    return tensor


jax.tree_util.register_pytree_node(Tensor, _flatten, _unflatten)
