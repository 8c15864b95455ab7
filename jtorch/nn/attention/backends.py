"""The choice of a kernel for attention, accepted and without effect: XLA makes the kernel."""

import contextlib
import enum
from collections.abc import Iterator

from jtorch.ops._args import check


class SDPBackend(enum.IntEnum):
    """torch's kernels for attention."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends: list[SDPBackend] | SDPBackend, set_priority: bool = False) -> Iterator[dict]:
    """A context in which torch would use these kernels for attention; here nothing changes.

    Raises:
        AssertionError: neither a backend nor a list.
    """
    known = isinstance(backends, list | SDPBackend)
    check(known, f"sdpa_kernel(): expected SDPBackends, got {type(backends).__name__}", AssertionError)
    yield {}
