"""Algorithms that divide each element's gradient by what it has been so far: Adagrad, Adadelta, RMSprop."""

from types import SimpleNamespace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from jtorch._tensor import Tensor
from jtorch.ops import _args
from jtorch.optim._algorithm import Algorithm
from jtorch.optim._parts import average, chained, check_fused, check_lr, check_number, decay_weights, scalar, zeros
from jtorch.optim._program import Decay


def scale_by_adagrad(eps: Any, start: Any, lr_decay: Any) -> optax.GradientTransformation:
    """Updates divided by the root of the sum of their squares so far, and by `1 + lr_decay * (step - 1)`.

    State: `step`, `sum`. Differs from `optax.scale_by_rss`: eps is added to the root. Source: Duchi et al., JMLR 12 (2011).
    """

    def init(params):
        return {"step": scalar(), "sum": jax.tree.map(lambda x: x + start, zeros(params))}

    def update(updates, state, params=None):
        step = state["step"] + 1
        total = jax.tree.map(lambda s, g: s + g * g, state["sum"], updates)
        slower = 1 + (step - 1) * lr_decay
        out = jax.tree.map(lambda g, s: g / (jnp.sqrt(s) + eps) / slower.astype(g.dtype), updates, total)
        return out, {"step": step, "sum": total}

    return optax.GradientTransformation(init, update)


class Adagrad(Algorithm):
    """Steps that become smaller for an element the more its gradients have added up to.

    p -= lr / (1 + lr_decay * (t - 1)) * gradient / (sqrt(sum of squares) + eps)

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        weight_decay: adds `weight_decay * p` to the gradient.
        initial_accumulator_value: what the sum starts from.
        maximize: climb instead.
        foreach, fused: accepted for torch's sake; the step is one program anyway.
        differentiable: record the step, for gradients through it.

    Raises:
        ValueError: a setting is out of range.
    """

    _numbers = ("lr", "lr_decay", "eps", "weight_decay", "initial_accumulator_value")
    _added: ClassVar = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_lr(lr)
        check_number(lr_decay, "lr_decay value")
        check_number(weight_decay, "weight_decay value")
        check_number(initial_accumulator_value, "initial_accumulator_value value")
        check_number(eps, "epsilon value")
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)
        for group in self.param_groups:  # the sums are there before the first step
            form = self._form(group)
            for param in group["params"]:
                self._entries(param, group, form)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """Weight decay, the sum, learning rate."""
        return chained(
            at.maximize and optax.scale(-1.0),
            decay_weights(at.weight_decay),
            scale_by_adagrad(at.eps, at.initial_accumulator_value, at.lr_decay),
            optax.scale_by_learning_rate(at.lr),
        )


def scale_by_adadelta(rho: Decay, eps: Any) -> optax.GradientTransformation:
    """Updates in the proportion of the root mean square of past updates to that of past gradients.

    State: `step`, `square_avg`, `acc_delta`. Source: Zeiler, arXiv 1212.5701 (2012).
    """

    def init(params):
        return {"step": scalar(), "square_avg": zeros(params), "acc_delta": zeros(params)}

    def update(updates, state, params=None):
        square = average(state["square_avg"], jax.tree.map(jnp.square, updates), rho)

        def scaled(g, s, a):
            return jnp.sqrt(a + eps) / jnp.sqrt(s + eps) * g

        out = jax.tree.map(scaled, updates, square, state["acc_delta"])
        moved = average(state["acc_delta"], jax.tree.map(jnp.square, out), rho)
        return out, {"step": state["step"] + 1, "square_avg": square, "acc_delta": moved}

    return optax.GradientTransformation(init, update)


class Adadelta(Algorithm):
    """Steps of the size of past ones: `p -= lr * sqrt(mean square update + eps) / sqrt(mean square + eps) * gradient`.

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        rho: how much of the running averages stays.
        weight_decay: adds `weight_decay * p` to the gradient.
        maximize: climb instead.
        foreach, capturable: accepted for torch's sake; the step is one program anyway.
        differentiable: record the step, for gradients through it.

    Raises:
        ValueError: a setting is out of range.
    """

    _numbers = ("lr", "rho", "eps", "weight_decay")
    _decays = ("rho",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        _args.check(0 <= rho <= 1, f"Invalid rho value: {rho}")
        check_number(eps, "epsilon value")
        check_number(weight_decay, "weight_decay value")
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """Weight decay, the proportion, learning rate."""
        return chained(
            at.maximize and optax.scale(-1.0),
            decay_weights(at.weight_decay),
            scale_by_adadelta(at.rho, at.eps),
            optax.scale_by_learning_rate(at.lr),
        )


def scale_by_rmsprop(alpha: Decay, eps: Any, momentum: Any, centered: bool) -> optax.GradientTransformation:
    """Updates divided by the root of their mean square, or of their variance if `centered`; then their sum with momentum.

    State: `step`, `square_avg`, with `momentum` `momentum_buffer`, with `centered` `grad_avg`. Differs from
    `optax.scale_by_rms`: eps is added to the root. Source: Hinton, Neural Networks for Machine Learning, lecture 6 (2012).
    """

    def init(params):
        state = {"step": scalar(), "square_avg": zeros(params)}
        state |= {} if momentum is None else {"momentum_buffer": zeros(params)}
        return state | ({"grad_avg": zeros(params)} if centered else {})

    def update(updates, state, params=None):
        square = average(state["square_avg"], jax.tree.map(jnp.square, updates), alpha)
        new = {"step": state["step"] + 1, "square_avg": square}
        spread = square
        if centered:
            mean = average(state["grad_avg"], updates, alpha)
            spread = jax.tree.map(lambda s, m: s - m * m, square, mean)
        out = jax.tree.map(lambda g, s: g / (jnp.sqrt(s) + eps), updates, spread)
        if momentum is not None:
            out = jax.tree.map(lambda b, u: momentum * b + u, state["momentum_buffer"], out)
            new["momentum_buffer"] = out
        return out, new | ({"grad_avg": mean} if centered else {})

    return optax.GradientTransformation(init, update)


class RMSprop(Algorithm):
    """Steps of the gradient over the root of its running mean square: `p -= lr * gradient / (sqrt(square) + eps)`.

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        alpha: how much of the running averages stays.
        weight_decay: adds `weight_decay * p` to the gradient.
        momentum: the step is a running sum of such updates.
        centered: divide by the standard deviation instead.
        maximize: climb instead.
        foreach, capturable: accepted for torch's sake; the step is one program anyway.
        differentiable: record the step, for gradients through it.

    Raises:
        ValueError: a setting is out of range.
    """

    _numbers = ("lr", "alpha", "eps", "weight_decay", "momentum")
    _decays = ("alpha",)
    _parts = ("weight_decay", "momentum")
    _flags = ("centered", "maximize")
    _added: ClassVar = {**Algorithm._added, "momentum": 0, "centered": False}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        check_number(eps, "epsilon value")
        check_number(momentum, "momentum value")
        check_number(weight_decay, "weight_decay value")
        check_number(alpha, "alpha value")
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """Weight decay, the mean square, learning rate."""
        return chained(
            at.maximize and optax.scale(-1.0),
            decay_weights(at.weight_decay),
            scale_by_rmsprop(at.alpha, at.eps, at.momentum, at.centered),
            optax.scale_by_learning_rate(at.lr),
        )
