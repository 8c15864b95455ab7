"""Streams and events of GPUs: see `_streams`."""

import contextlib
from collections.abc import Iterator
from typing import Any

from jtorch import _streams


class Stream(_streams.Stream):
    """The one queue of a GPU. As a context it changes nothing.

    Raises:
        RuntimeError: it is not there.
    """

    kind = "cuda"


class Event(_streams.Event):
    """A moment in a GPU's work. Recording waits for what was started.

    Raises:
        RuntimeError: there is no GPU.
    """

    kind = "cuda"

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False):
        super().__init__(enable_timing=enable_timing, blocking=blocking, interprocess=interprocess)


def current_stream(device: Any = None) -> Stream:
    """The one queue of a GPU.

    Raises:
        RuntimeError: it is not there.
    """
    return Stream(device)


default_stream = current_stream


@contextlib.contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """Nothing changes inside: JAX orders work by the data it needs."""
    yield


def set_stream(stream: Stream) -> None:
    """Nothing: there is one stream."""


def is_current_stream_capturing() -> bool:
    """Never: `jtorch.compile` makes one program of a step instead."""
    return False


StreamContext = stream
