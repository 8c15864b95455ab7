"""Switches of CUDA's libraries. `matmul.allow_tf32` does what it says; the others have nothing to switch here."""

import contextlib
from collections.abc import Iterator
from typing import Any

from jtorch import _devices, _settings


def is_built() -> bool:
    """Whether JAX has a GPU."""
    return bool(_devices.found("cuda"))


class _Matmul:
    """The switches of matrix products: `allow_tf32` is `set_float32_matmul_precision`'s `high`."""

    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True
    allow_fp16_accumulation = False

    @property
    def allow_tf32(self) -> bool:
        """Whether float32 products may be of less precision."""
        return _settings.get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        _settings.set_float32_matmul_precision("high" if value else "highest")

    @property
    def fp32_precision(self) -> str:
        """`tf32` where float32 products may be of less precision, else `ieee`."""
        return "tf32" if self.allow_tf32 else "ieee"

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        if value not in ("ieee", "tf32", "none"):
            raise RuntimeError(f"fp32_precision: expected ieee, tf32 or none, got {value!r}")
        self.allow_tf32 = value == "tf32"


matmul = _Matmul()

_sdp = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def flash_sdp_enabled() -> bool:
    """What `enable_flash_sdp` set: XLA chooses how attention runs."""
    return _sdp["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """What `enable_mem_efficient_sdp` set: XLA chooses how attention runs."""
    return _sdp["mem_efficient"]


def math_sdp_enabled() -> bool:
    """What `enable_math_sdp` set: XLA chooses how attention runs."""
    return _sdp["math"]


def cudnn_sdp_enabled() -> bool:
    """What `enable_cudnn_sdp` set: XLA chooses how attention runs."""
    return _sdp["cudnn"]


def enable_flash_sdp(enabled: bool) -> None:
    """Noted: XLA chooses how attention runs."""
    _sdp["flash"] = enabled


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Noted: XLA chooses how attention runs."""
    _sdp["mem_efficient"] = enabled


def enable_math_sdp(enabled: bool) -> None:
    """Noted: XLA chooses how attention runs."""
    _sdp["math"] = enabled


def enable_cudnn_sdp(enabled: bool) -> None:
    """Noted: XLA chooses how attention runs."""
    _sdp["cudnn"] = enabled


@contextlib.contextmanager
def sdp_kernel(enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True,
               enable_cudnn: bool = True) -> Iterator[None]:  # fmt: skip
    """The switches of attention have these values inside."""
    before = dict(_sdp)
    _sdp.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield
    finally:
        _sdp.update(before)


def preferred_linalg_library(backend: Any = None) -> str:
    """`default`: XLA chooses."""
    return "default"


preferred_blas_library = preferred_linalg_library
