"""Every public name of torch.nn and what is below it: present here, with the same parameters and defaults."""

import importlib
import inspect
import re
from inspect import isbuiltin
from typing import Any, TypeVar, get_overloads

import pytest
import torch
import torch.nn.utils.prune

import jtorch

MODULES = (
    "nn", "nn.functional", "nn.init", "nn.parameter", "nn.grad", "nn.utils", "nn.utils.clip_grad",
    "nn.utils.convert_parameters", "nn.utils.fusion", "nn.utils.init", "nn.utils.memory_format",
    "nn.utils.parametrizations", "nn.utils.parametrize", "nn.utils.prune", "nn.utils.rnn", "nn.utils.spectral_norm",
    "nn.utils.stateless", "nn.utils.weight_norm", "linalg", "signal.windows",
)  # fmt: skip

_TORCHSCRIPT = "a part of torch's own dispatch or of TorchScript, which are not here"
_SCALED = "an option of scaled_mm, which is not available"
ABSENT: dict[str, str] = {
    "nn.common_types": "aliases for annotations, meant for torch's own files",
    "nn.functional.assert_int_or_pair": "a check of torch's own arguments",
    "nn.functional.has_torch_function": _TORCHSCRIPT,
    "nn.functional.has_torch_function_unary": _TORCHSCRIPT,
    "nn.functional.has_torch_function_variadic": _TORCHSCRIPT,
    "nn.functional.ScalingType": _SCALED,
    "nn.functional.SwizzleType": _SCALED,
    "signal.windows.windows": "the file of torch's own package; each function is in signal.windows itself",
    "nn.utils.rnn.bind": "a function of torch's own file, None-safe application",
}
"""Public names of torch that are not here on purpose, each with its reason."""

OTHER: dict[str, str] = {
    **dict.fromkeys(
        ["linalg.householder_product", "linalg.matrix_power"],
        "the page of torch says A, and torch itself takes `input` alone",
    ),
    "linalg.vander": "the page of torch has N as a place, and torch itself takes it by keyword alone",
    "nn.Container": "torch's takes positional arguments too, and ignores them; here they raise",
    "nn.NLLLoss2d": "torch hides the arguments of the class that it stands for",
    "nn.GRU": "proj_size is listed, which torch takes only to refuse it",
    "nn.RNN": "proj_size is listed, which torch takes only to refuse it",
    "nn.utils.rnn.PackedSequence_": "the tuple under PackedSequence has its defaults",
    "nn.parameter.UninitializedTensorMixin": "a base class, which is not called",
}
"""Names whose parameters differ on purpose, each with its reason."""


def _belongs(name: str, value: Any, home: str) -> bool:
    """Whether a name in a module of torch is meant for users, and not only imported there."""
    if name.startswith("_") or isinstance(value, TypeVar):
        return False
    if inspect.ismodule(value):
        return value.__name__ == f"{home}.{name}"
    made_in = getattr(value, "__module__", None) or ""
    index = home in ("torch.nn", "torch.nn.functional", "torch.nn.utils", "torch.linalg")
    return callable(value) and (made_in == home or (index and (made_in.startswith("torch.nn.") or isbuiltin(value))))


def _names() -> list[str]:
    modules = {m: importlib.import_module(f"torch.{m}") for m in MODULES}
    return sorted(
        f"{m}.{n}" for m, home in modules.items() for n, v in vars(home).items() if _belongs(n, v, home.__name__)
    )


def _at(library: Any, path: str) -> Any:
    """The value of a dotted name. A module that is hidden by a function of its name is looked up as a module."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"{library.__name__}.{module}"), name)


def _default(value: Any) -> Any:
    if value is inspect.Parameter.empty or isinstance(value, int | float | str | tuple | None):
        return value
    if callable(value):
        return value.__name__
    return re.findall(r"\w+", repr(value))[-1]  # a dtype by its name


def _parameters(function: Any) -> list[tuple]:
    return [(p.name, p.kind, _default(p.default)) for p in inspect.signature(function).parameters.values()]


def _hidden(path: str, theirs: Any) -> Any:
    """The function whose parameters torch hides: behind a flag's dispatch, or behind a deprecation."""
    module, _, name = path.rpartition(".")
    home = importlib.import_module(f"torch.{module}")
    if module == "nn.functional":
        return getattr(home, f"_{name}", theirs)
    return getattr(home, f"{name}_", theirs) if module == "nn.init" else theirs


def _documented(function: Any) -> list[tuple] | None:
    """The parameters that the first line of a docstring names, for functions written in C."""
    head = re.match(r"\w+\((.*)\)\s*->", (function.__doc__ or "").strip())
    if head is None:
        return None
    found: list[tuple] = []
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for part in re.split(r",\s*(?![^(]*\))", head[1]):
        if part.strip() == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
            continue
        name, equal, default = (x.strip() for x in part.partition("="))
        found.append((name, kind, eval(default, {}) if equal else inspect.Parameter.empty))
    return found


def _theirs(path: str) -> list[tuple] | None:
    """torch's parameters; None where they cannot be known."""
    function = _at(torch, path)
    try:
        found = _parameters(function)
    except ValueError:
        return _documented(function)
    names = [name for name, *_ in found]
    if names != ["args", "kwargs"]:
        return found
    overloads = get_overloads(function.__init__) if inspect.isclass(function) else ()
    return _parameters(overloads[0])[1:] if overloads else _parameters(_hidden(path, function))


def _derived(ours: list[tuple], theirs: list[tuple]) -> list[tuple]:
    """Our parameters without the key that sampling functions take beside; with `out`, which every op takes unlisted."""
    found = [p for p in ours if p[0] not in ("key", "dropout_key") or p in theirs]
    if theirs and theirs[-1][0] == "out" and (not found or found[-1][0] != "out"):
        found.append(theirs[-1])
    return found


@pytest.mark.parametrize("path", _names())
def test_public_name(path):
    module, _, name = path.rpartition(".")
    if path in ABSENT:
        there = hasattr(importlib.import_module(f"jtorch.{module}"), name) if module in MODULES else False
        assert not there, f"{path} is here: take it off the list"
        return
    ours = _at(jtorch, path)
    if inspect.ismodule(_at(torch, path)) or path in OTHER:
        return
    theirs = _theirs(path)
    if theirs is not None:
        assert _derived(_parameters(ours), theirs) == theirs


def test_lists_are_true():
    names = set(_names())
    assert names >= set(ABSENT) | set(OTHER), (set(ABSENT) | set(OTHER)) - names
    assert all(len(reason) > 10 for reason in (*ABSENT.values(), *OTHER.values()))


@pytest.mark.parametrize(
    "ask",
    [
        lambda nn: nn.quantized.Linear,
        lambda nn: nn.qat.Linear,
        lambda nn: nn.intrinsic.ConvBn2d,
        lambda nn: nn.quantizable.LSTM,
        lambda nn: nn.functional.scaled_mm(*(None,) * 6),
        lambda nn: nn.functional.scaled_grouped_mm(*(None,) * 6),
    ],
)
def test_what_is_not_available_says_so(ask):
    with pytest.raises(NotImplementedError, match="not available"):
        ask(jtorch.nn)
