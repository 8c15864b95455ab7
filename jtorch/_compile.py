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

from jtorch._capture import state
from jtorch._entry import Entry, aliases, is_array, is_tensor
from jtorch._explain import Explanation, reason, report
from jtorch._scan import Loop, length_of, stacked, step_of
from jtorch._tensor import Tensor
from jtorch.autograd.grad_mode import is_grad_enabled
from jtorch.nn.module import Module, compiler
from jtorch.ops import _args
from jtorch.ops._autocast import running
from jtorch.ops._backend import in_foreign_trace

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
        return self._entry(leaves, tree).run([x for x in leaves if is_array(x)])

    def scan(self, *args: Any, **kwargs: Any) -> Any:
        """As many calls in one program as the arguments are long: a loop in XLA, for steps so short that Python costs more.

        Does what calls on `x[0]`, `x[1]`, ... of every tensor and array among the arguments do, and stacks what they
        return. The other arguments are the same for all. While the state is not settled yet (on the first
        call, as a rule: gradients are None and the optimizer has no state) the calls are made one by one.

        Shape: tensors (K, *) for K steps on (*) -> results (K, *)

        Raises:
            ValueError: the arguments are not of one length.
            RuntimeError: the function leaves a graph behind, writes its arguments, sets attributes of modules or
                returns what was there before.

        Example:
            >>> import jtorch
            >>> total = jtorch.zeros(2)
            >>> @jtorch.compile
            ... def add(x):
            ...     total.add_(x)
            ...     return total.sum()
            >>> add.scan(jtorch.tensor([[1., 2.], [3., 4.]]))
            tensor([ 3., 10.])
        """
        leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=is_tensor)
        count = length_of(leaves)
        first = step_of(leaves, 0)
        entry = next((e for e in self._entries.get(self._key(first, tree), ()) if e.fits()), None)
        if state.session is None and not in_foreign_trace() and entry is not None and entry.settled:
            if entry.loop is None:
                entry.loop = Loop(entry)
            return entry.loop.run([x for x in leaves if is_array(x)])
        results = []
        for place in range(count):
            args, kwargs = jax.tree.unflatten(tree, step_of(leaves, place))
            results.append(self(*args, **kwargs))
        self._note_settled(first, tree)
        return stacked(results)

    def explain(self) -> Explanation:
        """What was captured, why each program was made, and its cost by XLA's own account, to print or to look into.

        Each program is compiled once more for it, unless the persistent cache has it. See `enable_compilation_cache`.
        """
        made = sorted((e for entries in self._entries.values() for e in entries), key=lambda entry: entry.number)
        return Explanation(getattr(self.function, "__qualname__", repr(self.function)), [report(e) for e in made])

    def _note_settled(self, leaves: list, tree: Any) -> None:
        """Note which program is the one for the state that it leaves itself."""
        for entry in self._entries.get(self._key(leaves, tree), ()):
            entry.settled = entry.fits()

    def _key(self, leaves: list, tree: Any) -> tuple:
        """What of the arguments and modes a program depends on."""
        inputs = [x for x in leaves if is_array(x)]
        return (
            tree,
            tuple(_signature(x) for x in leaves),
            aliases(inputs),
            is_grad_enabled(),
            state.inference,
            (*_args.settings(), running.all()),
        )

    def _entry(self, leaves: list, tree: Any) -> Entry:
        """The program for a call, made if there is none that fits."""
        key = self._key(leaves, tree)
        for entry in self._entries.get(key, ()):
            if entry.fits():
                return entry
        entry = Entry(self.function, leaves, tree, reason(key, self._entries))
        self.traces += 1
        entry.number = self.traces
        self._entries.setdefault(key, []).append(entry)
        self._warn()
        return entry

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
        found = (array.shape, array.dtype, None if edge is None else leaf._node is None)
        return (*found, "inference") if leaf._inference else found
    if isinstance(leaf, jax.Array | np.ndarray):
        return (leaf.shape, leaf.dtype)
    try:
        hash(leaf)
    except TypeError:
        return id(leaf)
    return (type(leaf), leaf)


compiler.append(Compiled)
