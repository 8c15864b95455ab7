"""The algorithms: each its settings, with torch's checks, and an Optax chain that gives torch's numbers.

The transformations that close the differences to Optax's own keep their state under torch's names. They work on any
tree of arrays, so that plain JAX code can put them into chains of its own. How a chain becomes a step: `_algorithm`.
"""

from types import SimpleNamespace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from jtorch._tensor import Tensor
from jtorch.ops import _args
from jtorch.optim._algorithm import Algorithm
from jtorch.optim._entries import BEGUN
from jtorch.optim._parts import (
    average,
    chained,
    check_betas,
    check_fused,
    check_lr,
    check_number,
    decay_weights,
    power_rest,
    scalar,
    zeros,
)
from jtorch.optim._program import Decay

# transformations


def trace(
    momentum: Any, dampening: Decay | None = None, nesterov: bool = False, cut: bool = False
) -> optax.GradientTransformation:
    """Updates with momentum: `buffer = momentum * buffer + (1 - dampening) * update`, the first time undampened.

    State: `momentum_buffer`. Differs from `optax.trace` by the dampening. `cut` lets no gradient through the first
    update, as torch does in differentiable steps.
    """
    counted = dampening is not None or cut

    def init(params):
        state = {"momentum_buffer": zeros(params)}
        return state | {BEGUN: scalar()} if counted else state

    def entering(update, begun):
        later = update if dampening is None else dampening.take * update
        return jnp.where(begun == 0, jax.lax.stop_gradient(update) if cut else update, later) if counted else update

    def update(updates, state, params=None):
        # in the first step the buffer is 0, so that only what enters it matters
        new = jax.tree.map(lambda u: entering(u, state.get(BEGUN)), updates)
        buffer = jax.tree.map(lambda b, n: momentum * b + n, state["momentum_buffer"], new)
        out = jax.tree.map(lambda u, b: u + momentum * b, updates, buffer) if nesterov else buffer
        state = {"momentum_buffer": buffer}
        return out, state | {BEGUN: scalar(1)} if counted else state

    return optax.GradientTransformation(init, update)


def scale_by_adam(first: Decay, second: Decay, eps: Any, amsgrad: bool = False) -> optax.GradientTransformation:
    """Updates divided by the root of their mean square, both as running averages corrected for their start at 0.

    State: `step`, `exp_avg`, `exp_avg_sq`, and `max_exp_avg_sq` with `amsgrad`. Differs from `optax.scale_by_adam`:
    the correction keeps its digits in float32, and amsgrad takes the maximum before it. Source: Kingma & Ba,
    arXiv 1412.6980 (2014); Reddi et al., arXiv 1904.09237 (2019).
    """

    def init(params):
        state = {"step": scalar(), "exp_avg": zeros(params), "exp_avg_sq": zeros(params)}
        return state | {"max_exp_avg_sq": zeros(params)} if amsgrad else state

    def update(updates, state, params=None):
        step = state["step"] + 1
        mean = average(state["exp_avg"], updates, first)
        square = average(state["exp_avg_sq"], jax.tree.map(jnp.square, updates), second)
        new = {"step": step, "exp_avg": mean, "exp_avg_sq": square}
        if amsgrad:
            square = new["max_exp_avg_sq"] = jax.tree.map(jnp.maximum, state["max_exp_avg_sq"], square)
        rest, root = power_rest(first, step), jnp.sqrt(power_rest(second, step))

        def scaled(m, v):
            return m / (rest.astype(m.dtype) * (jnp.sqrt(v) / root.astype(v.dtype) + eps))

        return jax.tree.map(scaled, mean, square), new

    return optax.GradientTransformation(init, update)


# settings


class SGD(Algorithm):
    """Gradient descent: `p -= lr * update`, the update being the gradient, or its running sum with `momentum`.

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        weight_decay: adds `weight_decay * p` to the gradient.
        dampening: the sum takes `(1 - dampening) * gradient`, the first time the whole.
        nesterov: the update is gradient + momentum * sum.
        maximize: climb instead.
        foreach, fused: accepted for torch's sake; the step is one program anyway.
        differentiable: record the step, for gradients through it.

    Raises:
        ValueError: a setting is out of range, or Nesterov momentum has no momentum or is dampened.
    """

    _numbers = ("lr", "momentum", "dampening", "weight_decay")
    _decays = ("dampening",)
    _parts = ("momentum", "dampening", "weight_decay")
    _flags = ("nesterov", "maximize", "differentiable")
    _added: ClassVar = {"nesterov": False, "maximize": False, "foreach": None, "differentiable": False, "fused": False}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_lr(lr)
        check_number(momentum, "momentum value")
        check_number(weight_decay, "weight_decay value")
        sound = not nesterov or (momentum > 0 and dampening == 0)
        _args.check(sound, "Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """Weight decay, momentum, learning rate."""
        return chained(
            at.maximize and optax.scale(-1.0),
            decay_weights(at.weight_decay),
            at.momentum is not None and trace(at.momentum, at.dampening, at.nesterov, at.differentiable),
            optax.scale_by_learning_rate(at.lr),
        )


class Adam(Algorithm):
    """Steps of about `lr` for each element: the running mean of the gradient over the root of its mean square.

    p -= lr * mean / (1 - beta1**t) / (sqrt(square) / sqrt(1 - beta2**t) + eps)

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        weight_decay: adds `weight_decay * p` to the gradient; with `decoupled_weight_decay`, takes
            `lr * weight_decay * p` from the parameter instead, as AdamW does.
        amsgrad: divide by the largest mean square so far.
        maximize: climb instead.
        foreach, capturable, fused: accepted for torch's sake; the step is one program anyway.
        differentiable: record the step, for gradients through it.

    Raises:
        ValueError: a setting is out of range.

    Differs:
        16-bit parameters are updated in float32 and rounded once, as torch does with `fused=True`.
    """

    _numbers = ("lr", "betas", "eps", "weight_decay")
    _decays = ("betas",)
    _flags = ("amsgrad", "maximize", "decoupled_weight_decay")
    _added: ClassVar = {
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "fused": None,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        fits = not isinstance(lr, Tensor) or capturable or not foreach
        _args.check(fits, "lr as a Tensor is not supported for capturable=False and foreach=True")
        check_lr(lr)
        check_number(eps, "epsilon value")
        for i, beta in enumerate(betas):
            check_number(beta, f"beta parameter at index {i}", below=1)
        check_number(weight_decay, "weight_decay value")
        betas = check_betas(betas, foreach, capturable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """Weight decay before the moments, or after them where it is decoupled."""
        decay = decay_weights(at.weight_decay)
        return chained(
            at.maximize and optax.scale(-1.0),
            not at.decoupled_weight_decay and decay,
            scale_by_adam(*at.betas, at.eps, at.amsgrad),  # type: ignore
            at.decoupled_weight_decay and decay,
            optax.scale_by_learning_rate(at.lr),
        )


class AdamW(Adam):
    """Adam whose weight decay leaves the moments alone: `p -= lr * weight_decay * p` beside Adam's step.

    Args:
        params, betas, eps, amsgrad, maximize and the others: as for `Adam`.

    Raises:
        ValueError: a setting is out of range.

    Source: Loshchilov & Hutter, arXiv 1711.05101 (2017).
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
