"""`map_location`: on which device the storages of a file go."""

from collections.abc import Mapping
from typing import Any

import jax

from jtorch import _types
from jtorch.ops import _args
from jtorch.serialization.storages import Storage


class Places:
    """Where storages go, given where they were.

    Args:
        map_location: None keeps each where it was; a device, for all; a mapping of names of devices; or a function of
            the storage and the name that returns the storage, or None to keep it where it was.
    """

    def __init__(self, map_location: Any):
        self._map = map_location

    def of(self, storage: Storage, location: str) -> Storage:
        """The storage with its device.

        Raises: RuntimeError where there is no such device.
        """
        to: Any = self._map
        if callable(to):
            moved: Any = to(storage, location)
            if moved is not None:
                return moved
            to = None
        if isinstance(to, Mapping):
            to = to.get(location)
        storage.place = _device(location if to is None else to, to is None)
        return storage


def _device(location: Any, from_file: bool) -> _types.device | None:
    device = _types.device(location)
    there = device.type == "cpu" or device.type in {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    _args.check(
        there or not from_file,
        f"Attempting to deserialize object on a {device.type.upper()} device, expected one to be there, got none; use "
        "load(..., map_location='cpu') to put it on the CPU",
        RuntimeError,
    )
    return None if from_file and device.type == "cpu" and jax.default_backend() == "cpu" else device
