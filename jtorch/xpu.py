"""XPU devices, of which JAX has none here: what scripts ask before they choose another device."""

from jtorch.ops._args import fail


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def empty_cache() -> None:
    """Nothing: there is no such memory."""


def manual_seed(seed: int) -> None:
    """Nothing: there is no such device."""


def synchronize() -> None:
    """Nothing can be waited for.

    Raises:
        RuntimeError: always.
    """
    fail("synchronize(): expected an xpu device, got a JAX without one", RuntimeError)
