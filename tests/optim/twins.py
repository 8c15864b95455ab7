"""The same parameters under an optimizer of torch and under its counterpart of jtorch, fed the same gradients."""

from typing import Any

import numpy as np
import torch

import jtorch
from jtorch import optim

SHAPES = ((3, 4), (5,), (), (2, 1, 3))


def leaf(values: np.ndarray) -> jtorch.Tensor:
    """A parameter."""
    return jtorch.tensor(values, requires_grad=True)


def ours(value: Any) -> Any:
    """Settings or a state_dict of torch, with jtorch's tensors."""
    if isinstance(value, torch.Tensor):
        return jtorch.tensor(value.detach().numpy())
    if isinstance(value, dict):
        return {k: ours(v) for k, v in value.items()}
    return type(value)(map(ours, value)) if isinstance(value, tuple | list) else value


def theirs(value: Any) -> Any:
    """A state_dict of jtorch, with torch's tensors."""
    if isinstance(value, jtorch.Tensor):
        return torch.tensor(np.asarray(value.detach()))
    if isinstance(value, dict):
        return {k: theirs(v) for k, v in value.items()}
    return type(value)(map(theirs, value)) if isinstance(value, tuple | list) else value


class Twins:
    """Two optimizers of one name. `groups` holds settings for each group; the parameters are dealt out to them in turn.

    Attributes: `theirs`, `ours` (the optimizers), `their_params`, `our_params`.
    """

    def __init__(self, name: str, settings: dict, groups: tuple[dict, ...] = (), shapes=SHAPES, dtype=np.float64):
        self.random = np.random.default_rng(0)
        self.dtype = np.dtype(dtype)
        start = [self.draw(shape) for shape in shapes]
        self.their_params = [torch.tensor(x, requires_grad=True) for x in start]
        self.our_params = [leaf(x) for x in start]
        self.theirs = getattr(torch.optim, name)(_dealt(self.their_params, groups), **settings)
        dealt = _dealt(self.our_params, tuple(map(ours, groups)))
        self.ours = getattr(optim, name)(dealt, **ours(settings))

    def draw(self, shape: tuple[int, ...]) -> np.ndarray:
        """Normal numbers, complex ones for complex dtypes."""
        x = self.random.standard_normal(shape)
        if self.dtype.kind == "c":
            x = x + 1j * self.random.standard_normal(shape)
        return np.asarray(x, self.dtype)

    def step(self, count: int = 1, absent: tuple[int, ...] = ()) -> None:
        """Steps with fresh gradients, None for the parameters `absent`."""
        for _ in range(count):
            for i, (a, b) in enumerate(zip(self.their_params, self.our_params, strict=True)):
                gradient = self.draw(tuple(a.shape))
                a.grad = None if i in absent else torch.tensor(gradient)
                b.grad = None if i in absent else jtorch.tensor(gradient)
            self.theirs.step()
            self.ours.step()

    def check(self, **tolerance: float) -> None:
        """Parameters, state and state_dict layout agree."""
        for a, b in zip(self.their_params, self.our_params, strict=True):
            np.testing.assert_allclose(np.asarray(b.detach()), a.detach().numpy(), **tolerance)
        want, got = self.theirs.state_dict(), self.ours.state_dict()
        assert theirs(got["param_groups"]) == want["param_groups"]
        assert [list(g) for g in got["param_groups"]] == [list(g) for g in want["param_groups"]]
        assert set(got["state"]) == set(want["state"])
        for i, entries in want["state"].items():
            assert list(got["state"][i]) == list(entries)
            for name, value in entries.items():
                found = got["state"][i][name]
                assert (str(found.dtype), tuple(found.shape)) == (str(value.dtype), tuple(value.shape)), name
                np.testing.assert_allclose(np.asarray(found), value.numpy(), err_msg=name, **tolerance)


def _dealt(params: list, groups: tuple[dict, ...]) -> Any:
    if not groups:
        return params
    return [{"params": params[i :: len(groups)], **group} for i, group in enumerate(groups)]
