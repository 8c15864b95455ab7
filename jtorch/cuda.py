"""GPUs, as JAX sees them: honest answers to what scripts ask before they choose a device."""

from typing import Any

import jax

from jtorch import _types, random


def _devices() -> list:
    try:
        return jax.devices("gpu")
    except RuntimeError:
        return []


def is_available() -> bool:
    """Whether JAX has a GPU."""
    return bool(_devices())


def device_count() -> int:
    """The number of GPUs."""
    return len(_devices())


def current_device() -> int:
    """The GPU that new tensors go to; the first.

    Raises:
        RuntimeError: there is none.
    """
    return _types.device("cuda").jax().id


def get_device_name(device: Any = None) -> str:
    """The name of a GPU."""
    return _types.device("cuda" if device is None else device).jax().device_kind


def synchronize(device: Any = None) -> None:
    """Wait until everything that was started has finished."""
    (jax.numpy.zeros(()) + 0).block_until_ready()


def empty_cache() -> None:
    """Nothing: JAX manages its memory."""


def manual_seed(seed: int) -> None:
    """Seed the default generator."""
    random.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the default generator."""
    random.manual_seed(seed)
