"""Adam's relatives: Adamax, NAdam and RAdam, with running averages of the gradient and of its size."""

from types import SimpleNamespace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from jtorch._tensor import Tensor
from jtorch.optim._algorithm import Algorithm
from jtorch.optim._parts import (
    average,
    chained,
    check_lr,
    check_number,
    decay_weights,
    power_rest,
    scalar,
    widest,
    zeros,
)
from jtorch.optim._program import Decay


class _Moments(Algorithm):
    """What the three share: their settings."""

    _numbers = ("lr", "betas", "eps", "weight_decay")
    _decays = ("betas",)

    @staticmethod
    def _check(lr: Any, betas: Any, eps: Any, weight_decay: Any) -> None:
        check_lr(lr)
        check_number(eps, "epsilon value")
        for i, beta in enumerate(betas):
            check_number(beta, f"beta parameter at index {i}", below=1)
        check_number(weight_decay, "weight_decay value")


def scale_by_adamax(first: Decay, second: Decay, eps: Any) -> optax.GradientTransformation:
    """The running mean of updates, corrected for its start at 0, over the largest of their sizes, older ones fading.

    State: `step`, `exp_avg`, `exp_inf`. Differs from `optax.scale_by_adamax`: eps is added before the maximum.
    Source: Kingma & Ba, arXiv 1412.6980 (2014).
    """

    def init(params):
        return {"step": scalar(), "exp_avg": zeros(params), "exp_inf": zeros(params)}

    def update(updates, state, params=None):
        step = state["step"] + 1
        mean = average(state["exp_avg"], updates, first)
        largest = jax.tree.map(lambda o, g: jnp.maximum(o * second.keep, jnp.abs(g) + eps), state["exp_inf"], updates)
        rest = power_rest(first, step)
        out = jax.tree.map(lambda m, v: m / (rest.astype(m.dtype) * v), mean, largest)
        return out, {"step": step, "exp_avg": mean, "exp_inf": largest}

    return optax.GradientTransformation(init, update)


class Adamax(_Moments):
    """Adam with the largest size in place of the root mean square: `p -= lr / (1 - beta1**t) * mean / largest`.

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        weight_decay: adds `weight_decay * p` to the gradient.
        maximize: climb instead.
        foreach, capturable: accepted for torch's sake; the step is one program anyway.
        differentiable: record the step, for gradients through it.

    Raises:
        ValueError: a setting is out of range.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        self._check(lr, betas, eps, weight_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """Weight decay, the two averages, learning rate."""
        return chained(
            at.maximize and optax.scale(-1.0),
            decay_weights(at.weight_decay),
            scale_by_adamax(*at.betas, at.eps),  # type: ignore
            optax.scale_by_learning_rate(at.lr),
        )


def _decayed(decoupled: bool, weight_decay: Any, scale: optax.GradientTransformation, at: SimpleNamespace) -> Any:
    """A chain with weight decay before the averages, or after them where it is decoupled."""
    decay = decay_weights(weight_decay)
    return chained(
        at.maximize and optax.scale(-1.0),
        not decoupled and decay,
        scale,
        decoupled and decay,
        optax.scale_by_learning_rate(at.lr),
    )


def scale_by_nadam(first: Decay, second: Decay, eps: Any, momentum_decay: Any) -> optax.GradientTransformation:
    """Adam's updates with Nesterov momentum, whose strength `beta1 * (1 - 0.96**(t * momentum_decay) / 2)` grows.

    State: `step`, `mu_product`, `exp_avg`, `exp_avg_sq`. Differs from `optax.scale_by_adam(nesterov=True)`, where it
    does not. Source: Dozat, ICLR workshop (2016).
    """

    def init(params):
        return {"step": scalar(), "mu_product": scalar(1.0), "exp_avg": zeros(params), "exp_avg_sq": zeros(params)}

    def update(updates, state, params=None):
        step = state["step"] + 1
        keep, decay = widest(first.keep), widest(momentum_decay)
        now, following = (keep * (1 - 0.5 * 0.96 ** (widest(t) * decay)) for t in (step, step + 1))
        product = state["mu_product"] * now.astype(state["mu_product"].dtype)
        mean = average(state["exp_avg"], updates, first)
        square = average(state["exp_avg_sq"], jax.tree.map(jnp.square, updates), second)
        rest = power_rest(second, step)
        of_gradient = (1 - now) / (1 - widest(product))
        of_mean = following / (1 - widest(product) * following)

        def scaled(g, m, v):
            below = jnp.sqrt(v / rest.astype(v.dtype)) + eps
            return (of_gradient.astype(g.dtype) * g + of_mean.astype(g.dtype) * m) / below

        out = jax.tree.map(scaled, updates, mean, square)
        return out, {"step": step, "mu_product": product, "exp_avg": mean, "exp_avg_sq": square}

    return optax.GradientTransformation(init, update)


class NAdam(_Moments):
    """Adam with Nesterov momentum.

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        momentum_decay: how fast the momentum grows to `betas[0]`.
        weight_decay: adds `weight_decay * p` to the gradient; with `decoupled_weight_decay`, takes
            `lr * weight_decay * p` from the parameter instead.
        maximize: climb instead.
        foreach, capturable: accepted for torch's sake; the step is one program anyway.
        differentiable: record the step, for gradients through it.

    Raises:
        ValueError: a setting is out of range.
    """

    _numbers = ("lr", "betas", "eps", "weight_decay", "momentum_decay")
    _flags = ("decoupled_weight_decay", "maximize")
    _added: ClassVar = {**Algorithm._added, "decoupled_weight_decay": False}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        self._check(lr, betas, eps, weight_decay)
        check_number(momentum_decay, "momentum_decay value")
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """Weight decay before or after the averages, learning rate."""
        scale = scale_by_nadam(*at.betas, at.eps, at.momentum_decay)  # type: ignore
        return _decayed(at.decoupled_weight_decay, at.weight_decay, scale, at)


def _observations(step: Any, second: Decay) -> tuple[Any, Any]:
    """How many gradients the running mean square is worth, at last and now.

    `2 / take - 1 - 2 * t * keep**t / (1 - keep**t)`, where float32 alone would leave no digit of its first values.
    """
    take, t = widest(second.take), widest(step)
    rate = -jnp.log1p(-take)
    y = t * rate
    near = y / 2 - y**2 / 12 + y**4 / 720  # 1 - y / (exp(y) - 1), where that would cancel
    part = jnp.where(y < 0.2, near, 1 - y / jnp.expm1(jnp.maximum(y, 0.1)))
    offset = jnp.where(take < 1e-2, take / 6 + take**2 / 12, 2 / take - 2 / rate - 1)
    return 2 / take - 1, 2 / rate * part + offset


def scale_by_radam(first: Decay, second: Decay, eps: Any) -> optax.GradientTransformation:
    """Adam's updates scaled by how far the mean square can be trusted, or the mean alone before it can at all.

    State: `step`, `exp_avg`, `exp_avg_sq`. Differs from `optax.scale_by_radam`: eps is added to the root.
    Source: Liu et al., arXiv 1908.03265 (2019).
    """

    def init(params):
        return {"step": scalar(), "exp_avg": zeros(params), "exp_avg_sq": zeros(params)}

    def update(updates, state, params=None):
        step = state["step"] + 1
        mean = average(state["exp_avg"], updates, first)
        square = average(state["exp_avg_sq"], jax.tree.map(jnp.square, updates), second)
        rest, root = power_rest(first, step), jnp.sqrt(power_rest(second, step))
        most, now = _observations(step, second)
        trusted = now > 5
        safe = jnp.where(trusted, now, 6.0)
        trust = jnp.sqrt((safe - 4) * (safe - 2) * most / ((most - 4) * (most - 2) * safe))

        def scaled(m, v):
            factor = (trust * root).astype(m.dtype) / (jnp.sqrt(v) + eps)
            return m / rest.astype(m.dtype) * jnp.where(trusted, factor, 1)

        return jax.tree.map(scaled, mean, square), {"step": step, "exp_avg": mean, "exp_avg_sq": square}

    return optax.GradientTransformation(init, update)


class RAdam(_Moments):
    """Adam that takes plain momentum steps at first, while its mean square rests on few gradients.

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        weight_decay: adds `weight_decay * p` to the gradient; with `decoupled_weight_decay`, takes
            `lr * weight_decay * p` from the parameter instead.
        maximize: climb instead.
        foreach, capturable: accepted for torch's sake; the step is one program anyway.
        differentiable: record the step, for gradients through it.

    Raises:
        ValueError: a setting is out of range.
    """

    _flags = ("decoupled_weight_decay", "maximize")
    _added: ClassVar = {**Algorithm._added, "decoupled_weight_decay": False}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        self._check(lr, betas, eps, weight_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """Weight decay before or after the averages, learning rate."""
        scale = scale_by_radam(*at.betas, at.eps)  # type: ignore
        return _decayed(at.decoupled_weight_decay, at.weight_decay, scale, at)
