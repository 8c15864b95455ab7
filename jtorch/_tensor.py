"""Tensor: a mutable box on an immutable `jax.Array`, with torch's views, gradients and in-place semantics.

Ops run in `_calling`. An in-place op puts a new array into the box. A view remembers its *root* and the steps that read
it: it re-reads when the root has changed, and a write to it becomes a write to the root. Methods that are ops are
attached in `_methods`; gradients are in `_gradients`, sizes in `_layout`, other
types in `_conversion`, printing in `_printing`.
"""

import copy
import weakref
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch import _printing, _types, _views
from jtorch._capture import state
from jtorch._conversion import Conversion
from jtorch._gradients import Gradients
from jtorch._layout import Layout
from jtorch._views import CUT
from jtorch.autograd import tape
from jtorch.ops import _args


class Tensor(Gradients, Conversion, Layout):
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
    _writes: int = 0  # of a root: how often its memory has been written
    _careful: tuple[str, int] | None = None  # of a view: why writing to it is not recorded, and `_version` when made
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

    # the value

    @property
    def _version(self) -> int:
        """How often the memory has been written in place: by this tensor, its views and its root."""
        return (self if self._base is None else self._base)._writes

    @_version.setter
    def _version(self, count: int) -> None:
        (self if self._base is None else self._base)._writes = count

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
            return _without_gradient(root)
        if self._seen() is not root:
            self._reread(root, base._edge())
        return self._raw_value

    def _reread(self, root: Any, edge: Any) -> None:
        if not self._is_true_view():
            self._base, self._chain = None, ()
            return
        value = root
        for step in self._chain:
            value, edge = (_without_gradient(value), None) if step is None else step(value, edge)
        self._raw_value, self._seen = value, weakref.ref(root)
        self._node, self._index = edge or (None, 0)

    def _edge(self) -> tape.Edge | None:
        """Where gradients for this tensor go, or None."""
        if self._base is not None:
            self._value()
            if self._careful is not None and state.grad and self._careful[1] != self._version:
                self._check_recordable(self._base._edge(), None)
        if self._node is not None:
            return self._node, self._index
        if not self._requires_grad:
            return None
        if self._leaf is None:
            self._leaf = tape.Leaf(self)
        return self._leaf, 0

    # views

    def _become(self, view: "Tensor") -> "Tensor":
        """Be what `view`, a view of this tensor, is: another shape of the same memory. Older views stay as they are."""
        root = view._base
        if view is self:
            return self
        self._check_recordable(self._edge(), None)
        if root is self:  # its memory moves to a root that nobody sees
            root = _blank(Tensor)
            root._raw_value, root._node, root._index = self._raw_value, self._node, self._index
            self._move_views(root, cut=False)
        edge = view._edge()
        self._raw_value, self._base, self._chain = view._raw_value, root, view._chain
        if root is not None:
            self._look_at(root, view._chain)
        self._version += 1
        self._node, self._index = edge or (None, 0)
        return self

    def _as_view(self, base: "Tensor", step: Any) -> "Tensor":
        """Mark this fresh result of `step` on `base` as a view of base's root."""
        chain = base._chain
        if base._base is not None and _views.may_copy(chain) and not base._is_true_view():
            base._base, base._chain, chain = None, (), ()
        root = base if base._base is None else base._base
        cut = () if state.grad or step is None else CUT
        if step is not None:
            self._careful = base._careful if base._base is not None else None
            if self._careful is None and step.place is not None:
                self._careful = f"output {step.place} of {step.program.name}", root._writes
            elif self._careful is None and not state.grad and None not in chain:
                self._careful = "one made under no_grad", root._writes
        whole = step is None and (not chain or chain is CUT)
        self._look_at(root, CUT if whole else (*chain, step, *cut))
        return self

    def _look_at(self, root: "Tensor", chain: tuple) -> None:
        """Be the view of a root that a chain reads."""
        self._base, self._chain, self._seen = root, chain, weakref.ref(root._raw_value)
        views = root._views
        if views is None:
            views = root._views = {}
        elif len(views) > 64 and len(views).bit_count() == 1:  # at each power of two, forget the dead
            for key in [key for key, view in views.items() if view() is None]:
                del views[key]
        views[id(self)] = weakref.ref(self)

    def _move_views(self, to: "Tensor", cut: bool) -> None:
        """Make the views of this root views of another one that holds its array now; `cut` from that one's graph."""
        views, self._views = self._views or {}, None
        to._writes = self._writes
        for view in (each() for each in views.values()):
            if view is not None and view._base is self:
                seen = view._seen
                view._look_at(to, (None, *view._chain) if cut and view._chain is not CUT else view._chain)
                view._seen = seen  # it may have to be read again

    def _share_memory_of(self, data: "Tensor") -> None:
        """Have the array of `data`, without its graph, and see its later writes as it sees this one's.

        The new owner becomes the root where it can, since a root is read faster.
        """
        array = data._value()
        root = data if data._base is None else data._base
        plain = type(root) is Tensor and root._node is None and not root._requires_grad
        if plain and (root is data or data._chain is CUT):
            self._raw_value = array
            root._move_views(self, cut=True)
            root._look_at(self, CUT)
        else:
            self._raw_value = _without_gradient(array)
            self._look_at(root, CUT if root is data or data._chain is CUT else (*data._chain, None))

    def _leave_memory(self) -> None:
        """Have an array of one's own from here on; what was a view of this tensor keeps the memory that it was of."""
        if self._base is not None:
            self._value()
            self._base, self._chain = None, ()
        elif self._views:
            self._move_views(from_array(self._raw_value), cut=False)

    def _is_true_view(self) -> bool:
        """Whether torch would share memory here too: reshape and contiguous copy where the layout does not allow it."""
        assert self._base is not None
        return not _views.may_copy(self._chain) or not _views.copies(self._chain, self._base.shape)

    def _rebind(self, array: Any) -> None:
        """Replace the array, unrecorded. For a view, write through to the root."""
        if state.session is not None:
            state.session.read(self)
        if self._base is not None and self._is_settled_view():
            self._write(array, None)
            return
        self._put(array)

    def _put(self, array: Any) -> None:
        if isinstance(array, Tracer) and not isinstance(self._raw_value, Tracer) and _makes_tracers():
            raise RuntimeError(
                "expected a tensor of this trace to be written, got one from outside a jax.jit, vmap or grad: the new "
                "value would be lost; return it, use jtorch.compile, or pass the module through nnx.jit"
            )
        self._raw_value = array
        self._version += 1

    def _is_settled_view(self) -> bool:
        """Whether this still is a view, after deciding the cases where torch would have copied."""
        if self._is_true_view():
            return True
        self._base, self._chain = None, ()
        return False

    def _write(self, array: Any, edge: Any) -> None:
        """Write through to the root."""
        root, chain = self._base, self._chain
        assert root is not None
        cut = None in chain
        root_edge = root._edge() if state.grad else None
        self._check_recordable(None if cut and not self._careful else root_edge, edge)
        if chain is CUT:
            root._put(array)
            self._keep_edge(array, edge)
            return
        self._check_writable(root)
        program, extras = _views.writer(chain)
        root_edge = None if cut else root_edge
        edges = (root_edge, None if cut else edge, *(None for _ in extras))
        out, node = tape.run(program, (root._value(), array, *extras), edges)
        root._put(out)
        if cut:
            self._keep_edge(array, edge)
        elif state.grad:
            root._node, root._index = node, 0

    def _keep_edge(self, array: Any, edge: Any) -> None:
        """Be where the gradient of a value goes that was written to memory without a graph; the root has no part in it."""
        assert self._base is not None
        if state.grad and edge is not None:
            self._raw_value, self._seen = array, weakref.ref(self._base._raw_value)
            self._node, self._index = edge

    def _check_recordable(self, root_edge: Any, edge: Any) -> None:
        """Raise where torch refuses to record a write through this view: its siblings would have to know of it."""
        if self._careful is not None and state.grad and (root_edge is not None or edge is not None):
            raise RuntimeError(
                "in-place: expected a write to a view, or under one, that gradients can be recorded through, got "
                f"{self._careful[0]}; use an op that is not in place, clone() it first, or do both under no_grad"
            )

    def _check_writable(self, root: "Tensor") -> None:
        if _views.overlaps(self._chain, root._raw_value.shape):
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory "
                "location. Please clone() the tensor before performing the operation."
            )
        if self._raw_value.dtype != root._raw_value.dtype:
            raise RuntimeError(
                "expected a view of the same dtype as its base to write to, got another; clone() it first"
            )

    def _assign(self, array: Any, edge: Any) -> "Tensor":
        """Take the result of an in-place op: checked, written through, its place on the tape with it."""
        if array.dtype != self._value().dtype:
            array = array.astype(self._raw_value.dtype)
        if self._base is not None and self._is_settled_view():
            self._write(array, edge)
            return self
        self._put(array)
        if state.grad:
            self._node, self._index = edge or (None, 0)
        return self

    def _check_inplace(self, part: bool = False) -> None:
        """Raise where torch refuses to write in place (to a `part` of the tensor) while recording."""
        if not state.grad:
            return
        if self._base is None:
            if self._requires_grad and self._node is None:
                what = "a view of a leaf" if part else "a leaf"
                raise RuntimeError(f"{what} Variable that requires grad is being used in an in-place operation.")
        elif None not in self._chain and self._base._requires_grad and self._base._node is None:
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")

    def _snapshot(self) -> tuple:
        return (
            self._raw_value,
            self._node,
            self._index,
            self._leaf,
            self._base,
            self._chain,
            self._seen,
            self._writes,
            self._careful,
        )

    def _restore(self, before: tuple) -> None:
        (self._raw_value, self._node, self._index, self._leaf, self._base, self._chain, self._seen, self._writes,
         self._careful) = before  # fmt: skip

    # ops; `__jtorch_op__` is in `_calling`

    def __jtorch_out__(self, result: "Tensor") -> None:
        """Take a result into `out=`."""
        value = result._value()
        _types.check_cast(value.dtype, self._value().dtype)
        self._check_inplace()
        if tuple(value.shape) != tuple(self.shape):
            self._base, self._chain = None, ()
            self._put(value.astype(self._raw_value.dtype))
        else:
            self._assign(value, None)

    # the same memory without the graph

    def detach(self) -> "Tensor":
        """The same memory without the graph."""
        view = _blank(Tensor)
        if state.session is not None:
            state.session.read(self)  # so that the view is known to be made inside
        if self._base is not None or self._chain:
            self._value()
            view._raw_value = _without_gradient(self._raw_value) if self._chain is not CUT else None
        else:
            view._raw_value = None
        return view._as_view(self, None)

    def detach_(self) -> "Tensor":
        """Cut this tensor from the graph in place."""
        self._value()
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node = None
        return self.requires_grad_(False)

    @property
    def data(self) -> "Tensor":
        """The same memory without the graph; assigning replaces the array without a record."""
        return self.detach()

    @data.setter
    def data(self, value: "Tensor") -> None:
        value = value if isinstance(value, Tensor) else from_array(jnp.asarray(value))
        if state.session is not None:
            state.session.read(self)
            state.session.check_exchange(self, value)
        self._leave_memory()
        if self._raw_value is not value._value():
            self._put(value._value())
        self._share_memory_of(value)

    def __bool__(self) -> bool:
        value = self._concrete("bool")
        if value.size != 1:
            raise RuntimeError(
                "Boolean value of Tensor with no values is ambiguous"
                if value.size == 0
                else "Boolean value of Tensor with more than one value is ambiguous"
            )
        return bool(value.reshape(()))

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
        return made

    def __reduce_ex__(self, protocol: Any):
        return _unpickle, (type(self), np.asarray(self.detach()._concrete("pickle")), self._requires_grad)


def _makes_tracers() -> bool:
    """Whether every array made at this moment is a tracer, as in `jax.jit`, so that a concrete one is from outside."""
    return isinstance(jnp.zeros(()), Tracer)


def _without_gradient(array: Any) -> Any:
    """The array cut from what JAX differentiates, where it is being traced."""
    return jax.lax.stop_gradient(array) if isinstance(array, Tracer) else array


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
        tensor._inference = True
    return tensor


tape.make.append(from_array)


def _unpickle(kind: type, array: np.ndarray, requires_grad: bool) -> Tensor:
    tensor = _blank(kind)
    tensor._raw_value = jnp.asarray(array)
    tensor._requires_grad = requires_grad
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
