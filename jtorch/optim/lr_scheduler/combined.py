"""Schedules made of schedules: one after another, or all at once."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from jtorch.ops import _args
from jtorch.optim.lr_scheduler.plateau import ReduceLROnPlateau
from jtorch.optim.lr_scheduler.scheduler import LRScheduler, assign, check_outside, values
from jtorch.optim.optimizer import Optimizer


class _Combined(LRScheduler):
    """What the two have in common: their parts, and the state of these."""

    _schedulers: Sequence[LRScheduler]

    def _check_parts(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler], verb: str) -> Optimizer:
        name = type(self).__name__
        _args.check(len(schedulers) > 0, f"{name} expects at least one scheduler{verb}, but got no scheduler.")
        optimizer = optimizer or schedulers[0].optimizer
        for i, part in enumerate(schedulers):
            message = f"{name} at index {i} should have `optimizer` as its attribute."
            _args.check(hasattr(part, "optimizer"), message, TypeError)
            message = f"{name} does not support `ReduceLROnPlateau` scheduler, but got one at index {i}."
            _args.check(not isinstance(part, ReduceLROnPlateau), message)
            message = f"{name} expects all schedulers to belong to the same optimizer, but got another at index {i}."
            _args.check(part.optimizer is optimizer, message)
        return optimizer

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, with the state of the parts."""
        return super().state_dict() | {"_schedulers": [part.state_dict() for part in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for part, saved in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            part.load_state_dict(saved)


class SequentialLR(_Combined):
    """One schedule after another, the next at each of the `milestones`, which are epochs.

    Raises:
        ValueError: there is not one more schedule than milestones, or one belongs to another optimizer.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ):
        self._check_parts(optimizer, schedulers, "")
        message = (
            "Sequential Schedulers expects number of schedulers provided to be one more than the number of milestone "
            f"points, but got number of schedulers {len(schedulers)} and the number of milestones to be equal to "
            f"{len(milestones)}"
        )
        _args.check(len(milestones) == len(schedulers) - 1, message)
        self._schedulers = schedulers
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        for group in optimizer.param_groups:  # the parts have all begun: undo that, then begin the first
            assign(group, "lr", group["initial_lr"])
        self._undo(self)
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def _undo(self, scheduler: LRScheduler) -> None:
        if hasattr(scheduler, "_schedulers"):
            for part in scheduler._schedulers:
                self._undo(part)
        elif hasattr(scheduler, "last_epoch"):
            scheduler.last_epoch -= 1

    def step(self) -> None:  # type: ignore[override]
        """Go on by one and set the rates.

        Raises:
            RuntimeError: called inside a function that is being compiled.
        """
        check_outside(self)
        self.last_epoch += 1
        at = bisect_right(self._milestones, self.last_epoch)
        part = self._schedulers[at]
        if at > 0 and self._milestones[at - 1] == self.last_epoch:
            part._update_lr(0)
        else:
            part.step()
        self._last_lr = part.get_last_lr()


class ChainedScheduler(_Combined):
    """Several schedules that all act on the rates, each on those that the one before it left.

    Raises:
        ValueError: there are none, or one belongs to another optimizer.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        self.optimizer = self._check_parts(optimizer, schedulers, " to be chained")
        self._schedulers = schedulers
        self._last_lr = values(self.optimizer, "lr")

    def step(self) -> None:  # type: ignore[override]
        """Go on by one and set the rates.

        Raises:
            RuntimeError: called inside a function that is being compiled.
        """
        check_outside(self)
        for part in self._schedulers:
            part.step()
        self._last_lr = values(self.optimizer, "lr")
