"""Schedules that go up and down: cyclic rates and momenta, one cycle, and warm restarts."""

import math
from collections.abc import Callable
from typing import Any

from jtorch.ops import _args
from jtorch.optim.lr_scheduler.scheduler import (
    LRScheduler,
    assign,
    check_optimizer,
    check_outside,
    for_each_group,
    saved_function,
)
from jtorch.optim.optimizer import Optimizer


def _uses_beta(optimizer: Optimizer) -> bool:
    """Whether what is cycled as momentum is the first of the betas.

    Raises:
        ValueError: the optimizer has neither.
    """
    message = "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
    _args.check("momentum" in optimizer.defaults or "betas" in optimizer.defaults, message)
    return "betas" in optimizer.defaults


def _set_momentum(group: dict[str, Any], momentum: float, beta: bool) -> None:
    if beta:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _begin_momenta(optimizer: Optimizer, base: list, high: list, beta: bool) -> None:
    for lowest, highest, group in zip(base, high, optimizer.param_groups, strict=True):
        _set_momentum(group, highest, beta)
        group["max_momentum"] = highest
        group["base_momentum"] = lowest


class CyclicLR(LRScheduler):
    """The rate up and down between `base_lr` and `max_lr`, and the momentum against it.

    Args:
        step_size_up, step_size_down: steps of the two halves; None means as many down as up.
        mode: `triangular`, `triangular2` (half as high each cycle) or `exp_range` (`gamma ** step` as high).
        scale_fn, scale_mode: in place of `mode` a function of the number of cycles (`cycle`) or steps (`iterations`).
        cycle_momentum: cycle the momentum, or the first of the betas.

    Raises:
        ValueError: the mode is unknown, a list is not of one number a group, or there is no momentum to cycle.

    Source: Smith, arXiv 1506.01186 (2015).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ):
        check_optimizer(optimizer)
        self.optimizer = optimizer
        base_lrs = for_each_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for rate, group in zip(base_lrs, optimizer.param_groups, strict=True):
                assign(group, "lr", rate)
        self.max_lrs = for_each_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        known = mode in ("triangular", "triangular2", "exp_range")
        _args.check(known or scale_fn is not None, "mode is invalid and scale_fn is None")
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta(optimizer)
            self.base_momentums = for_each_group("base_momentum", optimizer, base_momentum)
            self.max_momentums = for_each_group("max_momentum", optimizer, max_momentum)
            if last_epoch == -1:
                _begin_momenta(optimizer, self.base_momentums, self.max_momentums, self.use_beta1)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """How high the cycle goes, of 1."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        return {"triangular": lambda: 1.0, "triangular2": lambda: 0.5 ** (x - 1)}.get(
            self.mode, lambda: self.gamma**x
        )()

    def get_lr(self) -> list:
        """The rates for `self.last_epoch`; sets the momenta."""
        self._warn_outside_step()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            momenta = zip(self.base_momentums, self.max_momentums, self.optimizer.param_groups, strict=True)
            for low, high, group in momenta:
                _set_momentum(group, high - (high - low) * height * scale, self.use_beta1)
        return [low + (high - low) * height * scale for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; of a function that was given, what a callable object holds."""
        return super().state_dict() | {"_scale_fn_custom": saved_function(self._scale_fn_custom)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_scale_fn_custom"})
        if state_dict["_scale_fn_custom"] is not None:
            self._scale_fn_custom.__dict__.update(state_dict["_scale_fn_custom"])


class OneCycleLR(LRScheduler):
    """The rate once up to `max_lr`, then down to nearly nothing, over all steps of a training; the momentum against it.

    Args:
        total_steps: how many steps there are; or `epochs` and `steps_per_epoch`.
        pct_start: the part of the steps that goes up.
        anneal_strategy: `cos` or `linear`.
        cycle_momentum: cycle the momentum, or the first of the betas, between `max_momentum` and `base_momentum`.
        div_factor: the first rate is `max_lr / div_factor`.
        final_div_factor: the last rate is the first divided by it.
        three_phase: go down to the first rate as fast as up, then on to the last.

    Raises:
        ValueError: an argument is out of range, there is no momentum to cycle, or `total_steps` are over.

    Source: Smith & Topin, arXiv 1708.07120 (2017).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        sound = isinstance(pct_start, float) and 0 <= pct_start <= 1
        _args.check(sound, f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        message = f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
        _args.check(anneal_strategy in ("cos", "linear"), message)
        self._anneal_func_type = anneal_strategy
        if last_epoch == -1:
            rates = for_each_group("max_lr", optimizer, max_lr)
            for rate, group in zip(rates, optimizer.param_groups, strict=True):
                group["initial_lr"] = rate / div_factor
                group["max_lr"] = rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta(optimizer)
            high = for_each_group("max_momentum", optimizer, max_momentum)
            low = for_each_group("base_momentum", optimizer, base_momentum)
            if last_epoch == -1:
                _begin_momenta(optimizer, low, high, self.use_beta1)
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, part: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)

    def get_lr(self) -> list:
        """The rates for `self.last_epoch`; sets the momenta."""
        self._warn_outside_step()
        now = self.last_epoch
        message = f"Tried to step {now} times. The specified number of total steps is {self.total_steps}"
        _args.check(now <= self.total_steps, message)
        start, phase = 0.0, self._schedule_phases[0]
        for following in self._schedule_phases[1:]:
            if now > phase["end_step"]:
                start, phase = phase["end_step"], following
        part = (now - start) / (phase["end_step"] - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], part))
            if self.cycle_momentum:
                momentum = self._between(group[phase["start_momentum"]], group[phase["end_momentum"]], part)
                _set_momentum(group, momentum, self.use_beta1)
        return rates


def _total_steps(total_steps: Any, epochs: Any, steps_per_epoch: Any) -> int:
    if total_steps is not None:
        _check_positive("total_steps", total_steps)
        return total_steps
    given = epochs is not None and steps_per_epoch is not None
    _args.check(given, "You must define either total_steps OR (epochs AND steps_per_epoch)")
    _check_positive("epochs", epochs)
    _check_positive("steps_per_epoch", steps_per_epoch)
    return epochs * steps_per_epoch  # type: ignore


def _check_positive(name: str, value: Any) -> None:
    _args.check(isinstance(value, int) and value > 0, f"Expected positive integer {name}, but got {value}")


def _phases(total: int, rising: float, three: bool) -> list[dict[str, Any]]:
    """The phases of one cycle: the step that each ends with, and the settings that it goes between."""
    names = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
    top = float(rising * total) - 1
    rows: list[tuple] = [(top, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
    if three:
        rows.append((float(2 * rising * total) - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"))
        rows.append((total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"))
    else:
        rows.append((total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"))
    return [dict(zip(names, row, strict=True)) for row in rows]


class CosineAnnealingWarmRestarts(LRScheduler):
    """The rate along half a cosine wave down to `eta_min` in `T_0` epochs, then again over `T_mult` times as many.

    Raises:
        ValueError: `T_0` or `T_mult` is no positive integer, or `eta_min` no number.

    Source: Loshchilov & Hutter, arXiv 1608.03983 (2016).
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1):
        _check_positive("T_0", T_0)
        sound = isinstance(T_mult, int) and T_mult >= 1
        _args.check(sound, f"Expected integer T_mult >= 1, but got {T_mult}")
        message = f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}"
        _args.check(isinstance(eta_min, float | int), message)
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list:
        """The rates for `self.T_cur` of `self.T_i` epochs."""
        self._warn_outside_step()
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (rate - self.eta_min) * height / 2 for rate in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:  # type: ignore[override]
        """Go on by one and set the rates; `epoch`, which may have a fraction, goes there instead.

        Raises:
            ValueError: the epoch is negative.
            RuntimeError: called inside a function that is being compiled.
        """
        check_outside(self)
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            _args.check(epoch >= 0, f"Expected non-negative epoch, but got {epoch}")
            self._go_to(epoch)
        self.last_epoch = math.floor(epoch)
        self._get_lr_called_within_step = True
        self._set(self.get_lr())
        self._get_lr_called_within_step = False

    def _go_to(self, epoch: float) -> None:
        self.T_i, self.T_cur = self.T_0, epoch
        if epoch < self.T_0:
            return
        if self.T_mult == 1:
            self.T_cur = epoch % self.T_0
            return
        n = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
        self.T_cur = epoch - self.T_0 * (self.T_mult**n - 1) / (self.T_mult - 1)
        self.T_i = self.T_0 * self.T_mult**n
