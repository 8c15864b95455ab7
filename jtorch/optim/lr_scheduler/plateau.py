"""The schedule that watches a metric."""

import math
from typing import Any

from jtorch.ops import _args
from jtorch.optim.lr_scheduler.scheduler import (
    LRScheduler,
    assign,
    check_optimizer,
    check_outside,
    values,
    warn_of_epoch,
)
from jtorch.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """The rate times `factor` when a metric has not got better for more than `patience` epochs.

    Args:
        mode: whether `min` or `max` is better.
        threshold, threshold_mode: how much better counts, `rel`ative to the best or `abs`olute.
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: the lowest rate, for all groups or each.
        eps: reductions smaller than this are left out.

    Raises:
        ValueError: the factor is not below 1, a mode is unknown, or there are not as many `min_lr` as groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ):
        _args.check(factor < 1.0, "Factor should be < 1.0.")
        check_optimizer(optimizer)
        self.factor = factor
        self.optimizer = optimizer
        count = len(optimizer.param_groups)
        each = isinstance(min_lr, list | tuple)
        self.default_min_lr = None if each else min_lr
        self.min_lrs = list(min_lr) if each else [min_lr] * count  # type: ignore[arg-type]
        _args.check(len(self.min_lrs) == count, f"expected {count} min_lrs, got {len(self.min_lrs)}")
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self._last_lr = values(optimizer, "lr")
        _args.check(mode in ("min", "max"), f"mode {mode} is unknown!")
        _args.check(threshold_mode in ("rel", "abs"), f"threshold mode {threshold_mode} is unknown!")
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self._reset()

    def _reset(self) -> None:
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Note a metric, a number or a tensor of one, and set the rates.

        Raises:
            RuntimeError: called inside a function that is being compiled, or the number of groups has changed.
        """
        check_outside(self)
        current = float(metrics)
        if epoch is not None:
            warn_of_epoch()
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = values(self.optimizer, "lr")

    def _reduce_lr(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            message = (
                f"The number of param groups in the `optimizer` ({len(groups)}) differs from when `ReduceLROnPlateau` "
                f"was initialized ({len(self.min_lrs)}); set `min_lrs` to as many values"
            )
            _args.check(self.default_min_lr is not None, message, RuntimeError)
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, lowest in zip(groups, self.min_lrs, strict=True):
            before = float(group["lr"])
            after = max(before * self.factor, lowest)  # type: ignore
            if before - after > self.eps:
                assign(group, "lr", after)

    @property
    def in_cooldown(self) -> bool:
        """Whether bad epochs do not count now."""
        return self.cooldown_counter > 0

    def _is_better(self, value: float, best: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        margin = best * (1 - sign * self.threshold) if self.threshold_mode == "rel" else best - sign * self.threshold
        return value < margin if self.mode == "min" else value > margin

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update(state_dict)
        self.mode_worse = math.inf if self.mode == "min" else -math.inf
