"""The examples of torch's own docstrings, read from the installed torch and run with `torch` meaning jtorch.

Each statement runs under both libraries, one after the other. What they draw at random comes from one stream of numbers,
and a new module of ours takes the weights of theirs; then every variable, gradient, printed line and shown value has to
agree, in its numbers and in the text around them.
"""

import builtins
import contextlib
import copy
import doctest
import importlib
import inspect
import io
import re
import sys
import textwrap
import types
import warnings

import cases
import numpy as np
import parity
import pytest
import torch
import torch.nn.utils.prune

import jtorch

RANDOM = re.compile(
    r"Dropout|dropout|RReLU|rrelu|[Ff]ractional|gumbel|bernoulli|multinomial|normal|poisson|rand|Transformer|seed|uniform|init\.|is_pruned"
)
"""Names whose own draws cannot be shared: for these the shapes are compared, not the values."""
ROUNDING = {"linalg.inv", "linalg.lu_solve"}
"""Examples that show what rounding leaves of a random system, which is another number on each processor."""
NUMBER = re.compile(r"-?(?:\d+\.?\d*(?:e[+-]?\d+)?|\binf\b|\bnan\b)")


def _documented():
    """name -> docstring, for what both libraries have and torch shows an example of."""
    places = {"nn": (torch.nn, jtorch.nn), "F": (torch.nn.functional, jtorch.nn.functional), "torch": (torch, jtorch),
              "Tensor": (torch.Tensor, jtorch.Tensor), "optim": (torch.optim, jtorch.optim), "init": (torch.nn.init, jtorch.nn.init),
              "utils": (torch.nn.utils, jtorch.nn.utils), "prune": (torch.nn.utils.prune, jtorch.nn.utils.prune),
              "parametrize": (torch.nn.utils.parametrize, jtorch.nn.utils.parametrize),
              "fft": (torch.fft, jtorch.fft), "special": (torch.special, jtorch.special), "linalg": (torch.linalg, jtorch.linalg),
              "parametrizations": (torch.nn.utils.parametrizations, jtorch.nn.utils.parametrizations)}  # fmt: skip
    found = {}
    for place, (theirs, ours) in places.items():
        for name in sorted(set(dir(theirs)) & set(dir(ours))):
            value = inspect.getattr_static(theirs, name)
            if name.startswith("_") or name in cases.UNDEFINED or isinstance(value, types.ModuleType):
                continue
            doc = inspect.getdoc(getattr(theirs, name)) if callable(getattr(theirs, name)) else None
            if doc and ">>>" in doc and doc not in found.values():
                found[f"{place}.{name}"] = doc
    for name, method in vars(torch.nn.Module).items():
        if hasattr(jtorch.nn.Module, name) and callable(method) and ">>>" in (method.__doc__ or ""):
            found[f"nn.Module.{name}"] = inspect.getdoc(method)
    return found


DOCS = _documented()


def statements(doc: str) -> list[str]:
    """The code of the examples, a statement each."""
    try:
        return [textwrap.dedent(e.source) for e in doctest.DocTestParser().get_examples(_regular(doc))]
    except ValueError:
        return []


def _regular(doc: str) -> str:
    """torch's examples written as doctest wants them: a blank after the prompt, plain indentation."""
    doc = re.sub(r"^(\s*)(>>>|\.\.\.)(?=\S)", r"\1\2 ", doc, flags=re.MULTILINE)
    return "\n".join(line.rstrip() if line.strip() in (">>>", "...") else line for line in doc.splitlines())


class Stream:
    """Numbers for both libraries: each has a place of its own in the same sequence."""

    def __init__(self, library):
        self.library = library
        self.numbers = np.random.default_rng(0)

    def tensor(self, values, dtype=None, requires_grad=False, out=None, **_):
        made = self.library.tensor(np.asarray(values, np.float32) if dtype is None else np.asarray(values))
        made = made if dtype is None else made.to(dtype)
        return made.requires_grad_() if requires_grad else made

    def size(self, size, kwargs):
        size = size or kwargs.pop("size", ())
        return tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)

    def randn(self, *size, generator=None, **kwargs):
        return self.tensor(self.numbers.normal(size=self.size(size, kwargs)), **kwargs)

    def rand(self, *size, generator=None, **kwargs):
        return self.tensor(self.numbers.uniform(size=self.size(size, kwargs)), **kwargs)

    def empty(self, *size, **kwargs):
        return self.tensor(np.zeros(self.size(size, kwargs)), **kwargs)

    def randint(self, *bounds, size=None, generator=None, dtype=None, **kwargs):
        *bounds, size = (*bounds, size) if size is not None else bounds
        return self.tensor(self.numbers.integers(*bounds, size=tuple(size)), dtype or self.library.int64, **kwargs)

    def randperm(self, n, **_):
        return self.tensor(self.numbers.permutation(n), self.library.int64)

    def rand_like(self, other, **_):
        return self.rand(*other.shape)

    def randn_like(self, other, **_):
        return self.randn(*other.shape)

    def random_(self, tensor, low=0, high=None, **_):
        low, high = (0, low) if high is None else (low, high)
        with self.library.no_grad():
            return tensor.copy_(
                self.tensor(self.numbers.integers(low, high or 2**20, tuple(tensor.shape)), tensor.dtype)
            )

    def uniform_(self, tensor, low=0.0, high=1.0, **_):
        with self.library.no_grad():
            return tensor.copy_(self.tensor(self.numbers.uniform(low, high, tuple(tensor.shape))))

    def normal_(self, tensor, mean=0.0, std=1.0, **_):
        with self.library.no_grad():
            return tensor.copy_(self.tensor(self.numbers.normal(mean, std, tuple(tensor.shape))))


FUNCTIONS = ("randn", "rand", "empty", "randint", "randperm", "rand_like", "randn_like")
METHODS = ("random_", "uniform_", "normal_")


class Session:
    """One library with the names that examples use, and what they printed."""

    def __init__(self, library, monkeypatch):
        self.library, self.printed = library, io.StringIO()
        stream = Stream(library)
        for name in FUNCTIONS:
            monkeypatch.setattr(library, name, getattr(stream, name))
        for name in METHODS:
            monkeypatch.setattr(library.Tensor, name, _method(getattr(stream, name)))
        hooks = {**vars(builtins), "__import__": self._import}
        self.names = {"__builtins__": hooks, "__name__": "__main__", "torch": library, "nn": library.nn,
                      "F": library.nn.functional, "optim": getattr(library, "optim", None), "np": np,
                      "init": library.nn.init, "autograd": library.autograd}  # fmt: skip

    def _import(self, name, globals=None, locals=None, fromlist=(), level=0):
        if name.split(".")[0] != "torch" or self.library is torch:
            return builtins.__import__(name, globals, locals, fromlist, level)
        found = importlib.import_module("jtorch" + name.removeprefix("torch"))
        return found if fromlist else jtorch

    def run(self, source):
        """What a statement shows, or the exception that it raises."""
        shown = []
        hook = lambda value: shown.append(value) if value is not None else None
        with contextlib.redirect_stdout(self.printed), warnings.catch_warnings(), _displayed_by(hook):
            warnings.simplefilter("ignore")
            try:
                exec(compile(source, "example", "single"), self.names)
            except Exception as error:
                return error
        return shown


def _method(function):
    return lambda self, *args, **kwargs: function(self, *args, **kwargs)


@contextlib.contextmanager
def _displayed_by(hook):
    before, sys.displayhook = sys.displayhook, hook
    try:
        yield
    finally:
        sys.displayhook = before


@pytest.fixture
def settings_restored():
    """Examples of settings change them."""
    yield
    for library in (torch, jtorch):
        library.set_grad_enabled(True)
        library.set_default_dtype(library.float32)
        library.set_printoptions(profile="default")
        library.use_deterministic_algorithms(False)
        library.set_float32_matmul_precision("highest")
        if hasattr(library, "set_default_device"):
            library.set_default_device(None)


@pytest.mark.usefixtures("settings_restored")
@pytest.mark.parametrize("name", DOCS)
def test_docs(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # some examples write files
    theirs, ours = Session(torch, monkeypatch), Session(jtorch, monkeypatch)
    values = not RANDOM.search(name) and name not in ROUNDING
    for source in statements(DOCS[name]):
        values = values and not re.search(r"manual_seed|Generator|bernoulli|multinomial|torch\.normal|dropout", source)
        before = dict(theirs.names)
        expected = theirs.run(source)
        if isinstance(expected, Exception | SystemExit):
            if isinstance(expected, NameError | SyntaxError | FileNotFoundError | ModuleNotFoundError):
                continue  # an example that names what it does not make
            got = ours.run(source)
            parity.same_error(got if isinstance(got, Exception) else None, expected)
            continue
        got = ours.run(source)
        if isinstance(got, Exception):
            raise AssertionError(f"{source.strip()!r} raised {type(got).__name__}: {got}") from got
        try:
            _compare_values(got, expected, source, values)
            for variable in theirs.names.keys() - {"__builtins__"}:
                if (
                    variable not in before
                    or theirs.names[variable] is not before[variable]
                    or "_" in source
                    or "." in source
                ):
                    _compare_variable(ours.names.get(variable), theirs.names[variable], variable, values)
        except AssertionError as failure:
            raise AssertionError(f"after {source.strip()!r}: {failure}") from failure
    _same_text(ours.printed.getvalue(), theirs.printed.getvalue(), values)


def _compare_values(got, expected, what, values):
    for mine, yours in zip(got, expected, strict=True):
        _compare_variable(mine, yours, what, values)
        if isinstance(yours, torch.Tensor | torch.Size | torch.nn.Module | torch.dtype):
            _same_text(repr(mine), repr(yours), values)


def _compare_variable(mine, yours, name, values):
    if isinstance(yours, torch.nn.Module):
        assert isinstance(mine, jtorch.nn.Module), f"{name} is {mine!r}"
        assert repr(mine).replace("jtorch.", "torch.") == repr(yours)
        weights = {k: v for k, v in yours.state_dict().items() if not torch.nn.parameter.is_lazy(v)}
        assert list(mine.state_dict()) == list(yours.state_dict())
        if not getattr(yours, "_jtorch_twin", False):  # a module of its own weights takes theirs, once
            mine.load_state_dict(parity.to_jtorch(copy.copy(weights)), strict=False)
            yours.__dict__["_jtorch_twin"] = True
        elif values:
            parity.same([v.detach() for v in mine.state_dict().values()], [v.detach() for v in weights.values()], name)
    elif isinstance(yours, torch.Tensor):
        parity.same(mine, yours, name, values, _rounding(yours))
        if yours.is_leaf and yours.grad is not None:
            parity.same(mine.grad, yours.grad, f"{name}.grad", values, _rounding(yours.grad))
    elif isinstance(yours, list | tuple) and yours and all(isinstance(x, torch.Tensor) for x in yours):
        parity.same(list(mine), list(yours), name, values)
    elif isinstance(yours, bool | int | float | str) and values:
        assert mine == pytest.approx(yours, rel=1e-5) if isinstance(yours, float) else mine == yours, (
            f"{name}: {mine!r} for {yours!r}"
        )


def _rounding(tensor):
    """torch's tolerance, with the absolute part in units of the largest element: examples sum over many channels."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel():
        return {}
    rtol, atol = torch.testing._comparison.default_tolerances(tensor.dtype)
    size = tensor.detach().abs().nan_to_num(0, 0, 0).max().item()
    return {"rtol": rtol, "atol": atol * max(1.0, size)}


def _same_text(mine, yours, values):
    """The same text around the numbers, and the same numbers."""
    texts = [NUMBER.sub(" # ", text).split() for text in (mine, yours)]  # a sign may stand where a blank would
    assert texts[0] == texts[1], f"{mine}\nfor\n{yours}"
    if values:
        pairs = ([float(x) for x in NUMBER.findall(text)] for text in (mine, yours))
        np.testing.assert_allclose(*pairs, rtol=1e-3, atol=2e-4)
