"""`GradScaler`: losses scaled so that float16 gradients do not vanish, and steps left out where they overflow.

Inside `jtorch.compile` whether a step is left out is decided by the program: every tensor that the step writes keeps its
old value there, and nothing waits for the host.
"""

import enum
import warnings
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jtorch import _types
from jtorch._capture import state as running
from jtorch._tensor import Tensor, from_array
from jtorch.amp.autocast_mode import _has_gpu
from jtorch.autograd.grad_mode import no_grad
from jtorch.ops import _args


class OptState(enum.Enum):
    """How far an optimizer is in this iteration."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


class _Progress:
    """How far one optimizer is: its stage, by device whether a gradient was not finite, and the capture it is part of."""

    def __init__(self):
        self.stage = OptState.READY
        self.found: dict[Any, Tensor] = {}
        self.session = running.session


@jax.jit
def _unscaled(grads: list, inverse: Any) -> tuple[list, Any]:
    """The gradients times a number, and 1 if one of them was not finite, else 0."""
    finite = jnp.stack([jnp.isfinite(g).all() for g in grads]).all()
    scaled = [(g.astype(jnp.promote_types(g.dtype, jnp.float32)) * inverse).astype(g.dtype) for g in grads]
    return scaled, jnp.where(finite, 0.0, 1.0).astype(jnp.float32)


@jax.jit
def _updated(scale: Any, tracker: Any, found: Any, growth: Any, backoff: Any, interval: Any) -> tuple:
    """The scale and the count of steps without overflow after one more step."""
    count = tracker + 1
    grown = (scale * growth).astype(scale.dtype)
    due = count == interval
    finer = jnp.where(due & jnp.isfinite(grown), grown, scale)
    lost = found > 0
    scale = jnp.where(lost, (scale * backoff).astype(scale.dtype), finer)
    return scale, jnp.where(lost | due, 0, count).astype(tracker.dtype)


class GradScaler:
    """Scales losses and steps optimizers so that 16-bit gradients neither vanish nor spoil the parameters.

    `scale(loss).backward()`, then `step(optimizer)`, which unscales the gradients and steps if all are finite, then
    `update()`, which lowers the scale after an overflow and raises it after `growth_interval` steps without. Under
    `jtorch.compile` all three belong in the compiled function.

    Args:
        device: cuda or cpu (or tpu). On cuda without a GPU it warns and does nothing.
        init_scale: the first scale.
        growth_factor: what raises the scale, more than 1.
        backoff_factor: what lowers it, less than 1.
        growth_interval: how many steps without overflow raise it.
        enabled: False for one that does nothing but step.

    Raises:
        AssertionError: a factor is on the wrong side of 1.

    Example:
        >>> import jtorch
        >>> w = jtorch.ones(2, requires_grad=True)
        >>> optimizer, scaler = jtorch.optim.SGD([w], lr=0.5), jtorch.amp.GradScaler("cpu", init_scale=8.0)
        >>> scaler.scale(w.sum()).backward()
        >>> scaler.step(optimizer)
        >>> scaler.update()
        >>> w
        tensor([0.5000, 0.5000], requires_grad=True)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        self._device = device
        self._enabled = enabled
        if enabled and device == "cuda" and not _has_gpu():
            warnings.warn("GradScaler(): expected a GPU, got none; it is off", stacklevel=2)
            self._enabled = False
        if not self._enabled:
            return
        message = f"GradScaler(): expected growth_factor > 1, got {growth_factor}"
        _args.check(growth_factor > 1.0, message, AssertionError)
        message = f"GradScaler(): expected backoff_factor < 1, got {backoff_factor}"
        _args.check(backoff_factor < 1.0, message, AssertionError)
        self._init_scale = init_scale
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._init_growth_tracker = 0
        self._scale: Tensor | None = None  # both made by the first scale()
        self._growth_tracker: Tensor | None = None
        self._progress: dict[int, _Progress] = {}

    # scaling

    def scale(self, outputs: Any) -> Any:
        """A tensor, or several in lists, tuples and other iterables, times the scale.

        Raises:
            ValueError: something in it is no tensor.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale_on(outputs)
        message = f"scale(): expected a Tensor or an iterable of Tensors, got {type(outputs).__name__}"
        _args.check(isinstance(outputs, Iterable), message)
        scaled = map(self.scale, outputs)
        return type(outputs)(scaled) if isinstance(outputs, list | tuple) else scaled  # type: ignore[call-arg]

    def _scale_on(self, output: Tensor) -> Tensor:
        """The scale, where an output is; made if it is the first. Under `compile` it is made outside the program."""
        if self._scale is None:
            with jax.ensure_compile_time_eval():
                self._scale = from_array(jnp.asarray(self._init_scale, jnp.float32))
                self._growth_tracker = from_array(jnp.asarray(self._init_growth_tracker, jnp.int32))
            if running.session is None:
                self._scale, self._growth_tracker = (x.to(output.device) for x in self._begun("scale"))
        scale, _ = self._begun("scale")
        return scale if running.session is not None else scale.to(output.device)

    def _begun(self, name: str) -> tuple[Tensor, Tensor]:
        """The scale and the count, which have to be there."""
        message = f"{name}(): expected scale() to be called before in this iteration, got no scale"
        _args.check(self._scale is not None, message, AssertionError)
        return self._scale, self._growth_tracker  # type: ignore[return-value]

    def _of(self, optimizer: Any) -> _Progress:
        """How far an optimizer is. What was noted in a run of a compiled function ends with it."""
        found = self._progress.get(id(optimizer))
        if found is None or found.session not in (None, running.session):
            found = self._progress[id(optimizer)] = _Progress()
        return found

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer by the scale, as `step` does otherwise: to clip or look at them before.

        Raises:
            RuntimeError: it was done in this iteration, or `step` was called.
            ValueError: a gradient is float16.
        """
        if not self._enabled:
            return
        scale, _ = self._begun("unscale_")
        progress = self._of(optimizer)
        message = "unscale_() has already been called on this optimizer since the last update()."
        _args.check(progress.stage is not OptState.UNSCALED, message, RuntimeError)
        message = "unscale_() is being called after step()."
        _args.check(progress.stage is not OptState.STEPPED, message, RuntimeError)
        progress.found = self._unscale_grads(optimizer, 1 / scale._value())
        progress.stage = OptState.UNSCALED

    @no_grad()
    def _unscale_grads(self, optimizer: Any, inverse: Any) -> dict[Any, Tensor]:
        """Unscale the gradients, device by device: whether one of them was not finite."""
        params = [p for group in optimizer.param_groups for p in group["params"]]
        grads = list({id(g): g for g in (p.grad for p in params) if g is not None}.values())
        _args.check(all(g.dtype != _types.float16 for g in grads), "Attempting to unscale FP16 gradients.")
        by_device: dict[Any, list[Tensor]] = {}
        for grad in grads:
            by_device.setdefault(grad.device, []).append(grad)
        found = {}
        for device, here in by_device.items():
            arrays = [g._value() for g in here]
            if len(by_device) > 1:
                inverse = jax.device_put(inverse, device.jax())
            values, lost = _unscaled(arrays, inverse)
            for grad, value in zip(here, values, strict=True):
                grad._rebind(value)
            found[device] = from_array(lost)
        return found

    # stepping

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Step an optimizer with unscaled gradients, if all of them are finite; what its step returns.

        Inside compiled functions the step runs always, and nothing of it is kept where one is not.

        Raises:
            RuntimeError: a closure is given, or `step` was called in this iteration.
            AssertionError: `scale` was not called, or there is no gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        _args.check("closure" not in kwargs, "step(): expected no closure, got one", RuntimeError)
        self._begun("step")
        progress = self._of(optimizer)
        message = "step() has already been called since the last update()."
        _args.check(progress.stage is not OptState.STEPPED, message, RuntimeError)
        if progress.stage is OptState.READY:
            self.unscale_(optimizer)
        _args.check(progress.found, "No inf checks were recorded for this optimizer.", AssertionError)
        lost = _sum(progress.found)
        if isinstance(lost, Tracer):
            result = _step_unless(lost > 0, optimizer, args, kwargs)
        else:
            result = None if float(lost) else optimizer.step(*args, **kwargs)
        progress.stage = OptState.STEPPED
        return result

    def update(self, new_scale: Any = None) -> None:
        """Lower the scale if a step was left out, or raise it if it is time to; or set it to a number or a tensor of one.

        Raises:
            AssertionError: no optimizer was unscaled, or the tensor has more than one element or requires a gradient.
        """
        if not self._enabled:
            return
        scale, tracker = self._begun("update")
        if new_scale is not None:
            self._set_scale(scale, new_scale)
        else:
            founds = [
                x for p in self._progress.values() if p.session in (None, running.session) for x in [p.found] if x
            ]
            _args.check(founds, "No inf checks were recorded prior to update.", AssertionError)
            lost = sum(_sum(found) for found in founds[1:]) + _sum(founds[0])
            factors = [self._number(name) for name in ("_growth_factor", "_backoff_factor", "_growth_interval")]
            values = _updated(scale._value(), tracker._value(), lost, *factors)
            for tensor, value in zip((scale, tracker), values, strict=True):
                tensor._rebind(value)
        self._progress = {}

    def _set_scale(self, scale: Tensor, new: Any) -> None:
        if isinstance(new, Tensor):
            message = "update(): expected new_scale to be a float or a tensor of one element without requires_grad, got"
            _args.check(new.numel() == 1 and not new.requires_grad, f"{message} {new}", AssertionError)
            new = new._value().reshape(())
        scale._rebind(jnp.asarray(new, jnp.float32))

    def _number(self, name: str) -> Any:
        """A setting, as an input of the program where one is being made."""
        if running.session is None:
            return float(getattr(self, name))
        return running.session.number((id(self), name), lambda: float(getattr(self, name)))

    # settings and state

    def get_scale(self) -> float:
        """The scale; 1.0 where scaling is off."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        """What raises the scale."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what raises the scale."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What lowers the scale."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what lowers the scale."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many steps without overflow raise the scale."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set how many steps without overflow raise the scale."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        """How many steps there were without overflow since the scale has changed."""
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else self._growth_tracker.item()

    def is_enabled(self) -> bool:
        """Whether it scales."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale, the settings and the count, as torch names them; empty where scaling is off."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` gave, here or in torch.

        Raises:
            RuntimeError: it is empty, being of a scaler that was off.
        """
        if not self._enabled:
            return
        message = "load_state_dict(): expected the state of a scaler that is enabled, got an empty one"
        _args.check(state_dict, message, RuntimeError)
        self._init_scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._scale is not None and self._growth_tracker is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker.fill_(self._init_growth_tracker)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._enabled:
            message = "GradScaler: expected to be pickled between update() and the next unscale_() or step()"
            _args.check(not self._progress, message, AssertionError)
            state["_init_scale"], state["_init_growth_tracker"] = self.get_scale(), self._get_growth_tracker()
            state["_scale"] = state["_growth_tracker"] = None
        return state


def _sum(found: dict[Any, Tensor]) -> Any:
    """How many devices have found something, on the first of them."""
    arrays = [x._value() for x in found.values()]
    if len(arrays) == 1:
        return arrays[0]
    return sum(jax.device_put(x, arrays[0].sharding) for x in arrays)


def _step_unless(lost: Any, optimizer: Any, args: tuple, kwargs: dict) -> Any:
    """A step of which nothing is kept where `lost` holds."""
    written = optimizer._written()
    before = [t._value() for t in written]
    result = optimizer.step(*args, **kwargs)
    for tensor, old in zip(written, before, strict=True):
        new = tensor._value()
        if new is not old:
            tensor._rebind(jnp.where(lost, old, new))
    return result
