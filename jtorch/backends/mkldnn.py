"""Switches of oneDNN, none of which means anything here: XLA chooses its algorithms by itself."""

import contextlib
from collections.abc import Iterator

enabled = True
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False: what XLA uses cannot be asked for."""
    return False


@contextlib.contextmanager
def flags(enabled: bool = False, deterministic: bool = False, allow_tf32: bool = True,
          fp32_precision: str = "none") -> Iterator[None]:  # fmt: skip
    """Nothing changes inside."""
    yield
