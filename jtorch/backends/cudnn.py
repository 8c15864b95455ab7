"""Switches of cuDNN, none of which means anything here: XLA chooses its algorithms by itself.

`deterministic` has its counterpart in XLA's flag `--xla_gpu_deterministic_ops`, which is read when JAX starts.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False: what XLA uses cannot be asked for."""
    return False


def version() -> int | None:
    """None: what XLA uses cannot be asked for."""
    return None


def is_acceptable(tensor: Any) -> bool:
    """False: no tensor is given to cuDNN by hand."""
    return False


def set_flags(**values: Any) -> dict[str, Any]:
    """Set several switches, those that are None excepted, and return what they were."""
    own = globals()
    before = {name: own[name.lstrip("_")] for name in values}
    own.update({name.lstrip("_"): value for name, value in values.items() if value is not None})
    return before


@contextlib.contextmanager
def flags(enabled: bool | None = False, benchmark: bool | None = False, benchmark_limit: int | None = 10,
          deterministic: bool | None = False, allow_tf32: bool | None = True,
          fp32_precision: str | None = "none") -> Iterator[None]:  # fmt: skip
    """The switches have these values inside."""
    before = set_flags(enabled=enabled, benchmark=benchmark, benchmark_limit=benchmark_limit,
                       deterministic=deterministic, allow_tf32=allow_tf32)  # fmt: skip
    try:
        yield
    finally:
        set_flags(**before)
