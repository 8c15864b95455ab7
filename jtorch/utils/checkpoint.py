"""Gradients that cost less memory: parts of a model whose inner values are computed again instead of kept."""

import contextlib
from collections.abc import Callable
from typing import Any

from jtorch import random
from jtorch._tensor import Tensor
from jtorch.autograd.recomputing import recomputed
from jtorch.func import _trees
from jtorch.ops._args import check


def noop_context_fn() -> tuple:
    """Two contexts that do nothing: for the first run and for the run for gradients."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(function: Callable, *args: Any, use_reentrant: bool | None = None,
               context_fn: Callable[[], tuple] = noop_context_fn, determinism_check: str = "default",
               debug: bool = False, early_stop: bool = True, preserve_rng_state: bool = True, **kwargs: Any) -> Any:  # fmt: skip
    """`function(*args, **kwargs)`, of which only the inputs are kept: it runs again when gradients are asked for.

    Works in eager and in compiled code, and for gradients of any order.

    Args:
        use_reentrant, debug, early_stop, determinism_check: accepted; there is one way here, which supports all that
            PyTorch's two ways do.
        context_fn: gives two contexts, for the first run and for the second.
        preserve_rng_state: whether the second run draws the same random numbers.

    Raises:
        RuntimeError: during backward, if the second run gives outputs of other shapes, or a tensor among the arguments
            has been changed in place since.

    Differs:
        In compiled code XLA is told not to share the two runs. On a CPU it shares them all the same, as it does for
        `jax.checkpoint`; there memory is saved in eager code only.

    Example:
        >>> import jtorch
        >>> from jtorch.utils.checkpoint import checkpoint
        >>> x = jtorch.ones(2, requires_grad=True)
        >>> checkpoint(lambda x: x.exp().sin(), x, use_reentrant=False).sum().backward()
        >>> x.grad
        tensor([-2.4783, -2.4783])
    """
    first, second = context_fn()
    drawn = random.drawing_state() if preserve_rng_state else None
    tensors = [x for x in _trees.leaves((args, kwargs)) if isinstance(x, Tensor)]
    before = None
    trees: list = []

    def run() -> list:
        out = function(*args, **kwargs)
        if before is None:
            trees.append(out)
        return _trees.leaves(out)

    @contextlib.contextmanager
    def again():
        versions = [x._writes for x in tensors]
        check(
            versions == before,
            "checkpoint(): expected its arguments to stay as they were until backward, got one that has been modified "
            "by an inplace operation",
            RuntimeError,
        )
        with second, random.replayed(drawn) if drawn is not None else contextlib.nullcontext():
            yield

    with first:
        outs = recomputed(run, again)
    before = [x._writes for x in tensors]
    return _trees.filled(trees.pop(), iter(outs))


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = None,
                          **kwargs: Any) -> Any:  # fmt: skip
    """The output of modules or functions one after another, in as many checkpoints as `segments`, but for the last.

    Args:
        functions: a Sequential or a list.

    Raises:
        ValueError: something else is asked for by a keyword.
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    check(not kwargs, f"Unexpected keyword arguments: {','.join(kwargs)}")
    steps = list(functions)
    size = max(len(steps) // segments, 1)

    def chain(part: list) -> Callable:
        def run(value):
            for step in part:
                value = step(value)
            return value

        return run

    last = size * (segments - 1)
    for start in range(0, last, size):
        part = chain(steps[start : start + size])
        input = checkpoint(part, input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return chain(steps[last:])(input)
