"""The base of learning rate schedules: when a rate is computed, where it is written, and the schedule's own state.

A schedule is plain Python on the settings of an optimizer. It runs outside compiled code, which takes the rates as
inputs.
"""

import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from jtorch._capture import state as running
from jtorch._tensor import Tensor
from jtorch.ops import _args
from jtorch.optim.optimizer import Optimizer


def check_optimizer(optimizer: Any) -> None:
    """Raise unless it is an optimizer."""
    _args.check(isinstance(optimizer, Optimizer), f"{type(optimizer).__name__} is not an Optimizer", TypeError)


def check_outside(scheduler: Any) -> None:
    """Raise where a compiled function is traced: its Python runs once, so the schedule would not move on."""
    message = (
        f"{type(scheduler).__name__}.step(): expected a call outside compiled functions, got one inside; the rate is "
        "an input of the program, so call it after the compiled step"
    )
    _args.check(running.session is None, message, RuntimeError)


def values(optimizer: Optimizer, name: str) -> list:
    """One setting of all groups; copies of tensors."""
    found = [group[name] for group in optimizer.param_groups]
    return [x.clone() if isinstance(x, Tensor) else x for x in found]


def assign(group: dict[str, Any], name: str, value: Any) -> None:
    """Change a setting of a group, in place where it is a tensor."""
    if isinstance(group[name], Tensor):
        group[name].fill_(value)
    else:
        group[name] = value


def for_each_group(name: str, optimizer: Optimizer, value: Any) -> list:
    """A number for each group, from one number or a list of as many.

    Raises:
        ValueError: the list is of another length.
    """
    count = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * count
    message = f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values"
    _args.check(len(value) == count, f"{message}, param_groups has {count}.")
    return list(value)


class LRScheduler:
    """The learning rates of an optimizer as a function of how often `step` was called.

    A subclass defines `get_lr`, the rates for `self.last_epoch`. It may use the rates of the step before, so that
    several schedules can act on one optimizer.

    Args:
        last_epoch: where to go on; -1 begins, and takes the rates of the groups as the first.

    Attributes:
        base_lrs: the first rate of each group.

    Raises:
        TypeError: `optimizer` is none.
        KeyError: the groups do not know their first rates although `last_epoch` is given.
    """

    _get_lr_called_within_step: bool = False
    _is_initial: bool = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"].clone() if isinstance(group["lr"], Tensor) else group["lr"])
            elif "initial_lr" not in group:
                where = f"param_groups[{i}] when resuming scheduler with last_epoch >= 0"
                raise KeyError(f"param 'initial_lr' is not specified in {where}; load the optimizer's state_dict first")
        self.base_lrs = values(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        optimizer.__dict__.setdefault("_opt_called", False)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list:
        """The rates that were set last."""
        return self._last_lr

    def get_lr(self) -> list:
        """The rates for `self.last_epoch`."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Go on by one and set the rates. `epoch` goes there instead, which is deprecated.

        Raises:
            RuntimeError: called inside a function that is being compiled.
        """
        check_outside(self)
        if self._step_count == 1 and not self.optimizer.__dict__.get("_opt_called"):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in the opposite order: "
                "otherwise the first value of the learning rate schedule is skipped.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warn_of_epoch()
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
            closed = None if epoch is None else getattr(self, "_get_closed_form_lr", None)
            rates = self.get_lr() if closed is None else closed()
        finally:
            self._get_lr_called_within_step = False
        self._set(rates)

    def _set(self, rates: Sequence) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            assign(group, "lr", rate)
        self._last_lr = values(self.optimizer, "lr")

    # what `get_lr` is made of

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def _kept(self) -> list:
        return values(self.optimizer, "lr")

    def _scaled(self, factor: Any) -> list:
        return [group["lr"] * factor for group in self.optimizer.param_groups]


class _LRScheduler(LRScheduler):
    """The old name."""


def warn_of_epoch() -> None:
    """Warn that `step` was told the epoch."""
    warnings.warn(
        "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated. Please use "
        "`scheduler.step()` to step the scheduler.",
        UserWarning,
        stacklevel=3,
    )


# functions inside a schedule: objects with a state are saved by it, others not at all


def saved_function(function: Callable | None) -> dict | None:
    """What a state_dict holds of a function that a user gave."""
    return None if function is None or isinstance(function, types.FunctionType) else function.__dict__.copy()
