"""What code says to torch's compiler. Here `jtorch.compile` traces everything, and what is traced becomes one program."""

from collections.abc import Callable
from typing import Any

from jtorch._capture import state
from jtorch._compile import compile as compile


def is_compiling() -> bool:
    """Whether `jtorch.compile` is tracing."""
    return state.session is not None


is_dynamo_compiling = is_compiling


def is_exporting() -> bool:
    """False: nothing is exported."""
    return False


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """The function itself. Differs: inside a compiled function it is traced like everything else."""
    return (lambda fn: fn) if fn is None else fn


def allow_in_graph(fn: Callable) -> Callable:
    """The function itself."""
    return fn


def assume_constant_result(fn: Callable) -> Callable:
    """The function itself."""
    return fn


def cudagraph_mark_step_begin() -> None:
    """Nothing: there are no CUDA graphs to mark."""


def reset() -> None:
    """Nothing: programs go with the functions that they were made of."""


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """`xla`."""
    return ["xla"]
