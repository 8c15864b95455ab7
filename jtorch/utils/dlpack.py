"""Memory shared with other libraries, by DLPack."""

from typing import Any

from jtorch._creation import from_dlpack as from_dlpack


def to_dlpack(tensor: Any) -> Any:
    """A capsule that another library's `from_dlpack` takes, once."""
    return tensor.__dlpack__()
