"""Rprop, which looks at nothing but the signs of gradients, and ASGD, which averages where it has been."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jtorch._tensor import Tensor
from jtorch.ops import _args
from jtorch.optim._algorithm import Algorithm
from jtorch.optim._parts import chained, check_lr, check_number, decay_weights, scalar, widest, zeros


def scale_by_rprop(lr: Any, etas: tuple, step_sizes: tuple) -> optax.GradientTransformation:
    """Steps against the sign of the update, of a size that grows while the sign stays and shrinks where it turns.

    State: `step`, `prev`, `step_size`. Source: Riedmiller & Braun, IEEE ICNN (1993).
    """
    shrink, grow = etas

    def init(params):
        sizes = jax.tree.map(lambda x: x + jnp.asarray(lr, x.dtype), zeros(params))
        return {"step": scalar(), "prev": zeros(params), "step_size": sizes}

    def update(updates, state, params=None):
        turned = jax.tree.map(lambda g, p: g * p < 0, updates, state["prev"])

        def sized(size, g, p):
            factor = jnp.where(g * p > 0, grow, jnp.where(g * p < 0, shrink, 1.0))
            return jnp.clip(size * factor.astype(size.dtype), *step_sizes)

        sizes = jax.tree.map(sized, state["step_size"], updates, state["prev"])
        kept = jax.tree.map(lambda g, t: jnp.where(t, 0, g), updates, turned)
        out = jax.tree.map(lambda g, s: -jnp.sign(g) * s, kept, sizes)
        return out, {"step": state["step"] + 1, "prev": kept, "step_size": sizes}

    return optax.GradientTransformation(init, update)


class Rprop(Algorithm):
    """Resilient steps: each element has a step size of its own, and only the sign of its gradient counts.

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        lr: the first step size.
        etas: by how much it shrinks and grows.
        step_sizes: the smallest and the largest.
        maximize: climb instead.
        foreach, capturable: accepted for torch's sake; the step is one program anyway.
        differentiable: record the step, for gradients through it.

    Raises:
        ValueError: a setting is out of range.
    """

    _numbers = ("lr", "etas", "step_sizes")
    _parts = ()

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        _args.check(0 < etas[0] < 1 < etas[1], f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """The signs; there is no learning rate after the first step."""
        return chained(at.maximize and optax.scale(-1.0), scale_by_rprop(at.lr, at.etas, at.step_sizes))


def averaged_descent(lr: Any, lambd: Any, alpha: Any, t0: Any) -> optax.GradientTransformation:
    """Gradient descent whose rate falls, with the average of the parameters from step `t0` on beside it.

    State: `step`, `eta` (the rate), `mu` (what the average takes), `ax` (the average). Source: Polyak & Juditsky, SIAM
    Journal on Control and Optimization 30 (1992).
    """

    def init(params):
        rate = jnp.asarray(lr, scalar().dtype)
        return {"step": scalar(), "eta": rate, "mu": scalar(1.0), "ax": zeros(params)}

    def update(updates, state, params=None):
        step, rate, share = state["step"] + 1, state["eta"], state["mu"]
        out = jax.tree.map(lambda g, p: -rate.astype(p.dtype) * (lambd * p + g), updates, params)

        def averaged(a, p, u):
            return jnp.where(share == 1, p + u, a + (p + u - a) * share.astype(p.dtype))

        mean = jax.tree.map(averaged, state["ax"], params, out)
        start, count = widest(lr), widest(step)
        narrow = scalar().dtype  # torch rounds both to it, also where loaded state is in the parameter's dtype
        rate = (start / (1 + widest(lambd) * start * count) ** widest(alpha)).astype(narrow).astype(rate.dtype)
        share = (1 / jnp.maximum(1, count - widest(t0))).astype(narrow).astype(share.dtype)
        return out, {"step": step, "eta": rate, "mu": share, "ax": mean}

    return optax.GradientTransformation(init, update)


class ASGD(Algorithm):
    """Gradient descent that keeps the average of where it has been, `state[p]["ax"]`.

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        lambd: how fast parameters decay and, with `alpha`, the rate falls.
        t0: the step after which averaging starts.
        weight_decay: adds `weight_decay * p` to the gradient.
        maximize: climb instead.
        foreach, capturable: accepted for torch's sake; the step is one program anyway.
        differentiable: record the step, for gradients through it.

    Raises:
        ValueError: a setting is out of range.
    """

    _numbers = ("lr", "lambd", "alpha", "t0", "weight_decay")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        check_lr(lr)
        check_number(weight_decay, "weight_decay value")
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """Weight decay, then descent."""
        return chained(
            at.maximize and optax.scale(-1.0),
            decay_weights(at.weight_decay),
            averaged_descent(at.lr, at.lambd, at.alpha, at.t0),
        )
