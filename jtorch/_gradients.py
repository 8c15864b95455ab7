"""What a tensor has for gradients: `requires_grad`, `.grad`, `backward`, and hooks.

`Gradients` is the part of Tensor that does it; it uses only what Tensor defines. The tape is in `autograd`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch._capture import epoch, state
from jtorch.autograd import tape, walking
from jtorch.autograd.gradients import backward
from jtorch.ops import _args


class Gradients:
    """The gradients of a tensor."""

    _requires_grad: bool
    _grad: Any
    _inference: bool
    _node: Any
    _index: int
    _post_hooks: dict | None
    _value: Callable[[], Any]
    _edge: Callable[[], Any]
    _place: Callable[[], Any]
    _check_fresh: Callable[[], None]
    _rebind: Callable[[Any], None]
    shape: Any

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded.

        Differs: False for views made under no_grad, where torch says True if their base has a graph, but records none.
        """
        return self._requires_grad or self._place() is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Ask for gradients, or stop asking. Only for leaves and inexact dtypes.

        Raises:
            RuntimeError: an integer tensor, a tensor that was computed, or an inference tensor outside of inference mode.
        """
        if requires_grad:
            self._check_may_record()
        if requires_grad and not _args.is_inexact(self._value().dtype):
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if not requires_grad and self._edge() is not None and self._node is not None:
            raise RuntimeError("you can only change requires_grad flags of leaf variables.")
        if self._node is None and self._requires_grad != bool(requires_grad):
            self._requires_grad = bool(requires_grad)
            epoch[0] += 1
        return self

    def _check_may_record(self) -> None:
        """Raise where an inference tensor may not ask for gradients."""
        _args.check(
            not self._inference or state.inference,
            "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed. Ask a clone() for "
            "gradients.",
            RuntimeError,
        )

    @property
    def grad(self) -> Any:
        """The gradients accumulated so far, or None."""
        if state.session is not None:
            state.session.reads_grad(self)
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            if not isinstance(value, Gradients):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
                )
            if tuple(value.shape) != tuple(self.shape):
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
                    f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
        if state.session is not None:
            state.session.writes_grad(self)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    def _accumulate(self, gradient: Any) -> None:
        before = self.grad
        if before is None:
            self.grad = gradient
        elif state.grad:
            self.grad = before + gradient
        else:
            before._rebind(walking.add(before._value(), gradient._value()))
        for hook in tuple((self._post_hooks or {}).values()):
            hook(self)

    @property
    def grad_fn(self) -> Any:
        """The node that made it, or None for a leaf.

        Raises:
            RuntimeError: a view that is not to be used any more, as one made under no_grad whose memory was written since.
        """
        self._check_fresh()
        self._place()
        return self._node

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Add the gradients of this tensor to the `.grad` of the leaves below it. See `autograd.backward`."""
        if isinstance(gradient, jax.Array | np.ndarray):
            gradient = tape.make[0](jnp.asarray(gradient))
        backward((self,), (gradient,), retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Callable) -> tape.Handle:
        """Call `hook(gradient)` when the gradient for this tensor is computed; what it returns replaces the gradient.

        Raises:
            RuntimeError: the tensor does not require gradients.
        """
        edge = self._edge()
        if edge is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        node, place = edge
        if node.hooks is None:
            node.hooks = {}
        return tape.Handle(node.hooks.setdefault(place, {}), hook)

    def register_post_accumulate_grad_hook(self, hook: Callable) -> tape.Handle:
        """Call `hook(tensor)` after a gradient has been added to its `.grad`. Leaves only."""
        if self.grad_fn is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        if self._post_hooks is None:
            self._post_hooks = {}
        return tape.Handle(self._post_hooks, hook)

    def retain_grad(self) -> None:
        """Keep the gradient in `.grad` although this is no leaf."""
        edge = self._edge()
        if edge is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._node is not None:
            if self._node.retains is None:
                self._node.retains = {}
            self._node.retains[self._index] = self

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on a tensor that is no leaf."""
        return bool(self._node is not None and (self._node.retains or {}).get(self._index) is self)

    @property
    def is_leaf(self) -> bool:
        """Whether gradients end here."""
        return self.grad_fn is None
