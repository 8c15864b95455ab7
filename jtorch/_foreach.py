"""`_foreach_*`: an op on each tensor of a list. They are private in torch, and optimizers that people write use them.

`maximum` and `minimum` are `clamp_min` and `clamp_max`, which take numbers too. Each is a loop; inside `jtorch.compile`
it is part of one program anyway.
"""

from collections.abc import Callable, Sequence
from typing import Any

from jtorch import linalg
from jtorch._tensor import Tensor
from jtorch.ops._args import check


def _each(method: str, name: str) -> Callable:
    """The method on each tensor; a list beside the tensors gives each its own argument, another value is for all."""

    def call(self: Sequence[Tensor], *others: Any, **kwargs: Any) -> Any:
        scalars = kwargs.pop("scalars", None)
        lists = [x for x in (*others, scalars) if isinstance(x, tuple | list)]
        for given in lists:
            check(
                len(given) == len(self),
                f"{name}(): expected lists of one length, got {len(self)} and {len(given)}",
                RuntimeError,
            )
        results = []
        for i, tensor in enumerate(self):
            own: list = [x[i] if isinstance(x, tuple | list) else x for x in others]
            named = dict(kwargs)
            last = own.pop() if method[:4] == "addc" and len(own) == 3 else None if scalars is None else scalars[i]
            if last is not None:
                named["value"] = last
            results.append(getattr(tensor, method)(*own, **named))
        return None if method.endswith("_") else results

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"`{method}` of each tensor of a list."
    return call


def _foreach_copy_(self: Sequence[Tensor], src: Sequence[Tensor], non_blocking: bool = False) -> None:
    for to, of in zip(self, src, strict=True):
        to.copy_(of)  # type: ignore[attr-defined]


def _foreach_zero_(self: Sequence[Tensor]) -> None:
    for tensor in self:
        tensor.zero_()  # type: ignore[attr-defined]


def _foreach_norm(self: Sequence[Tensor], ord: Any = 2, dtype: Any = None) -> list[Tensor]:
    return [linalg.vector_norm(x, ord, dtype=dtype) for x in self]


def _foreach_max(self: Sequence[Tensor]) -> list[Tensor]:
    return [x.max() for x in self]  # type: ignore[attr-defined]


_foreach_abs = _each("abs", "_foreach_abs")
_foreach_abs_ = _each("abs_", "_foreach_abs_")
_foreach_ceil = _each("ceil", "_foreach_ceil")
_foreach_ceil_ = _each("ceil_", "_foreach_ceil_")
_foreach_exp = _each("exp", "_foreach_exp")
_foreach_exp_ = _each("exp_", "_foreach_exp_")
_foreach_expm1 = _each("expm1", "_foreach_expm1")
_foreach_expm1_ = _each("expm1_", "_foreach_expm1_")
_foreach_floor = _each("floor", "_foreach_floor")
_foreach_floor_ = _each("floor_", "_foreach_floor_")
_foreach_log = _each("log", "_foreach_log")
_foreach_log_ = _each("log_", "_foreach_log_")
_foreach_log1p = _each("log1p", "_foreach_log1p")
_foreach_log1p_ = _each("log1p_", "_foreach_log1p_")
_foreach_neg = _each("neg", "_foreach_neg")
_foreach_neg_ = _each("neg_", "_foreach_neg_")
_foreach_reciprocal = _each("reciprocal", "_foreach_reciprocal")
_foreach_reciprocal_ = _each("reciprocal_", "_foreach_reciprocal_")
_foreach_round = _each("round", "_foreach_round")
_foreach_round_ = _each("round_", "_foreach_round_")
_foreach_rsqrt = _each("rsqrt", "_foreach_rsqrt")
_foreach_rsqrt_ = _each("rsqrt_", "_foreach_rsqrt_")
_foreach_sigmoid = _each("sigmoid", "_foreach_sigmoid")
_foreach_sigmoid_ = _each("sigmoid_", "_foreach_sigmoid_")
_foreach_sign = _each("sign", "_foreach_sign")
_foreach_sign_ = _each("sign_", "_foreach_sign_")
_foreach_sqrt = _each("sqrt", "_foreach_sqrt")
_foreach_sqrt_ = _each("sqrt_", "_foreach_sqrt_")
_foreach_tanh = _each("tanh", "_foreach_tanh")
_foreach_tanh_ = _each("tanh_", "_foreach_tanh_")
_foreach_trunc = _each("trunc", "_foreach_trunc")
_foreach_trunc_ = _each("trunc_", "_foreach_trunc_")
_foreach_add = _each("add", "_foreach_add")
_foreach_add_ = _each("add_", "_foreach_add_")
_foreach_sub = _each("sub", "_foreach_sub")
_foreach_sub_ = _each("sub_", "_foreach_sub_")
_foreach_mul = _each("mul", "_foreach_mul")
_foreach_mul_ = _each("mul_", "_foreach_mul_")
_foreach_div = _each("div", "_foreach_div")
_foreach_div_ = _each("div_", "_foreach_div_")
_foreach_pow = _each("pow", "_foreach_pow")
_foreach_pow_ = _each("pow_", "_foreach_pow_")
_foreach_clamp_max = _each("clamp_max", "_foreach_clamp_max")
_foreach_clamp_max_ = _each("clamp_max_", "_foreach_clamp_max_")
_foreach_clamp_min = _each("clamp_min", "_foreach_clamp_min")
_foreach_clamp_min_ = _each("clamp_min_", "_foreach_clamp_min_")
_foreach_maximum = _each("clamp_min", "_foreach_maximum")
_foreach_maximum_ = _each("clamp_min_", "_foreach_maximum_")
_foreach_minimum = _each("clamp_max", "_foreach_minimum")
_foreach_minimum_ = _each("clamp_max_", "_foreach_minimum_")
_foreach_lerp = _each("lerp", "_foreach_lerp")
_foreach_lerp_ = _each("lerp_", "_foreach_lerp_")
_foreach_addcmul = _each("addcmul", "_foreach_addcmul")
_foreach_addcmul_ = _each("addcmul_", "_foreach_addcmul_")
_foreach_addcdiv = _each("addcdiv", "_foreach_addcdiv")
_foreach_addcdiv_ = _each("addcdiv_", "_foreach_addcdiv_")
_foreach_clone = _each("clone", "_foreach_clone")
