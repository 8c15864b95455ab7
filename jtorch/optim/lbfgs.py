"""L-BFGS: Newton's method with a curvature learnt from the last gradients, and the line search that goes with it.

A step evaluates the closure as often as its search asks, and what it does next depends on the values: it runs outside
`jtorch.compile`, while the closure may be a compiled function.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jtorch._capture import state as running
from jtorch._tensor import Tensor, from_array
from jtorch.autograd.grad_mode import enable_grad, no_grad
from jtorch.ops import _args
from jtorch.optim._parts import check_lr
from jtorch.optim.optimizer import Optimizer


class Point(NamedTuple):
    """A place on the line: how far along, the loss, the gradient, and its part in the direction of the line."""

    t: float
    loss: float
    grad: jax.Array
    slope: float


def _cubic_minimum(one: Point, two: Point, low: float, high: float) -> float:
    """Where the cubic through two points has its minimum, within bounds; the middle of them where it has none.

    Source: Nocedal & Wright, Numerical Optimization (2006), section 3.5.
    """
    left, right = (one, two) if one.t <= two.t else (two, one)
    chord = left.slope + right.slope - 3 * (left.loss - right.loss) / (left.t - right.t)
    square = chord * chord - left.slope * right.slope
    if square < 0:
        return (low + high) / 2
    root = square**0.5
    width = right.t - left.t
    place = right.t - width * ((right.slope + root - chord) / (right.slope - left.slope + 2 * root))
    return min(max(place, low), high)


class _Search:
    """The search for a point that satisfies the strong Wolfe conditions, from `start` on.

    `evaluate(t)` gives the point at `t`; `longest` is the largest element of the direction.
    """

    def __init__(self, evaluate: Callable, start: Point, longest: float, tolerance: float, limit: int):
        self.evaluate, self.start, self.longest = evaluate, start, longest
        self.tolerance, self.limit = tolerance, limit
        self.evaluations = 0

    def _at(self, t: float) -> Point:
        self.evaluations += 1
        return self.evaluate(t)

    def _too_high(self, point: Point) -> bool:
        return point.loss > self.start.loss + 1e-4 * point.t * self.start.slope

    def _is_flat(self, point: Point) -> bool:
        return abs(point.slope) <= -0.9 * self.start.slope

    def run(self, t: float) -> Point:
        """The point found."""
        before, here = self.start, self._at(t)
        tried = 0
        while tried < self.limit:
            if self._too_high(here) or (tried > 1 and here.loss >= before.loss):
                return self._narrow(before, here, tried)
            if self._is_flat(here):
                return here
            if here.slope >= 0:
                return self._narrow(before, here, tried)
            t = _cubic_minimum(before, here, here.t + 0.01 * (here.t - before.t), here.t * 10)
            before, here = here, self._at(t)
            tried += 1
        return min(self.start, here, key=lambda point: point.loss)

    def _narrow(self, one: Point, two: Point, tried: int) -> Point:
        """Between two points that have a good one between them."""
        best, other = (one, two) if one.loss <= two.loss else (two, one)
        stuck = False
        while tried < self.limit and abs(other.t - best.t) * self.longest >= self.tolerance:
            low, high = sorted((best.t, other.t))
            t = _cubic_minimum(best, other, low, high)
            margin = 0.1 * (high - low)
            close = min(high - t, t - low) < margin
            if close and (stuck or t >= high or t <= low):
                t = high - margin if abs(t - high) < abs(t - low) else low + margin
                close = False
            stuck = close
            here = self._at(t)
            tried += 1
            if self._too_high(here) or here.loss >= best.loss:
                other = here
                best, other = (best, other) if best.loss <= other.loss else (other, best)
                continue
            if self._is_flat(here):
                return here
            if here.slope * (other.t - best.t) >= 0:
                other = best
            best = here
        return best


class LBFGS(Optimizer):
    """Quasi-Newton steps from the last `history_size` changes of the gradient. There is one group, of real parameters.

    Args:
        params: tensors or (name, tensor) pairs.
        lr: the length of steps, of the first guess with a line search.
        max_iter, max_eval: the most iterations and evaluations in one step; by default `max_iter * 1.25` evaluations.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when no element of the step, or the loss, changes more.
        line_search_fn: "strong_wolfe", or None for steps of length `lr`.

    Raises:
        ValueError: a setting is out of range, or there are several groups.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        check_lr(lr)
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        defaults = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_eval, "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change, "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        message = "LBFGS doesn't support per-parameter options (parameter groups)"
        _args.check(len(self.param_groups) == 1, message)

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _flat_grad(self) -> jax.Array:
        return _joined([jnp.zeros_like(p._value()) if p.grad is None else p.grad._value() for p in self._params])

    def _put(self, flat: jax.Array) -> None:
        at = 0
        for p in self._params:
            old = p._value()
            count = old.size * (2 if _args.is_complex(old.dtype) else 1)
            p._rebind(_parted(flat[at : at + count], old))
            at += count

    def step(self, closure: Callable) -> Any:  # type: ignore[override]
        """Minimise for up to `max_iter` iterations. `closure` computes the loss and the gradients; its first value is returned.

        Raises:
            RuntimeError: inside `jtorch.compile`, or the line search is not known.
        """
        inside = running.session is not None
        message = (
            "step(): expected LBFGS outside jtorch.compile, since its search depends on values; compile the closure"
        )
        _args.check(not inside, message, RuntimeError)
        group = self.param_groups[0]
        search = group["line_search_fn"]
        _args.check(search in (None, "strong_wolfe"), "only 'strong_wolfe' is supported", RuntimeError)
        with no_grad():
            return self._minimise(closure, group, search is not None)

    def _evaluated(self, closure: Callable) -> tuple[Any, float]:
        with enable_grad():
            loss = closure()
        self.state[self._params[0]]["func_evals"] += 1
        return loss, float(loss)

    def _minimise(self, closure: Callable, group: dict, search: bool) -> Any:
        state = self.state[self._params[0]]
        for name in ("func_evals", "n_iter"):
            state.setdefault(name, 0)
        first, loss = self._evaluated(closure)
        start = state["func_evals"] - 1
        grad = self._flat_grad()
        if float(jnp.max(jnp.abs(grad))) <= group["tolerance_grad"]:
            return first
        lr = float(group["lr"])
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, grad, group["history_size"])
            t = min(1.0, float(1 / jnp.sum(jnp.abs(grad)))) * lr if state["n_iter"] == 1 else lr
            slope = float(jnp.vdot(grad, direction))
            state |= {"d": from_array(direction), "prev_flat_grad": from_array(grad), "prev_loss": loss, "t": t}
            if slope > -group["tolerance_change"]:
                break
            before, last = loss, iteration == group["max_iter"]
            origin = _joined([p._value() for p in self._params])
            if search:
                left = group["max_eval"] - (state["func_evals"] - start)
                found = self._searched(closure, group, Point(0, loss, grad, slope), (origin, direction), t, left)
                loss, grad, t = found.loss, found.grad, found.t
            self._put(origin + t * direction)
            if not search and not last:
                loss, grad = self._evaluated(closure)[1], self._flat_grad()
            state["t"] = t
            moved = float(jnp.max(jnp.abs(direction * t)))
            done = last or state["func_evals"] - start >= group["max_eval"]
            flat = float(jnp.max(jnp.abs(grad))) <= group["tolerance_grad"]
            small = moved <= group["tolerance_change"] or abs(loss - before) < group["tolerance_change"]
            if done or flat or small:
                break
        return first

    def _searched(self, closure: Callable, group: dict, start: Point, line: tuple, t: float, limit: int) -> Point:
        origin, direction = line

        def evaluate(t: float) -> Point:
            self._put(origin + t * direction)
            loss, grad = self._evaluated(closure)[1], self._flat_grad()
            return Point(t, loss, grad, float(jnp.vdot(grad, direction)))

        longest = float(jnp.max(jnp.abs(direction)))
        try:
            return _Search(evaluate, start, longest, group["tolerance_change"], limit).run(t)
        finally:
            self._put(origin)

    def _direction(self, state: dict, grad: jax.Array, most: int) -> jax.Array:
        """Where to go: down the gradient, turned by the curvature that is known."""
        if state["n_iter"] == 1:
            state |= {"old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1}
            return -grad
        change = grad - state["prev_flat_grad"]._value()
        step = state["d"]._value() * state["t"]
        curvature = float(jnp.vdot(change, step))
        if curvature > 1e-10:
            news = {"old_dirs": from_array(change), "old_stps": from_array(step), "ro": 1 / curvature}
            for name, new in news.items():
                state[name] = [*state[name], new][-most:]
            state["H_diag"] = curvature / float(jnp.vdot(change, change))
        changes, steps = ([x._value() for x in state[name]] for name in ("old_dirs", "old_stps"))
        return _two_loops(grad, changes, steps, [float(r) for r in state["ro"]], float(state["H_diag"]))


@jax.jit
def _two_loops(grad: jax.Array, changes: list, steps: list, weights: list, scale: Any) -> jax.Array:
    """Minus the gradient times the approximate inverse of the second derivatives. Source: Nocedal (1980)."""
    q = -grad
    taken = []
    for change, step, weight in reversed(list(zip(changes, steps, weights, strict=True))):
        a = jnp.vdot(step, q) * weight
        q = q - a * change
        taken.append(a)
    r = q * scale
    for change, step, weight, a in zip(changes, steps, weights, reversed(taken), strict=True):
        r = r + step * (a - jnp.vdot(change, r) * weight)
    return r


def _joined(arrays: list) -> jax.Array:
    """Arrays one after the other; complex numbers as pairs."""
    pairs = [jnp.stack([a.real, a.imag], -1) if _args.is_complex(a.dtype) else a for a in arrays]
    return jnp.concatenate([a.reshape(-1) for a in pairs])


def _parted(flat: jax.Array, like: jax.Array) -> jax.Array:
    """A part of them in the shape and dtype that it had."""
    if not _args.is_complex(like.dtype):
        return flat.reshape(like.shape).astype(like.dtype)
    pairs = flat.reshape(*like.shape, 2)
    return jax.lax.complex(pairs[..., 0], pairs[..., 1]).astype(like.dtype)
