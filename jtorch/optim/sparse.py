"""SparseAdam, for the sake of code that names it: gradients here are dense, and it takes none of those."""

from collections.abc import Callable
from typing import Any

from jtorch._tensor import Tensor
from jtorch.ops import _args
from jtorch.optim._parts import check_lr
from jtorch.optim.optimizer import Optimizer


class SparseAdam(Optimizer):
    """Adam for sparse gradients, which JAX does not have: a step raises, as it does in torch for dense ones.

    Args:
        params: tensors, (name, tensor) pairs, or groups with settings of their own.

    Raises:
        ValueError: a setting is out of range, or a parameter is complex.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ):
        check_lr(lr)
        _args.check(float(lr) > 0, f"Invalid learning rate: {lr}")
        _args.check(eps > 0, f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            _args.check(0 <= beta < 1, f"Invalid beta parameter at index {i}: {beta}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        groups = enumerate(self.param_groups)
        found = [[i, j] for i, g in groups for j, p in enumerate(g["params"]) if _args.is_complex(p._value().dtype)]
        message = f"Complex params at indices {found}: SparseAdam does not support complex parameters"
        _args.check(not found, message)

    def step(self, closure: Callable | None = None) -> Any:
        """Refuse dense gradients.

        Raises:
            RuntimeError: a parameter has a gradient.
        """
        loss = None if closure is None else closure()
        there = any(p.grad is not None for group in self.param_groups for p in group["params"])
        _args.check(
            not there, "SparseAdam does not support dense gradients, please consider Adam instead", RuntimeError
        )
        return loss
