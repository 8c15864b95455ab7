"""Global settings: the default dtype, the precision of matmuls, and those of torch's that have nothing to set here."""

import ctypes
import os
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from jtorch import _devices, _types
from jtorch.ops import _args, programs

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
    programs.forget_programs()


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

    Anything else is warned of, and changes nothing.
    """
    if precision not in _PRECISIONS:
        warnings.warn(
            f"set_float32_matmul_precision(): expected highest, high or medium, got {precision!r}", stacklevel=2
        )
        return
    _args.set_precision(_PRECISIONS[precision])
    programs.forget_programs()


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
    """The number of CPU cores that this process may use; XLA decides how many of them it uses."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


get_num_interop_threads = get_num_threads


def set_num_threads(n: int) -> None:
    """Accepted; XLA decides by itself (see its flag `--xla_cpu_multi_thread_eigen`).

    Raises:
        RuntimeError: it is not positive.
    """
    _args.check(n > 0, f"set_num_threads(): expected a positive number, got {n}", RuntimeError)


set_num_interop_threads = set_num_threads

_deterministic = {"mode": False, "warn_only": False}


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Noted. On a CPU XLA's results are the same each time anyway; on a GPU only where its flag was set at the start.

    Differs: where torch raises when an algorithm would differ from run to run, this warns when it is switched on.
    """
    _deterministic.update(mode=mode, warn_only=warn_only)
    flags = os.environ.get("XLA_FLAGS", "")
    if mode and _devices.found("cuda") and "deterministic_ops" not in flags:
        warnings.warn(
            "use_deterministic_algorithms(): expected XLA to be started for it, got a GPU without the flag; set "
            "XLA_FLAGS=--xla_gpu_deterministic_ops=true before Python starts",
            stacklevel=2,
        )


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` set."""
    return _deterministic["mode"]


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What `use_deterministic_algorithms` set."""
    return _deterministic["warn_only"]


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """`use_deterministic_algorithms`, by a level: `default` (0), `warn` (1) or `error` (2).

    Raises:
        RuntimeError: it is none of these.
    """
    levels = {"default": 0, "warn": 1, "error": 2}
    level = levels.get(debug_mode) if isinstance(debug_mode, str) else debug_mode
    if level not in (0, 1, 2):
        raise RuntimeError(f"set_deterministic_debug_mode(): expected default, warn or error, got {debug_mode!r}")
    use_deterministic_algorithms(level > 0, warn_only=level == 1)


def get_deterministic_debug_mode() -> int:
    """0 where results may differ from run to run, 1 where torch would warn of it, 2 where it would raise."""
    return 0 if not _deterministic["mode"] else 1 if _deterministic["warn_only"] else 2


def _assert(condition: Any, message: str) -> None:
    """Raise an AssertionError unless the condition holds; inside `jtorch.compile` it has to be known."""
    assert condition, message


def set_flush_denormal(mode: bool) -> bool:
    """False: it cannot be set, XLA decides."""
    return False


_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1  # what mallopt() of glibc calls them


def keep_memory() -> bool:
    """Let the process keep the memory that it frees, for the next allocation, on Linux with glibc.

    Each call of a compiled program allocates its temporary memory on the host and frees it at the end. glibc hands large
    blocks back to the system, which has to map and clear them anew in the next call: up to a third of a training step,
    most on virtual machines. Kept, memory that was in use once stays with the process until it ends, and all threads share
    one heap. It holds for the whole process, NumPy and PyTorch included, and has to come before threads allocate: first of
    all in a program. The environment variable `JTORCH_KEEP_MEMORY=1` does the same when jtorch is imported, and warns where
    it is too late.

    Returns:
        Whether it is kept: False with another C library, where nothing changes.

    Raises:
        RuntimeError: it is too late, as other threads, such as those of JAX, have heaps of their own already.
    """
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if not (hasattr(libc, "mallopt") and hasattr(libc, "gnu_get_libc_version")):
        return False
    if _heaps(libc) > 1:
        raise RuntimeError(
            "keep_memory(): expected no threads with heaps of their own, but computations have run; call it first of all"
        )
    return all([libc.mallopt(_ARENA_MAX, 1), libc.mallopt(_MMAP_MAX, 0), libc.mallopt(_TRIM_THRESHOLD, -1)])


def _heaps(libc: Any) -> int:
    """How many heaps glibc has made, by its own report."""
    libc.open_memstream.restype = ctypes.c_void_p
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = ctypes.c_void_p(libc.open_memstream(ctypes.byref(text), ctypes.byref(size)))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    report = ctypes.string_at(text.value or 0, size.value)
    libc.free(text)
    return report.count(b"<heap ")


def get_default_device() -> _types.device:
    """The device that new tensors are on."""
    return _types.device_of(jax.numpy.zeros(()))


def set_default_device(device: Any) -> None:
    """Choose the device of new tensors; None for JAX's own choice. It is JAX's `jax_default_device` that is set.

    Raises:
        RuntimeError: it is not there.
    """
    jax.config.update("jax_default_device", None if device is None else _types.device(device).jax())


if os.environ.get("JTORCH_COMPILATION_CACHE"):
    enable_compilation_cache(os.environ["JTORCH_COMPILATION_CACHE"])
if os.environ.get("JTORCH_KEEP_MEMORY") == "1":
    try:
        keep_memory()
    except RuntimeError as error:
        warnings.warn(f"JTORCH_KEEP_MEMORY=1 has no effect: {error}", stacklevel=2)
