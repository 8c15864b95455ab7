"""`jtorch.compile`: a torch-style step, or a module, as one XLA program whose state is found by itself.

The function runs twice in Python when it is compiled. A first, abstract run notes every tensor from outside that it
reads or writes (parameters, buffers, optimizer state, `.grad`, the random state) and every number that the optimizers
lift. The second run traces the program with those as inputs in one flat list. Later calls fetch the arrays, run the
program and put the new arrays back; what is written and held by nobody else is donated, so that XLA reuses its memory.

If the outputs still want gradients afterwards (a forward, as opposed to a whole step), the program is recorded on the
tape as one op, with a compiled pullback.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jtorch._capture import in_foreign_trace, state
from jtorch._entry import Entry, aliases, is_array, is_tensor
from jtorch._tensor import Tensor
from jtorch.nn.module import Module, compiler

RETRACE_LIMIT = 8
"""How many programs a compiled function may have before it warns."""


def compile(model: Any = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = None,
            mode: str | None = None, options: dict | None = None, disable: bool = False) -> Any:  # fmt: skip
    """A function or module that runs as one XLA program for each combination of shapes, dtypes and modes.

    Parameters, buffers, optimizer state and random state that it uses are found by themselves. Python side effects
    happen when it is compiled (twice), not on later calls; Python numbers among the arguments are constants of the
    program.
    Learning rates and other optimizer settings may change between calls. `fullgraph`, `dynamic`, `backend`, `mode` and
    `options` are accepted for torch's sake.

    Raises:
        RuntimeError: from the function, when it asks for a value that is not known yet (`.item()`, `if tensor:`).

    Example:
        >>> import jtorch
        >>> w = jtorch.ones(2, requires_grad=True)
        >>> @jtorch.compile
        ... def step(x):
        ...     loss = (w * x).sum()
        ...     loss.backward()
        ...     return loss.detach()
        >>> step(jtorch.tensor([1., 2.]))
        tensor(3.)
        >>> w.grad
        tensor([1., 2.])
    """
    if model is None:
        return functools.partial(compile, disable=disable)
    if disable:
        return model
    if isinstance(model, Module):
        model.compile()
        return model
    return Compiled(model)


class Compiled:
    """A compiled function. Calling it runs the program that fits, compiling one if there is none.

    Attributes:
        function: the function as written.
        traces: how often it was traced.
    """

    def __init__(self, function: Callable):
        functools.update_wrapper(self, function)
        self.function = function
        self.traces = 0
        self._entries: dict[Any, list[Entry]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.session is not None or in_foreign_trace():
            return self.function(*args, **kwargs)
        leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=is_tensor)
        inputs = [x for x in leaves if is_array(x)]
        key = (tree, tuple(_signature(x) for x in leaves), aliases(inputs), state.grad, state.inference)
        entries = self._entries.setdefault(key, [])
        for entry in entries:
            if entry.fits():
                break
        else:
            entry = Entry(self.function, leaves, tree)
            self.traces += 1
            entries.append(entry)
            self._warn()
        return entry.run(inputs)

    def _warn(self) -> None:
        if self.traces == RETRACE_LIMIT + 1:
            name = getattr(self.function, "__qualname__", repr(self.function))
            warnings.warn(
                f"compile(): expected few different calls of {name}, got {self.traces} programs so far; shapes, "
                "dtypes, Python numbers among the arguments and training flags each make a program of their own",
                stacklevel=3,
            )

    def __get__(self, instance: Any, owner: Any = None):
        return self if instance is None else functools.partial(self, instance)


def _signature(leaf: Any) -> Any:
    """What of an argument the program depends on."""
    if isinstance(leaf, Tensor):
        array, edge = leaf._value(), leaf._edge()
        return (array.shape, array.dtype, None if edge is None else leaf._node is None)
    if isinstance(leaf, jax.Array | np.ndarray):
        return (leaf.shape, leaf.dtype)
    try:
        hash(leaf)
    except TypeError:
        return id(leaf)
    return (type(leaf), leaf)


compiler.append(Compiled)
