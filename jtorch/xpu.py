"""XPU devices, of which JAX has none here: what scripts ask before they choose another device."""

from jtorch.mps import device_count as device_count
from jtorch.mps import empty_cache as empty_cache
from jtorch.mps import is_available as is_available
from jtorch.mps import manual_seed as manual_seed
from jtorch.ops._args import fail


def synchronize() -> None:
    """Nothing can be waited for.

    Raises:
        RuntimeError: always.
    """
    fail("synchronize(): expected an xpu device, got a JAX without one", RuntimeError)
