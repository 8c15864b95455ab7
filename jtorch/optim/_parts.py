"""What the algorithms are put together from: fresh state, averages, chains, and the checks of settings."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from jtorch._tensor import Tensor
from jtorch.ops import _args
from jtorch.optim._program import Decay

# state


def zeros(params: Any) -> Any:
    """A tree of zeros like another one."""
    return jax.tree.map(zeros_beside, params)


def zeros_beside(array: Any) -> Any:
    """Zeros of an array's shape on its devices, without a program for each shape where it is not traced."""
    if isinstance(array, Tracer):
        return jnp.zeros_like(array)
    zeros = np.zeros(array.shape, array.dtype)
    return jax.device_put(zeros, array.sharding if array.committed else None)


def scalar(value: float = 0.0) -> Any:
    """A number as state."""
    return jnp.asarray(value, _args.default_float())


def widest(number: Any) -> Any:
    """A number in double precision, where JAX has it: torch works out what depends on the step in Python."""
    return jnp.asarray(number, jax.dtypes.canonicalize_dtype(jnp.float64))


def average(old: Any, new: Any, decay: Decay) -> Any:
    """The running average of two trees."""
    return jax.tree.map(lambda o, n: decay.keep * o + decay.take * n, old, new)


def power_rest(decay: Decay, step: Any) -> Any:
    """1 - keep**step without cancellation: in float32 the plain formula has lost four digits for 0.999 at step 1."""
    return -jnp.expm1(widest(step) * jnp.log1p(-widest(decay.take)))


# chains


def chained(*parts: Any) -> optax.GradientTransformation:
    """The chain of those parts that are there."""
    return optax.chain(*(part for part in parts if part))


def decay_weights(weight_decay: Any) -> Any:
    """The part of a chain that adds the decay, False where there is none."""
    return weight_decay is not None and optax.add_decayed_weights(weight_decay)


# settings


def check_number(value: Any, name: str, below: float | None = None) -> None:
    """Check that a number, or a tensor of one, is not negative and perhaps below a limit."""
    number = value.item() if isinstance(value, Tensor) else value
    _args.check(number >= 0 and (below is None or number < below), f"Invalid {name}: {value}")


def check_lr(lr: Any) -> None:
    """Check a learning rate."""
    _args.check(not isinstance(lr, Tensor) or lr.numel() == 1, "Tensor lr must be 1-element")
    check_number(lr, "learning rate")


def check_fused(fused: Any, foreach: Any, differentiable: Any) -> None:
    """Check the ways of torch to step that exclude each other."""
    if fused:
        _args.check(not differentiable, "`fused` does not support `differentiable`", RuntimeError)
        _args.check(not foreach, "`fused` and `foreach` cannot be `True` together.", RuntimeError)


def check_betas(betas: Any, foreach: Any, capturable: Any) -> tuple:
    """The two betas as torch keeps them: floats, or 0-d tensors."""
    kinds = [isinstance(b, Tensor) for b in betas]
    sound = all(kinds) or all(isinstance(b, float) for b in betas)
    _args.check(sound, "betas must be either both floats or both Tensors")
    for i, beta in enumerate(betas if all(kinds) else ()):
        message = f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
        _args.check(capturable or not foreach, message)
        _args.check(beta.numel() == 1, f"Tensor betas[{i}] must be 1-element")
    return tuple(b.squeeze() if isinstance(b, Tensor) and b.ndim else b for b in betas)
