"""What tensors share: a view is a *root* and the steps that read it; a write to it becomes a write to the root.

`Memory` is the part of Tensor that does it; it uses only what Tensor defines. Chains of steps are in `_views`.
"""

import weakref
from collections.abc import Callable
from typing import Any

from jtorch import _views
from jtorch._capture import state
from jtorch._views import CUT, Unread, without_gradient
from jtorch.autograd import tape


class Uncounted(list):
    """The count of inference tensors, which torch does not keep: they may be written in inference mode only."""

    def check(self) -> None:
        """Raise where they may not be written.

        Raises:
            RuntimeError: outside of inference mode.
        """
        if not state.inference:
            raise RuntimeError(
                "Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get "
                "a normal tensor before doing inplace update."
            )

    def __setitem__(self, place: Any, count: Any) -> None:
        self.check()
        super().__setitem__(place, count)


class Memory:
    """The memory of a tensor, which others may share."""

    _raw_value: Any
    _base: Any
    _chain: tuple
    _seen: Any
    _views: Any
    _count: list[int] | None
    _careful: tuple[str, int] | None
    _head: Any
    _inference: bool
    _usual: bool
    _node: Any
    _index: int
    _value: Callable[[], Any]
    _current: Callable[[], Any]
    _edge: Callable[[], Any]
    _place: Callable[[], Any]
    _put: Callable[..., None]

    @property
    def _version(self) -> int:
        """How often the memory has been written in place: by this tensor, its views and its root.

        Raises:
            RuntimeError: it is an inference tensor.
        """
        if type(self._counter()) is Uncounted:
            raise RuntimeError("Inference tensors do not track version counter.")
        return self._writes

    @property
    def _writes(self) -> int:
        """`_version`, of inference tensors too."""
        if self._base is not None:
            self._is_settled_view()
        return 0 if self._count is None else self._count[0]

    @_writes.setter
    def _writes(self, count: int) -> None:
        list.__setitem__(self._counter(), 0, count)

    def _counter(self) -> list[int]:
        if self._count is None:
            self._count = Uncounted([0]) if self._inference else [0]
        return self._count

    def _check_counted(self) -> None:
        """Raise where this is an inference tensor, which may not be written."""
        if type(count := self._counter()) is Uncounted:
            count.check()

    def _mark(self) -> None:
        """Be an inference tensor where this is made in inference mode."""
        if state.inference:
            self._be_inference(True)

    def _be_inference(self, inference: bool) -> Any:
        """Be an inference tensor, or be none."""
        if self._inference is not inference:
            self._inference, self._usual = inference, not inference
        return self

    def _become(self, view: Any) -> Any:
        """Be what `view`, a view of this tensor, is: another shape of the same memory. Older views stay as they are.

        Raises:
            RuntimeError: a leaf that requires gradients and has views, which would not know where their gradients go.
        """
        root = view._base
        if view is self:
            return self
        if root is self:  # its memory moves to a root that nobody sees
            self._check_alone([v for v in self._seen_by() if v is not view and v._chain[0] is not None])
            root = tape.make[0](self._raw_value, self._node and (self._node, self._index))
            self._move_views(root, cut=False)
            self._head = self
        elif self._is_detached():
            self._hide_head(view)
        edge = view._edge()
        self._raw_value, self._base, self._chain = view._raw_value, root, view._chain
        if root is not None:
            self._look_at(root, view._chain)
        self._writes += 1
        self._node, self._index = edge or (None, 0)
        return self

    def _as_view(self, base: Any, step: Any) -> Any:
        """Mark this fresh result of `step` on `base` as a view of base's root."""
        chain = base._chain
        if base._base is not None:
            if not base._is_settled_view():
                chain = ()
            elif step is not None and (base._head is not None or None in chain):
                self._head = base if base._is_detached() else base._head
        root = base if base._base is None else base._base
        cut = () if state.grad or step is None else CUT
        self._count = count = base._counter()
        if step is not None:
            reason = self._reason_for_care(base, step)
            self._careful = None if reason is None else (reason, count[0])
        whole = step is None and (not chain or chain is CUT)
        self._look_at(root, CUT if whole else (*chain, step, *cut))
        if self._inference is not base._inference and self._is_settled_view():
            self._be_inference(base._inference)
        return self

    def _reason_for_care(self, base: Any, step: Any) -> str | None:
        """Why writing to this view while recording is refused, if it is."""
        if base._base is not None and base._careful is not None:
            if state.grad:
                base._check_fresh()
            return base._careful[0]
        if step.place is not None:
            return f"output {step.place} of {step.program.name}"
        if state.grad:
            return None
        return "one made in inference mode" if state.inference else "one made under no_grad"

    def _is_detached(self) -> bool:
        """Whether this is what `detach()` gives: memory of another tensor, without the graph of that."""
        return self._base is not None and self._careful is None and self._chain[-1] is None

    def _origin(self) -> Any:
        """The tensor whose graph this view's is a part of, its root or a detached one; None where it has one of its own."""
        if self._follows_head():
            return self._head
        return None if None in self._chain and self._careful is None else self._base

    def _follows_head(self) -> bool:
        """Whether the tensor that the graph begins at, if not at the root, still shares the root's memory."""
        head = self._head
        return head is not None and head._base is self._base and head._chain == self._chain[: len(head._chain)]

    def _check_alone(self, others: list) -> None:
        """Raise if this is a leaf that requires gradients and any of its views is still there."""
        if others and self._requires_grad and self._node is None:
            raise RuntimeError(
                "in-place: expected a leaf without views to be given another shape, got one with views, which would not "
                "know where their gradients go; do it before they are made"
            )

    def _seen_by(self) -> list:
        """The views of this root, or of this view's, that are still there."""
        root = self if self._base is None else self._base
        views = [each() for each in (root._views or {}).values()]
        return [view for view in views if view is not None and view._base is root]

    def _hide_head(self, view: Any) -> None:
        """Leave this detached tensor's part in the graph of its views, `view` among them, to one that nobody sees."""
        followers = [each for each in self._seen_by() if each._head is self]
        self._check_alone([each for each in followers if each is not view])
        head = self.detach()
        head._chain = self._chain
        head._node, head._index = self._node, self._index
        for each in followers:
            each._head = head
        self._head = view._head

    def _look_at(self, root: Any, chain: tuple) -> None:
        """Be the view of a root that a chain reads."""
        self._base, self._chain = root, chain
        self._seen = _views.unseen if type(self._raw_value) is Unread else weakref.ref(root._raw_value)
        views = root._views
        if views is None:
            views = root._views = {}
        elif len(views) > 64 and len(views).bit_count() == 1:  # at each power of two, forget the dead
            for key in [key for key, view in views.items() if view() is None]:
                del views[key]
        views[id(self)] = weakref.ref(self)

    def _move_views(self, to: Any, cut: bool) -> None:
        """Make the views of this root views of another one that holds its array now; `cut` from that one's graph."""
        views, self._views = self._views or {}, None
        to._count = self._counter()
        for view in (each() for each in views.values()):
            if view is not None and view._base is self:
                if type(view._raw_value) is Unread:
                    view._current()
                seen = view._seen
                view._look_at(to, (None, *view._chain) if cut and view._chain[:1] != CUT else view._chain)
                if cut and None not in view._chain[1:]:
                    view._head = self
                view._seen = seen  # it may have to be read again

    def _share_memory_of(self, data: Any) -> None:
        """Have the array of `data`, without its graph, and see its later writes as it sees this one's.

        The new owner becomes the root where it can, since a root is read faster.
        """
        array = data._value()
        root = data if data._base is None else data._base
        plain = type(root) is self._plain and root._node is None and not root._requires_grad
        if plain and (root is data or data._chain is CUT):
            self._raw_value = array
            root._move_views(self, cut=True)
            root._look_at(self, CUT)
        else:
            self._count = data._counter()
            self._raw_value = without_gradient(array)
            self._look_at(root, CUT if root is data or data._chain is CUT else (*data._chain, None))
        if data._inference and not state.inference:
            self._count = [0]
        self._be_inference(data._inference)

    def _leave_memory(self) -> None:
        """Have an array of one's own from here on; what was a view of this tensor keeps the memory that it was of."""
        if self._base is not None:
            self._value()
            self._base, self._chain, self._head = None, (), None
        elif self._views:
            self._move_views(tape.make[0](self._raw_value), cut=False)

    def _is_true_view(self) -> bool:
        """Whether torch would share memory here too: reshape and contiguous copy where the layout does not allow it."""
        assert self._base is not None
        return not _views.may_copy(self._chain) or not _views.copies(self._chain, self._base.shape)

    def _is_settled_view(self) -> bool:
        """Whether this still is a view, after deciding the cases where torch would have copied."""
        if self._is_true_view():
            return True
        self._base, self._chain, self._count, self._careful, self._head = None, (), None, None, None
        return False

    def _write(self, array: Any, edge: Any) -> None:
        """Write through to the root."""
        root, chain = self._base, self._chain
        assert root is not None
        self._check_recordable(edge)
        if chain is CUT:
            root._put(array, self)
            self._keep_edge(array, edge)
            return
        self._check_writable()
        if None in chain:
            node = self._write_to_head(array, edge)
            out, _ = _written(chain, (root._value(), None), (array, None))
            root._put(out, self)
            if node is not None:
                self._head._node, self._head._index = node, 0
            elif not self._follows_head():
                self._keep_edge(array, edge)
            return
        out, node = _written(chain, (root._value(), root._edge() if state.grad else None), (array, edge))
        root._put(out, self)
        if state.grad:
            root._node, root._index = node, 0

    def _write_to_head(self, array: Any, edge: Any) -> Any:
        """The node of writing to the detached tensor that this is a view of; None where there is nothing to record."""
        if not state.grad or not self._follows_head():
            return None
        head = self._head
        value, place = head._value(), head._place()
        if edge is None and place is None:
            return None
        return _written(self._chain[len(head._chain) :], (value, place), (array, edge))[1]

    def _keep_edge(self, array: Any, edge: Any) -> None:
        """Be where the gradient of a value goes that was written to memory without a graph; the root has no part in it."""
        assert self._base is not None
        if state.grad and edge is not None:
            self._raw_value, self._seen = array, weakref.ref(self._base._raw_value)
            self._node, self._index = edge

    def _check_recordable(self, edge: Any) -> None:
        """Raise where torch refuses to record a write of what has this edge: siblings of the view would have to know of it."""
        if self._careful is not None and state.grad:
            self._refuse_with(edge or self._place())

    def _refuse_with(self, edge: Any) -> None:
        """Raise if there is a graph, this edge or that of what this is a view of."""
        if self._careful is None:  # it has turned out to be a copy
            return
        if edge is not None or self._origin()._place() is not None:
            raise RuntimeError(
                "in-place: expected a write to a view, or under one, that gradients can be recorded through, got "
                f"{self._careful[0]}; use an op that is not in place, clone() it first, or do both under no_grad"
            )

    def _overlaps(self) -> bool:
        """Whether two elements of this view lie in one place."""
        return self._is_settled_view() and _views.overlaps(self._chain, self._base._raw_value.shape)

    def _check_fresh(self) -> None:
        """Raise where such a view has or had a graph, and its memory was written since it was made."""
        if self._careful is not None:
            version = self._writes  # which finds out whether this is a view at all
            if self._careful is not None and self._careful[1] != version:
                self._refuse_with(self._place())

    def _check_writable(self) -> None:
        if self._overlaps():
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory "
                "location. Please clone() the tensor before performing the operation."
            )


def _written(chain: tuple, into: tuple[Any, Any], what: tuple[Any, Any]) -> tuple[Any, Any]:
    """`into` with the elements that a chain reads replaced by `what`, both arrays with their edges: (array, node)."""
    program, extras = _views.writer(chain)
    return tape.run(program, (into[0], what[0], *extras), (into[1], what[1], *(None for _ in extras)))
