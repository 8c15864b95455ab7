"""Autocast: which ops run in which floating dtype while it is on, by kind of device, and the state that turns it on.

The lists are torch's. An op that is on one is compiled with the casts inside its program, so that gradients come back in
the dtype of what was given, and what it calls is not cast again. Ops on no list run as they are. The public face is `amp`.
"""

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch.ops import _args

LOWER, FULL, NARROWED, STATES, WIDEST, REFUSED = "lower", "full", "narrowed", "states", "widest", "refused"
"""The dtype of the region; float32, unless the call says `dtype=`; float32, and the result in that of the region; that of
the region if the states of a recurrent network have it, else float32; the widest among the arguments; an error."""

_LOSSES = """
    binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss huber_loss kl_div l1_loss
    margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss poisson_nll_loss smooth_l1_loss
    soft_margin_loss triplet_margin_loss cross_entropy linear_cross_entropy
"""
_PRODUCTS = """
    addbmm addmm baddbmm bmm conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d
    linalg_vecdot linear matmul mm prelu scaled_dot_product_attention
    chain_matmul einsum_of linalg_multi_dot
    attention_of attention_with_dropout joined_heads projected_heads weighted_values
"""
_CPU = {
    LOWER: _PRODUCTS + "attention_weights inner rnn_relu_cell rnn_tanh_cell tensordot_of",
    STATES: "gru_cell lstm_cell _recurrent _recurrent_dropping",
    NARROWED: "linalg_matrix_power linalg_pinv matrix_power",
    FULL: _LOSSES
    + """
    adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d binary_cross_entropy cdist cholesky cholesky_inverse cholesky_solve
    ctc_loss fft_fft fft_fft2 fft_fftn fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ihfft fft_irfft fft_irfft2
    fft_irfftn fft_rfft fft_rfft2 fft_rfftn fractional_max_pool2d fractional_max_pool3d geqrf grid_sample inverse
    linalg_cholesky linalg_cholesky_ex linalg_cond linalg_eig linalg_eigh linalg_eigvals linalg_eigvalsh
    linalg_householder_product linalg_inv linalg_inv_ex linalg_lstsq linalg_matrix_rank linalg_qr linalg_solve
    linalg_svd linalg_svdvals linalg_tensorinv linalg_tensorsolve lu_solve max_pool3d max_unpool2d max_unpool3d
    nanquantile orgqr ormqr pinverse polar prod qr quantile stft svd trace triangular_solve view_as_complex
    max_unpool1d pad
    """,
    WIDEST: "cat index_copy stack",
}
_CUDA = {
    LOWER: _PRODUCTS + "addmv addr gru_cell lstm_cell mv rnn_relu_cell rnn_tanh_cell _recurrent _recurrent_dropping",
    NARROWED: "linalg_matrix_power matrix_power",
    FULL: _LOSSES
    + """
    acos asin cdist cosh cosine_similarity cumprod cumsum dist erfinv exp expm1 group_norm layer_norm
    linalg_matrix_norm linalg_vector_norm log log10 log1p log2 log_softmax logsumexp norm pdist pow prod reciprocal
    renorm rms_norm rsqrt sinh softmax softplus sum tan
    arccos arcsin attention_weights cumulative_trapezoid interpolate linalg_norm local_response_norm
    multilabel_soft_margin_loss normalize pairwise_distance _pair_distance softmin square _times_reciprocal trapezoid trapz
    """,
    WIDEST: "addcdiv addcmul atan2 bilinear cross dot grid_sample index_put scatter_add tensordot_of vdot",
    REFUSED: "binary_cross_entropy",
}
_LISTS = {"cpu": _CPU, "cuda": _CUDA, "tpu": {k: v for k, v in _CUDA.items() if k != REFUSED}}
_POLICIES = {
    device: {name: policy for policy, names in lists.items() for name in names.split()}
    for device, lists in _LISTS.items()
}


def _contracts(operands: Sequence, equation: str) -> bool:
    """Whether an einsum is a matrix product, and not only sums and elementwise products."""
    left, _, out = equation.partition("->")
    terms = left.split(",")
    shared = {c for c in left if c.isalpha() and sum(c in term for term in terms) > 1}
    return bool(shared - set(out)) if "->" in equation else any(left.count(c) > 1 for c in shared)


def _left(a: Any, b: Any, dims: Any) -> int:
    """How many elements there are once these dimensions, or so many of the last and first, are summed over."""
    of_a, of_b = (range(-dims, 0), range(dims)) if isinstance(dims, int) else map(np.atleast_1d, dims)
    summed = math.prod(a.shape[d] for d in of_a) * math.prod(b.shape[d] for d in of_b)
    return math.prod(a.shape) * math.prod(b.shape) // max(summed, 1)


_ONLY: dict[tuple[str, str], Callable[..., bool]] = {
    ("cpu", "einsum_of"): _contracts,
    ("cpu", "inner"): lambda input, other: min(input.ndim, other.ndim) > 0 and _left(input, other, [[-1], [-1]]) > 1,
    ("cpu", "tensordot_of"): lambda a, b, dims: _left(a, b, dims) > 1,
    ("cpu", "max_pool3d"): lambda return_indices, **_: not return_indices,
    ("cpu", "pad"): lambda input, pad, mode, **_: mode == "replicate" or (mode == "reflect" and len(pad) < 6),
    ("cuda", "interpolate"): lambda mode, **_: mode != "area",
    **{(d, name): lambda n, **_: abs(n) > 1 for d in _LISTS for name in ("matrix_power", "linalg_matrix_power")},
}
"""Calls of ops that are several of torch's, of which only some are on its lists."""

_KEPT = {"weighted_values": 1}
"""How many arguments, the first ones, an op takes as they are."""


def policies(name: str) -> dict[str, str] | None:
    """What happens to the arguments of an op by kind of device; None for an op that is on no list."""
    return {device: of[name] for device, of in _POLICIES.items() if name in of} or None


# the state


class _State(threading.local):
    """What is on in this thread. Everything is replaced, never changed in place."""

    def __init__(self):
        bfloat16, float16 = np.dtype(jnp.bfloat16), np.dtype(np.float16)
        self.dtypes: dict[str, np.dtype] = {"cpu": bfloat16, "cuda": float16, "tpu": bfloat16}
        self.enabled: frozenset[str] = frozenset()
        self.on: dict[str, np.dtype] = {}  # the dtype of each kind of device for which it is on
        self.cached = True
        self.depth = 0

    def set(self, device: str, enabled: bool | None = None, dtype: np.dtype | None = None) -> None:
        """Turn autocast on or off for a kind of device, or change its dtype there."""
        if enabled is not None:
            self.enabled = self.enabled | {device} if enabled else self.enabled - {device}
        if dtype is not None:
            self.dtypes = {**self.dtypes, device: dtype}
        self.on = {d: self.dtypes[d] for d in self.enabled}

    def all(self) -> tuple:
        """All of it, hashable, as `restore` takes it."""
        return self.enabled, tuple(self.dtypes.items()), self.cached, self.depth

    def restore(self, before: tuple) -> None:
        """Go back to what `all` gave."""
        self.enabled, dtypes, self.cached, self.depth = before
        self.dtypes = dict(dtypes)
        self.on = {d: self.dtypes[d] for d in self.enabled}


running = _State()


def without(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """What the function gives with autocast off: as for what is inside an op, for `out=` and for ops in place."""
    before, running.on = running.on, {}
    try:
        return function(*args, **kwargs)
    finally:
        running.on = before


# casting


class Cast(NamedTuple):
    """What is done to the floating arrays among the arguments of one op. A part of the key of its program."""

    policy: str
    dtype: np.dtype  # of the region

    def target(self, values: Sequence, name: str) -> np.dtype:
        """The dtype that they are brought to.

        Raises:
            RuntimeError: the widest is asked for, and one is of a 16-bit float other than the region's.
        """
        if self.policy != WIDEST:
            return self.dtype if self.policy == LOWER else np.dtype(np.float32)
        widest = self.dtype
        for value in _leaves(values):
            dtype = _float_of(value)
            if dtype is None or np.float32 in (dtype, widest):
                widest = widest if dtype is None else np.dtype(np.float32)
                continue
            message = f"{name}(): expected floats of float32 or {self.dtype} under autocast, got {dtype}"
            _args.check(dtype == widest, message, RuntimeError)
        return widest

    def apply(self, values: Sequence, name: str, convert: Callable = jax.lax.convert_element_type) -> list:
        """The values with each floating array among them, but for float64, brought to one dtype."""
        target = self.target(values, name)

        def cast(value: Any) -> Any:
            if isinstance(value, tuple | list):
                return type(value)(map(cast, value))
            dtype = _float_of(value)
            return value if dtype is None or dtype == target else convert(value, target)

        kept = _KEPT.get(name, 0)
        return [*values[:kept], *map(cast, values[kept:])]

    def finish(self, result: Any, convert: Callable = jax.lax.convert_element_type) -> Any:
        """The result of an op, in the dtype of the region where the policy says so."""
        narrow = self.policy == NARROWED and _float_of(result) is not None
        return convert(result, self.dtype) if narrow else result


def _float_of(value: Any) -> np.dtype | None:
    """The dtype of an array that is cast; None for float64, other dtypes, numbers and what is no array."""
    if not hasattr(value, "shape") or (isinstance(value, Tracer) and value.aval.weak_type):
        return None
    dtype = np.dtype(value.dtype)
    return dtype if _args.is_float(dtype) and dtype != np.float64 else None


def _leaves(values: Sequence) -> list:
    return [x for value in values for x in (_leaves(value) if isinstance(value, tuple | list) else (value,))]


def _device_of(values: Sequence) -> str:
    """The kind of device that an op runs on. Tracers are on the default one."""
    for value in _leaves(values):
        array = getattr(value, "_raw_value", value)  # where it is a tensor
        if isinstance(array, jax.Array) and not isinstance(array, Tracer):
            platform = next(iter(array.devices())).platform
            break
    else:
        platform = jax.default_backend()
    return "cuda" if platform in ("gpu", "rocm") else platform


def chosen(name: str, policies: dict[str, str], values: Sequence, given: dict[str, Any]) -> Cast | None:
    """What is to be done to the arguments of an op now, `values` being those that may be arrays and `given` all by name.

    Raises:
        RuntimeError: torch takes the op for unsafe under autocast.
    """
    device = _device_of(values)
    policy = policies.get(device)
    if policy is None or device not in running.on or (policy == FULL and given.get("dtype") is not None):
        return None
    only = _ONLY.get(("cuda" if device == "tpu" else device, name))
    if only is not None and not only(**given):
        return None
    message = (
        f"{name}(): expected a call outside autocast, got one inside, where it is unsafe; use {name}_with_logits()"
    )
    _args.check(policy != REFUSED, message, RuntimeError)
    dtype = running.on[device]
    if policy == STATES:
        states = _leaves([given["states"] if "states" in given else given["hx"]]) or [given["input"]]
        short = given.get("mode", "GRU") != "GRU" or all(_float_of(x) == dtype for x in states)
        policy = LOWER if short else FULL
    return Cast(policy, dtype)


def called(function: Any, args: tuple, kwargs: dict[str, Any], to_copy: Any) -> Any:
    """What a function made of ops gives: its arguments cast if it is on a list, and then nothing inside it."""
    values = [*args, *kwargs.values()]
    named = function.__signature__.bind(*args, **kwargs).arguments
    cast = chosen(function.name, function.casts, values, named)
    if cast is None:
        return function.body(*args, **kwargs)
    values = cast.apply(values, function.name, to_copy)
    named = dict(zip(kwargs, values[len(args) :], strict=True))
    return cast.finish(without(function.body, *values[: len(args)], **named), to_copy)
