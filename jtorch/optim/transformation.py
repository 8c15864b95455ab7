"""Any Optax transformation as an optimizer of the torch kind: `from_optax`.

What it computes and what state it has are Optax's; torch's algorithms are in `algorithms`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jtorch._capture import state as running
from jtorch._donating import arrays_of, donatable, put
from jtorch._tensor import Tensor, from_array
from jtorch.autograd.grad_mode import enable_grad
from jtorch.ops import _args
from jtorch.optim.optimizer import Optimizer


class Transformed(Optimizer):
    """An optimizer that applies one Optax transformation to the list of all its parameters. Made by `from_optax`.

    The leaves of the transformation's state are `state["optax"]`, numbered.
    """

    def __init__(self, transform: optax.GradientTransformation, params: Iterable):
        super().__init__(params, {})
        self.transform = transform
        leaves = jax.tree.leaves(transform.init([p._value() for p in self._params()]))
        self.state["optax"] = {i: from_array(jnp.array(leaf)) for i, leaf in enumerate(leaves)}

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"transform": self.transform}

    def _guarded(self, step: Callable, args: Any, kwargs: dict) -> Any:
        return step(self, *args, **kwargs)

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _layout(self) -> list[int]:
        return [*map(id, self._params()), *map(id, self.state["optax"].values())]

    def step(self, closure: Callable | None = None) -> Any:
        """Update all parameters. `closure` computes the loss anew; its value is returned.

        Raises:
            RuntimeError: a parameter has no gradient.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        params, states = self._params(), list(self.state["optax"].values())
        grads = [p.grad for p in params]
        for i, grad in enumerate(grads):
            message = f"step(): expected a gradient for every parameter, got None for parameter {i}; leave it out"
            _args.check(grad is not None, message, RuntimeError)
        layout = self._layout()
        if self.__dict__.get("_program_layout") != layout:
            self._program, self._program_layout = _program(self.transform, params, states), layout
        traced = running.session is not None or isinstance(params[0]._value(), jax.core.Tracer)
        if running.session is not None:
            running.session.guard(self._layout, "the parameters of an optimizer")
        fetch = arrays_of if traced else donatable
        values, news = self._program(fetch(params), arrays_of(grads), fetch(states))
        direct = not traced and not isinstance(values[0], jax.core.Tracer)
        put(params, values, direct)
        put(states, news, direct)
        return loss


def _program(transform: optax.GradientTransformation, params: list[Tensor], states: list[Tensor]) -> Callable:
    """The compiled step, for a state of the shapes that the transformation makes."""
    shaped = [jax.ShapeDtypeStruct(tuple(p.shape), p._value().dtype) for p in params]
    leaves, tree = jax.tree.flatten(jax.eval_shape(transform.init, shaped))
    want, got = [x.shape for x in leaves], [tuple(s.shape) for s in states]
    _args.check(want == got, f"step(): expected state of shapes {want}, got {got}", RuntimeError)

    def step(values, grads, state):
        updates, new = transform.update(grads, jax.tree.unflatten(tree, state), values)
        return optax.apply_updates(values, updates), jax.tree.leaves(new)

    return jax.jit(step, donate_argnums=(0, 2))


def from_optax(transform: optax.GradientTransformation, params: Iterable) -> Transformed:
    """An optimizer that steps as `optax.apply_updates(params, transform.update(grads, state, params))` does.

    Parameters must all have gradients at a step; leave frozen ones out. Rates and schedules are the transformation's:
    its groups have no `lr`.

    Example:
        >>> import jtorch, optax
        >>> w = jtorch.ones(2, requires_grad=True)
        >>> optimizer = jtorch.optim.from_optax(optax.sgd(0.5), [w])
        >>> w.grad = jtorch.ones(2)
        >>> optimizer.step()
        >>> w
        tensor([0.5000, 0.5000], requires_grad=True)
    """
    return Transformed(transform, params)
