"""Global settings: the default dtype, the precision of matmuls, and those of torch's that have nothing to set here."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from jtorch import _types
from jtorch.ops import _args, _op

_PRECISIONS = {
    "highest": jax.lax.Precision.HIGHEST,
    "high": jax.lax.Precision.HIGH,
    "medium": jax.lax.Precision.DEFAULT,
}


def set_default_dtype(d: Any) -> None:
    """Set the dtype of float results that nothing else decides.

    Raises:
        TypeError: it is no float dtype.
    """
    if not _args.is_float(np.dtype(d)):
        raise TypeError("only floating-point types are supported as the default type")
    _args.set_default_float(d)
    _op.forget_programs()


def get_default_dtype() -> _types.dtype:
    """The dtype of float results that nothing else decides."""
    return _types.of_array(_args.default_float())


def set_default_tensor_type(t: Any) -> None:
    """Set the default dtype by a tensor type, such as `torch.FloatTensor`, or its name."""
    set_default_dtype(_types.dtype_of_type(t) if isinstance(t, str) else getattr(t, "dtype", t))


def set_float32_matmul_precision(precision: str) -> None:
    """Trade the precision of float32 matmuls and convolutions for speed on hardware that can.

    Args:
        precision: `highest` (full float32, the default), `high` (three bfloat16 passes, or TF32) or `medium`.

    Raises:
        RuntimeError: it is none of these.
    """
    if precision not in _PRECISIONS:
        raise RuntimeError(f"set_float32_matmul_precision(): expected highest, high or medium, got {precision!r}")
    _args.set_precision(_PRECISIONS[precision])
    _op.forget_programs()


def get_float32_matmul_precision() -> str:
    """The precision that `set_float32_matmul_precision` set."""
    return next(name for name, value in _PRECISIONS.items() if value == _args.precision())


def enable_compilation_cache(directory: Any = None) -> Path:
    """Keep compiled programs in files from now on, so that the next process finds them there; the directory is returned.

    Sets JAX's own cache to keep every program, however quickly it was compiled. The environment variable
    `JTORCH_COMPILATION_CACHE`, set to a directory, does the same when jtorch is imported.

    Args:
        directory: where; None means `~/.cache/jtorch`, or the like under `XDG_CACHE_HOME`.

    Raises:
        OSError: the directory cannot be made.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    where = Path(directory) if directory is not None else Path(home) / "jtorch"
    where.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(where))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()
    return where


def get_num_threads() -> int:
    """The number of CPU cores; XLA decides how many of them it uses."""
    return os.cpu_count() or 1


def set_num_threads(n: int) -> None:
    """Accepted; XLA decides by itself (see its flag `--xla_cpu_multi_thread_eigen`)."""


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted; on a CPU XLA's results are the same each time, on a GPU see `--xla_gpu_deterministic_ops`."""


def are_deterministic_algorithms_enabled() -> bool:
    """Always False: nothing was switched."""
    return False


def get_default_device() -> _types.device:
    """The device that new tensors are on."""
    return _types.device_of(jax.numpy.zeros(()))


if os.environ.get("JTORCH_COMPILATION_CACHE"):
    enable_compilation_cache(os.environ["JTORCH_COMPILATION_CACHE"])
