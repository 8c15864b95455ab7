"""Algorithms that see a parameter as a matrix: Adafactor, which keeps rows and columns of its squares, and Muon."""

import math
from types import SimpleNamespace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from jtorch._tensor import Tensor
from jtorch.ops import _args
from jtorch.optim._algorithm import Algorithm
from jtorch.optim._parts import chained, decay_weights, scalar, widest, zeros
from jtorch.optim._program import Decay


def _root_mean_square(x: Any) -> Any:
    return jnp.linalg.norm(x.reshape(-1)) / math.sqrt(max(x.size, 1))


def scale_by_adafactor(
    lr: Any, beta2_decay: Any, eps: tuple, d: Any, weight_decay: Any
) -> optax.GradientTransformation:
    """Steps of the gradient over the root of its mean square, which is kept as one number for each row and column.

    State: `step`, and `row_var` and `col_var`, or `variance` for parameters of less than two dimensions. Differs from
    `optax.adafactor` as torch does: lr bounds the step, and eps[0] bounds what is divided by. Source: Shazeer & Stern,
    arXiv 1804.04235 (2018).
    """

    def init(params):
        param: Any = params
        if param.ndim < 2:
            return {"step": scalar(), "variance": zeros(param)}
        rows, columns = (*param.shape[:-1], 1), (*param.shape[:-2], 1, param.shape[-1])
        return {"step": scalar(), "row_var": jnp.zeros(rows, param.dtype), "col_var": jnp.zeros(columns, param.dtype)}

    def update(updates, state, params=None):
        grad: Any = updates
        param: Any = params
        step = state["step"] + 1
        least = jnp.finfo(param.dtype).eps if eps[0] is None else eps[0]
        count = widest(step)
        take = (count**beta2_decay).astype(param.dtype)

        def moved(old, new):
            return old + take * (new - old)

        if param.ndim < 2:
            new = {"variance": moved(state["variance"], grad * grad)}
            square = new["variance"]
        else:
            rows = moved(state["row_var"], jnp.mean(grad * grad, -1, keepdims=True))
            columns = moved(state["col_var"], jnp.mean(grad * grad, -2, keepdims=True))
            square = rows * columns / jnp.maximum(jnp.mean(rows, -2, keepdims=True), least)
            new = {"row_var": rows, "col_var": columns}
        direction = grad * jax.lax.rsqrt(jnp.maximum(square, least * least))
        size = jnp.minimum(lr, 1 / jnp.sqrt(count)).astype(param.dtype) * jnp.maximum(eps[1], _root_mean_square(param))
        out = -size / jnp.maximum(1, _root_mean_square(direction) / d) * direction
        if weight_decay is not None:  # the step is measured on what is there before the decay
            out = out - lr * weight_decay * param
        return out, {"step": step, **new}

    return optax.GradientTransformation(init, update)


class Adafactor(Algorithm):
    """Adam's idea in little memory: a matrix's mean squares are kept as one number for each row and each column.

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.
        lr: the largest relative step, and the factor of weight decay.
        beta2_decay: the mean square takes `t ** beta2_decay` of each new one.
        eps: the least root mean square to divide by (None: the dtype's resolution), and the least size of a parameter.
        d: updates of a larger root mean square are scaled down to it.
        weight_decay: takes `lr * weight_decay * p` from the parameter.
        maximize: climb instead.
        foreach: accepted for torch's sake; the step is one program anyway.

    Raises:
        RuntimeError: a parameter is complex.
        ValueError: a setting is out of range.

    Differs:
        16-bit parameters are updated in float32, whose resolution counts for `eps`.
    """

    _numbers = ("lr", "beta2_decay", "d", "weight_decay")
    _flags = ("eps", "maximize")
    _added: ClassVar = {"foreach": None}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ):
        _args.check(not isinstance(lr, Tensor) or lr.numel() == 1, "Tensor lr must be 1-element")
        _args.check(float(lr) >= 0, f"Learning rate should be >= 0 but is: {lr}")
        _args.check(beta2_decay <= 0, f"beta2_decay should be <= 0 but is: {beta2_decay}")
        _args.check(len(eps) == 2, f"expected eps to be two numbers, got {eps}")
        _args.check(eps[0] is None or eps[0] >= 0, f"epsilon1 should be >= 0 but is: {eps[0]}")
        _args.check(eps[1] >= 0, f"epsilon2 should be >= 0 but is: {eps[1]}")
        _args.check(d >= 1, f"Clipping threshold d should be >= 1 but is: {d}")
        _args.check(weight_decay >= 0, f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _entries(self, param: Tensor, group: dict, form: Any) -> dict[str, Tensor]:
        message = "Adafactor does not support complex parameters"
        _args.check(not _args.is_complex(param._value().dtype), message, RuntimeError)
        return super()._entries(param, group, form)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """All in one."""
        scale = scale_by_adafactor(at.lr, at.beta2_decay, at.eps, at.d, at.weight_decay)
        return chained(at.maximize and optax.scale(-1.0), scale)


def orthogonalized(x: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """About the nearest matrix with orthogonal rows or columns, by a polynomial iterated in bfloat16.

    Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024).
    """
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    y = _rounded(x.astype(jnp.float32))
    y = y.T if tall else y
    norm = jnp.maximum(_rounded(jnp.linalg.norm(y.astype(jnp.float32))), jnp.bfloat16(eps))
    y = _rounded(y.astype(jnp.float32) / norm.astype(jnp.float32))

    def product(one, two):
        if jax.default_backend() == "cpu":  # which adds up in bfloat16 where it does not optimise
            one, two = one.astype(jnp.float32), two.astype(jnp.float32)
        return jnp.matmul(one, two, preferred_element_type=jnp.float32)

    for _ in range(steps):
        gram = _rounded(product(y, y.T))
        update = _rounded(b * gram.astype(jnp.float32) + c * product(gram, gram))
        y = _rounded(a * y.astype(jnp.float32) + product(update, y))
    return (y.T if tall else y).astype(x.dtype)


def _rounded(x: Any) -> Any:
    """The array as bfloat16; XLA leaves out conversions to it that are taken back at once, but not this."""
    return jax.lax.reduce_precision(x, 8, 7).astype(jnp.bfloat16)


def scale_by_muon(
    momentum: Decay, nesterov: bool, coefficients: tuple, steps: int, eps: float, adjust: str | None
) -> optax.GradientTransformation:
    """The running mean of updates made orthogonal, scaled by the shape.

    State: `momentum_buffer`.
    """

    def init(params):
        return {"momentum_buffer": zeros(params)}

    def update(updates, state, params=None):
        grad: Any = updates
        buffer = state["momentum_buffer"] + momentum.take * (grad - state["momentum_buffer"])
        out = grad + momentum.keep * (buffer - grad) if nesterov else buffer
        rows, columns = grad.shape
        wide = 0.2 * math.sqrt(max(rows, columns))
        ratio = wide if adjust == "match_rms_adamw" else math.sqrt(max(1, rows / columns))
        return ratio * orthogonalized(out, coefficients, steps, eps), {"momentum_buffer": buffer}

    return optax.GradientTransformation(init, update)


class Muon(Algorithm):
    """Steps that are orthogonal matrices, for the weight matrices of hidden layers.

    Args:
        params: matrices, (name, matrix) pairs, or groups with settings of their own.
        weight_decay: takes `lr * weight_decay * p` from the parameter.
        momentum: how much of the running mean of gradients stays.
        nesterov: mix the gradient into the mean once more.
        ns_coefficients, ns_steps, eps: the polynomial that makes steps orthogonal, how often it is applied, and the least
            norm to divide by.
        adjust_lr_fn: "original" (and None) scales steps by `sqrt(max(1, rows / columns))`, "match_rms_adamw" by
            `0.2 * sqrt(max(rows, columns))`.

    Raises:
        RuntimeError: a parameter is complex.
        ValueError: a setting is out of range, or a parameter is no matrix.
    """

    _numbers = ("lr", "weight_decay", "momentum")
    _decays = ("momentum",)
    _flags = ("nesterov", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn")
    _added: ClassVar = {}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        _args.check(not isinstance(lr, Tensor) or lr.numel() == 1, "Tensor lr must be 1-element")
        _args.check(float(lr) >= 0, f"Learning rate should be >= 0 but is: {lr}")
        _args.check(momentum >= 0, f"momentum should be >= 0 but is: {momentum}")
        _args.check(weight_decay >= 0, f"weight decay should be >= 0 but is: {weight_decay}")
        known = adjust_lr_fn in (None, "original", "match_rms_adamw")
        _args.check(known, f"Adjust learning rate function {adjust_lr_fn} is not supported")
        _args.check(len(ns_coefficients) == 3, "Coefficients must be a tuple of exactly 3 values")
        _args.check(ns_steps < 100, "Number of steps must be less than 100 for computational efficiency")
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                matrix = f"Muon only supports 2D parameters whereas we found a parameter with size: {param.size()}"
                _args.check(param.ndim == 2, matrix)

    def _entries(self, param: Tensor, group: dict, form: Any) -> dict[str, Tensor]:
        complex_numbers = _args.is_complex(param._value().dtype)
        _args.check(not complex_numbers, "Muon does not support complex parameters", RuntimeError)
        return super()._entries(param, group, form)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """Orthogonal steps, weight decay, learning rate."""
        return chained(
            scale_by_muon(at.momentum, at.nesterov, at.ns_coefficients, at.ns_steps, at.eps, at.adjust_lr_fn),
            decay_weights(at.weight_decay),
            optax.scale_by_learning_rate(at.lr),
        )
