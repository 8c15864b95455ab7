"""`checkpoint`, which code written to spare memory calls. Here it gives the results and spares nothing."""

from collections.abc import Callable
from typing import Any


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable | None = None,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """What `function(*args, **kwargs)` returns, with its gradients.

    Differs: torch drops what the function has computed and computes it again in the backward pass; here it is kept, so
    memory is not spared, and what the function changes (the statistics of a batch norm) changes once, not twice. The
    options that steer the second run are accepted.
    """
    return function(*args, **kwargs)
