"""What programs are compiled for, and how XLA is told to compile them there."""

import functools
import os

import jax

_LIBRARY = "xla_cpu_experimental_ynn_fusion_type"


def on_cpu() -> bool:
    """Whether programs are compiled for the CPU."""
    return jax.default_backend() == "cpu"


def compiler_options() -> dict[str, str]:
    """The options that `jtorch.compile` gives XLA; for a step of one's own, `jax.jit(step, compiler_options=...)`.

    On CPUs XLA hands convolutions to YNNPACK where it can, which takes several times longer than XLA's other library for
    the gradient of a kernel on large images. The options leave it products and sums alone. They are empty on other
    devices, where this XLA does not know them, and where `XLA_FLAGS` has a choice of its own.

    Returns:
        A new dictionary for the default backend.

    Example:
        >>> import jax, jtorch
        >>> step = jax.jit(lambda x, w: jtorch.nn.functional.conv2d(x, w), compiler_options=jtorch.compiler_options())
        >>> step(jax.numpy.ones((1, 3, 8, 8)), jax.numpy.ones((4, 3, 3, 3))).shape
        (1, 4, 6, 6)
    """
    return dict(_options()) if on_cpu() and _LIBRARY not in os.environ.get("XLA_FLAGS", "") else {}


@functools.cache
def _options() -> dict[str, str]:
    """The options for CPUs as far as XLA takes them, which a trial tells."""
    options = {_LIBRARY: "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options
