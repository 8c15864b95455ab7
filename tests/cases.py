"""Cases from torch's own test databases: sample inputs of its functions and modules. Only here are they touched.

A case names an entry, a dtype and the place of a sample in torch's list, so that its id means the same input in a bounded
run and a full one. Samples are made when they are asked for.
"""

import functools
import random
import types
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import gaps
import jax
import numpy as np
import torch
from torch.testing._internal.common_device_type import precisionOverride, toleranceOverride
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
from torch.testing._internal.common_optimizers import optim_db
from torch.testing._internal.opinfo.core import DecorateInfo

import jtorch

PRIMARY, EXTRA = 3 if jax.config.jax_enable_x64 else 1, 1
"""Samples of an entry in the bounded run: of its first float dtype, and of each other dtype that is tried."""

RANDOM_NAMES = {"bernoulli", "cauchy", "exponential", "geometric", "log_normal", "normal", "uniform", "multinomial",
                "randn", "rand_like", "randn_like", "randint", "randint_like", "nn.functional.rrelu",
                "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d",
                "nn.functional.alpha_dropout", "nn.functional.feature_alpha_dropout",
                "nn.functional.multi_head_attention_forward", "nn.functional.scaled_dot_product_attention",
                "nn.functional.fractional_max_pool2d", "nn.functional.fractional_max_pool3d",
                "svd_lowrank", "pca_lowrank"}  # fmt: skip
STREAMS = RANDOM_NAMES - {
    name for name in RANDOM_NAMES if "attention" in name or "fractional" in name or "rrelu" in name
}
"""Those that draw torch's numbers."""
UNDEFINED = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted"}
"""Entries whose values mean nothing."""


class Case(NamedTuple):
    """One sample of one entry."""

    entry: Any
    dtype: torch.dtype
    kind: str  # "" for a sample input, "ref" for a reference input
    index: int

    def __str__(self):
        return f"{label(self.entry)}-{dtype_name(self.dtype)}-{self.kind}{self.index}"

    def sample(self) -> Any:
        """The sample: `.input`, `.args`, `.kwargs`."""
        return _samples(self.entry, self.dtype, self.kind)[self.index]

    def tolerance(self) -> dict:
        """What torch's database says of this entry's accuracy, for `assert_close`; nothing in most cases."""
        return tolerance(self.entry, self.dtype)


def dtype_name(dtype: torch.dtype) -> str:
    """torch's short name."""
    return str(dtype).removeprefix("torch.")


def label(entry: Any) -> str:
    """An entry's name with its variant."""
    return entry.full_name


_BY_LABEL = {label(entry): entry for entry in op_db}  # entries cannot be hashed


# which entries are ours


_INTERNAL = {"bmm.triton_optimized", "max_pool2d_with_indices_backward", "slice"}


def is_public(entry: Any) -> bool:
    """Whether an entry is something torch's users call on a CPU; the databases hold internals too."""
    parts = entry.name.split(".")
    private = any(p.startswith("_") and not p.startswith("__") for p in parts)
    internal = entry.name.startswith(("torch.", "jiterator", "native_", "grid_sampler_"))
    return not (private or internal or label(entry) in _INTERNAL)


def follow(root: Any, path: str) -> Any:
    """`root.a.b.c`, or None."""
    for part in path.split("."):
        root = getattr(root, part, None)
    return root


def _rebound(function: Callable) -> Callable:
    """torch's lambda with the name `torch` meaning jtorch, and seeds left to the caller."""
    meant = {"torch": jtorch, "wrapper_set_seed": _called}
    scope = {**function.__globals__, **meant}
    return types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)


def _called(function: Callable, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def theirs(entry: Any) -> Callable:
    """The function of torch that an entry is about."""
    return _unseeded(entry, entry.op)


def _unseeded(entry: Any, function: Callable) -> Callable:
    """A lambda of torch's that seeds before it draws, without the seeding."""
    if entry.name in RANDOM_NAMES and isinstance(function, types.FunctionType):
        scope = {**function.__globals__, "wrapper_set_seed": _called}
        return types.FunctionType(function.__code__, scope, "<lambda>", function.__defaults__, function.__closure__)
    return function


def ours(entry: Any) -> Callable | None:
    """Its counterpart in jtorch, or None where there is none yet."""
    function, name = entry.op, entry.name
    if getattr(torch.Tensor, name, None) is function:
        return follow(jtorch.Tensor, name)
    named = any(
        follow(theirs, name) and not follow(mine, name)
        for theirs, mine in ((torch, jtorch), (torch.Tensor, jtorch.Tensor))
    )
    if _is_their_lambda(function):
        return _rebound(function) if not named and _has_all(function) else None
    return follow(jtorch, name)


def _has_all(function: Callable) -> bool:
    """Whether jtorch has the function or the method that a lambda of torch's calls."""
    names = [n for n in function.__code__.co_names if n != "wrapper_set_seed"]
    if "torch" not in names:
        return all(hasattr(jtorch.Tensor, n) or n in ("grad", "backward") for n in names)
    root: Any = jtorch
    for name in names[names.index("torch") + 1 :]:
        root = getattr(root, name, None)
        if callable(root) or root is None:
            break
    return root is not None


@functools.cache
def public_entries() -> tuple:
    """The entries of `op_db` that torch's users can call."""
    return tuple(e for e in op_db if is_public(e))


@functools.cache
def entries() -> tuple:
    """Those of them that jtorch has."""
    return tuple(e for e in public_entries() if ours(e) is not None)


def missing() -> set[str]:
    """The labels of those that it has not."""
    have = set(map(label, entries()))
    return {label(e) for e in public_entries()} - have


# which samples


def _seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def _samples(entry: Any, dtype: torch.dtype, kind: str) -> list:
    return _made(label(entry), dtype, kind)


@functools.lru_cache(maxsize=16)
def _made(name: str, dtype: torch.dtype, kind: str) -> list:
    entry = _BY_LABEL[name]
    _seed()
    inexact = dtype.is_floating_point or dtype.is_complex
    gradients = not kind and inexact and entry.supports_autograd and dtype in entry.supported_backward_dtypes("cpu")
    make = entry.reference_inputs_func if kind else entry.sample_inputs_func  # their wrappers walk the stack: slow
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(make(entry, "cpu", dtype, requires_grad=gradients))


def spread(count: int, limit: int | None, always: Iterable[int] = ()) -> list[int]:
    """At most `limit` of the numbers below `count`, evenly spread, first and last among them; and those in `always`."""
    if limit is None or count <= limit:
        return list(range(count))
    chosen = {round(i * (count - 1) / max(limit - 1, 1)) for i in range(limit)}
    return sorted(chosen | {i for i in always if i < count})


SUPPORTED = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.int16,
             torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128)  # fmt: skip
_BOUNDED = (torch.float32, torch.int64)


def dtypes(entry: Any, full: bool) -> list[torch.dtype]:
    """The dtypes that an entry is tried with, the one that gets most samples first."""
    known = [d for d in SUPPORTED if d in entry.supported_dtypes("cpu")]
    bounded = [d for d in _BOUNDED if d in known]
    return known if full else bounded or known[:1]


def op_cases(full: bool) -> list[Case]:
    """Sample inputs of every entry, and reference inputs where torch has more of them."""
    found = []
    for entry in entries():
        for place, dtype in enumerate(dtypes(entry, full)):
            limit = None if full else EXTRA if place else PRIMARY
            found += _cases(entry, dtype, "", limit)
            if entry.reference_inputs_func is not None and (full or not place):
                found += _cases(entry, dtype, "ref", limit and 1)
    return found


def apart_cases(full: bool) -> list[Case]:
    """Samples to be tried with arguments that are not contiguous: every one of two dtypes, or one of every sixteenth entry."""
    chosen = [e for e in entries() if e.name not in UNDEFINED]
    return [
        case
        for entry in (chosen if full else chosen[::16])
        for dtype in dtypes(entry, False)[: 2 if full else 1]
        for case in _cases(entry, dtype, "", None if full else 1)
    ]


def _cases(entry: Any, dtype: torch.dtype, kind: str, limit: int | None) -> list[Case]:
    key = f"{label(entry)}-{dtype_name(dtype)}-{kind}"
    named = gaps.indices("op/" + key)
    sizes = [_size(s) for s in _samples(entry, dtype, kind)]
    small = [i for i, size in enumerate(sizes) if not kind or limit is None or size <= 4096]
    return [Case(entry, dtype, kind, small[i]) for i in spread(len(small), limit, map(small.index, named & set(small)))]


def _size(sample: Any) -> int:
    return sample.input.numel() if isinstance(sample.input, torch.Tensor) else 0


class ErrorCase(NamedTuple):
    """A call that torch refuses."""

    entry: Any
    index: int

    def __str__(self):
        return f"{label(self.entry)}-{self.index}"

    def sample(self) -> Any:
        """The call's arguments."""
        return _errors(self.entry)[self.index].sample_input


def _errors(entry: Any) -> list:
    _seed()
    return list(entry.error_inputs_func(entry, "cpu")) if entry.error_inputs_func is not None else []


def error_cases() -> list[ErrorCase]:
    """Every call that torch's database says to be an error."""
    return [ErrorCase(e, i) for e in entries() for i in range(len(_errors(e)))]


_FORMS = ("method", "inplace", "operator", "inplace_operator")


class FormCase(NamedTuple):
    """Another way to call an entry: as a method, in place, as an operator."""

    entry: Any
    kind: str
    dtype: torch.dtype

    def __str__(self):
        return f"{label(self.entry)}-{self.kind}-{dtype_name(self.dtype)}"

    def samples(self) -> list:
        """A few samples."""
        made = _samples(self.entry, self.dtype, "")
        return [made[i] for i in spread(len(made), 3)]

    def pair(self) -> tuple[Callable, Callable]:
        """(ours, theirs); the forms in place get a copy of their input, which is no leaf."""
        theirs = _unseeded(self.entry, getattr(self.entry, f"get_{self.kind}")())
        if _is_their_lambda(theirs):
            ours = _rebound(theirs)
        else:
            ours = theirs if _is_operator(theirs) else _ours_of_method(theirs)
        return (_on_copy(ours), _on_copy(theirs)) if self.kind.startswith("inplace") else (ours, theirs)


def _on_copy(function: Callable) -> Callable:
    return lambda input, *args, **kwargs: function(input.clone(), *args, **kwargs)


def _is_their_lambda(function: Any) -> bool:
    return isinstance(function, types.FunctionType) and function.__module__.startswith("torch.testing")


def _is_operator(function: Any) -> bool:
    return getattr(function, "__module__", "") == "_operator"


def _plain(function: Any) -> Any:
    return getattr(function, "func", function)


def _ours_of_method(function: Any) -> Callable:
    found = getattr(jtorch.Tensor, _plain(function).__name__)
    return found if function is _plain(function) else functools.partial(found, *function.args, **function.keywords)


def _is_ours_too(function: Any) -> bool:
    if function is None:
        return False
    if _is_their_lambda(function):
        return _has_all(function)
    return _is_operator(function) or hasattr(jtorch.Tensor, _plain(function).__name__)


def form_cases() -> list[FormCase]:
    """The forms that entries have besides the function."""
    return [
        FormCase(entry, kind, dtypes(entry, False)[0])
        for entry in entries()
        for kind in _FORMS
        if _is_ours_too(getattr(entry, f"get_{kind}")())
    ]


def second_order_cases() -> list[Case]:
    """One sample in double precision of every entry that can be differentiated twice."""
    found = []
    for entry in entries():
        if (
            entry.supports_autograd
            and entry.supports_gradgrad
            and torch.float64 in entry.supported_backward_dtypes("cpu")
        ):
            samples = _samples(entry, torch.float64, "")
            fit = [i for i, s in enumerate(samples) if 1 < _size(s) <= 200] or list(range(len(samples)))[:1]
            found += [Case(entry, torch.float64, "", i) for i in fit[len(fit) // 2 :][:1]]
    return found


# accuracy

_THEIR_TESTS = (None, "TestCommon", "TestUnaryUfuncs", "TestBinaryUfuncs", "TestReductions", "TestModule", "TestOpInfo")


def tolerance(entry: Any, dtype: torch.dtype) -> dict:
    """The widest tolerance that torch's tests give an entry on the CPU, as arguments of `assert_close`."""
    found: dict[str, float] = {}
    for info in entry.decorators:
        if (
            not isinstance(info, DecorateInfo)
            or info.cls_name not in _THEIR_TESTS
            or info.device_type not in (None, "cpu")
        ):
            continue
        for each in info.decorators:
            if isinstance(each, toleranceOverride) and dtype in each.d:
                limits = {"atol": each.d[dtype].atol, "rtol": each.d[dtype].rtol}
            elif isinstance(each, precisionOverride) and dtype in each.d:
                limits = {"atol": each.d[dtype], "rtol": 0.0}
            else:
                continue
            found = found or dict(
                zip(("rtol", "atol"), torch.testing._comparison.default_tolerances(dtype), strict=True)
            )
            found = {k: max(v, limits[k]) for k, v in found.items()}
    return found


# modules


class ModuleCase(NamedTuple):
    """One way to construct a module, and one input for it."""

    entry: Any
    dtype: torch.dtype
    training: bool
    index: int

    def __str__(self):
        mode = "train" if self.training else "eval"
        return f"{self.entry.module_cls.__name__}-{dtype_name(self.dtype)}-{mode}-{self.index}"

    def sample(self) -> Any:
        """`.constructor_input` and `.forward_input`, both with `.args` and `.kwargs`."""
        return _module_samples(self.entry, self.dtype, self.training)[self.index]

    def tolerance(self) -> dict:
        """What torch's database says of the module's accuracy."""
        return tolerance(self.entry, self.dtype)


def _module_samples(entry: Any, dtype: torch.dtype, training: bool) -> list:
    _seed()
    made = entry.module_inputs_func(entry, device="cpu", dtype=dtype, requires_grad=True, training=training)
    return [s for s in made if s.forward_input is not None]


def module_entries() -> list:
    """The entries of `module_db` that jtorch.nn has."""
    return [e for e in module_db if hasattr(jtorch.nn, e.module_cls.__name__)]


def missing_modules() -> set[str]:
    """The names of those that it has not."""
    return {e.module_cls.__name__ for e in module_db if not hasattr(jtorch.nn, e.module_cls.__name__)}


def module_cases(full: bool) -> list[ModuleCase]:
    """Every module in train and eval mode."""
    found = []
    for entry in module_entries():
        for dtype in [d for d in SUPPORTED if d in entry.dtypes] if full else [torch.float32]:
            for training in (True, False):
                count = len(_module_samples(entry, dtype, training))
                limit = None if full else 8 if training else 3
                prefix = f"module/{entry.module_cls.__name__}-{dtype_name(dtype)}-{'train' if training else 'eval'}-"
                found += [ModuleCase(entry, dtype, training, i) for i in spread(count, limit, gaps.indices(prefix))]
    return found


class ModuleErrorCase(NamedTuple):
    """A construction or a forward that torch refuses."""

    entry: Any
    index: int

    def __str__(self):
        return f"{self.entry.module_cls.__name__}-{self.index}"

    def sample(self) -> tuple[Any, bool]:
        """The module's input, and whether already the construction is the error."""
        error = _module_errors(self.entry)[self.index]
        return error.module_error_input, error.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR


def _module_errors(entry: Any) -> list:
    _seed()
    make = entry.module_error_inputs_func
    return make(entry, device="cpu", dtype=torch.float32, requires_grad=False, training=True) if make else []


def module_error_cases() -> list[ModuleErrorCase]:
    """Every wrong use of a module that torch's database knows."""
    return [ModuleErrorCase(e, i) for e in module_entries() for i in range(len(_module_errors(e)))]


# optimizers


def optimizer_cases() -> list[tuple[type, dict, str]]:
    """(torch's class, constructor arguments, what they are about) for every entry of `optim_db`."""
    return [
        (entry.optim_cls, dict(made.kwargs), made.desc)
        for entry in optim_db
        for made in entry.optim_inputs_func(device="cpu", dtype=torch.float32)
    ]
