"""Averages of weights: `AveragedModel` with the means to update it, the schedule that goes with it, and batch statistics.

Source: Izmailov et al., arXiv 1803.05407 (2018).
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import jax.numpy as jnp

from jtorch._tensor import Tensor, from_array
from jtorch.autograd.grad_mode import no_grad
from jtorch.nn.module import Module
from jtorch.nn.normalization import _BatchNorm
from jtorch.ops import _args
from jtorch.ops.comparison import where
from jtorch.optim.lr_scheduler.scheduler import LRScheduler, for_each_group
from jtorch.optim.optimizer import Optimizer


def get_ema_avg_fn(decay: float = 0.999) -> Callable:
    """The function of (average, new, count) for a running average: `decay * average + (1 - decay) * new`.

    Raises:
        ValueError: the decay is outside the range from 0 to 1.
    """
    message = f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
    _args.check(0 <= decay <= 1, message)

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Any:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Callable:
    """The function of (average, new, count) for the mean of all so far."""

    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Any:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def _for_many(one: Callable) -> Callable:
    """The function of lists that updates each average in place."""

    def update(averages: Sequence[Tensor], currents: Sequence[Tensor], num_averaged: Any) -> None:
        with no_grad():
            for average, current in zip(averages, currents, strict=True):
                average.copy_(one(average, current, num_averaged))  # type: ignore[attr-defined]

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable:
    """`get_ema_avg_fn` for lists of tensors, which it updates in place.

    Raises:
        ValueError: the decay is outside the range from 0 to 1.
    """
    return _for_many(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Callable:
    """`get_swa_avg_fn` for lists of tensors, which it updates in place."""
    return _for_many(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model whose weights are averages of the model's, as `update_parameters` finds them over time.

    Args:
        model: the model; the copy is `self.module`.
        device: where the averages are kept; None is where the model is.
        avg_fn: a function of (average, new, count) that gives the new average; by default the mean of all.
        multi_avg_fn: a function of lists of them that updates the averages in place.
        use_buffers: whether buffers are averaged too; else they are copied.

    Raises:
        AssertionError: both functions are given.

    Example:
        >>> import jtorch
        >>> model = jtorch.nn.Linear(2, 1)
        >>> average = jtorch.optim.swa_utils.AveragedModel(model, avg_fn=jtorch.optim.swa_utils.get_ema_avg_fn(0.9))
        >>> average.update_parameters(model)
        >>> average.n_averaged
        tensor(1)
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable | None = None,
        multi_avg_fn: Callable | None = None,
        use_buffers: bool = False,
    ):
        super().__init__()
        one = avg_fn is None or multi_avg_fn is None
        _args.check(one, "Only one of avg_fn and multi_avg_fn should be provided", AssertionError)
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        count = from_array(jnp.asarray(0, _args.long_dtype()))
        self.register_buffer("n_averaged", count if device is None else count.to(device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the model's weights into the averages; the first time they are the averages."""
        averages, currents = self._pairs(model)
        first = self.n_averaged == 0
        with no_grad():
            if self.multi_avg_fn is not None:
                self.multi_avg_fn(averages, currents, self.n_averaged)
                news = list(averages)
            else:
                update = self.avg_fn or get_swa_avg_fn()
                news = [update(a, c, self.n_averaged) for a, c in zip(averages, currents, strict=True)]
            for average, current, new in zip(averages, currents, news, strict=True):
                average.copy_(where(first, current, new))  # type: ignore[attr-defined]
            if not self.use_buffers:
                for mine, other in zip(self.module.buffers(), model.buffers(), strict=True):
                    mine.detach().copy_(other.detach().to(mine.device))  # type: ignore[attr-defined]
            self.n_averaged += 1

    def _pairs(self, model: Module) -> tuple[list[Tensor], list[Tensor]]:
        """The averages, and what they are to take in, on their devices."""
        both = []
        for module in (self.module, model):
            tensors: Iterable = module.parameters()
            both.append([*itertools.chain(tensors, module.buffers())] if self.use_buffers else [*tensors])
        averages = [t.detach() for t in both[0]]
        return averages, [t.detach().to(a.device) for t, a in zip(both[1], averages, strict=True)]


def update_bn(loader: Iterable, model: Module, device: Any = None) -> None:
    """Set the running statistics of a model's batch normalization layers to those of the data in a loader.

    Args:
        loader: the batches; of a list or tuple, the first element is the input.
        device: where inputs are moved before they are used.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return
    momenta, training = [layer.momentum for layer in layers], model.training
    model.train()
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
        with no_grad():
            for batch in loader:
                batch = batch[0] if isinstance(batch, list | tuple) else batch
                model(batch if device is None else batch.to(device))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """The schedule of a run whose weights are averaged: from the rates there are to `swa_lr`, and constant from then on.

    Args:
        swa_lr: the rate in the end, for all groups or each.
        anneal_epochs: how many steps the way takes.
        anneal_strategy: "cos" or "linear".

    Raises:
        ValueError: the strategy is not known, or `anneal_epochs` is negative.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ):
        rates = for_each_group("swa_lr", optimizer, swa_lr)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        known = anneal_strategy in ("cos", "linear")
        message = f"anneal_strategy must by one of 'cos' or 'linear', instead got {anneal_strategy}"
        _args.check(known, message)
        sound = isinstance(anneal_epochs, int) and anneal_epochs >= 0
        _args.check(sound, f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How much of the final rate is in effect."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list:
        """The rates for `self.last_epoch`."""
        step = self._step_count - 1
        step = max(1, step) if self.anneal_epochs == 0 else step
        before, now = self._share(step - 1), self._share(step)
        found = []
        for group in self.optimizer.param_groups:
            final, rate = group["swa_lr"], group["lr"]
            start = final if before == 1 else (rate - before * final) / (1 - before)
            found.append(final * now + start * (1 - now))
        return found
