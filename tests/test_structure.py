"""The shape of the code, read with `ast`: layers, names, docstrings, sizes; and the indexes against the op records."""

import ast
import functools
import importlib
import inspect
import pathlib
import re
import types

import extras
import gaps
import pytest
import torch

import jtorch
from jtorch.ops import _op

PACKAGE = pathlib.Path(jtorch.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
OPTIONAL = {"torch", "safetensors", "orbax", "matplotlib", "tqdm", "sklearn", "numpy.typing", "IPython"}
LAYERS = (
    ("ops",),
    ("autograd", "random", "_methods", "_tensor", "_memory", "_views", "_calling", "_conversion", "_gradients",
     "_layout", "_filling", "_settings", "_stubs", "_version", "_creation", "_types", "_printing", "_capture", "_donating",
     "_twister", "_draws", "_devices", "_streams", "_device_memory", "_tapers", "amp", "_lowrank"),
    ("nn", "optim", "linalg", "fft", "special", "accelerator", "backends", "cuda", "cpu", "mps", "xpu", "version",
     "_foreach", "signal", "masked"),
    ("_compile", "_entry", "_explain", "_scan", "func", "serialization", "testing", "compiler", "distributed",
     "hub", "jit", "onnx", "return_types", "sparse", "utils", "export", "_summary"),
)  # fmt: skip
FORBIDDEN = re.compile(r"(?:^|_)(utils?|helpers?|common|misc|managers?)(?:_|$)")
LONG_FILE, LONG_FUNCTION = 450, 40


def name_of(path: pathlib.Path) -> str:
    """`jtorch.ops.shape` for its file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


ids = dict(argvalues=FILES, ids=[name_of(p) for p in FILES])


@functools.cache
def tree_of(path: pathlib.Path) -> ast.Module:
    """The file, parsed."""
    return ast.parse(path.read_text())


def functions(tree: ast.AST) -> list:
    """Every def in it."""
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def imported(tree: ast.AST) -> list[str]:
    """The modules of this package that a tree imports, in full."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found += [f"{node.module}.{a.name}" for a in node.names]
    return [n for n in found if n.split(".")[0] == "jtorch"]


def layer_of(name: str) -> int | None:
    """The layer of a module; None for the index of everything."""
    room = name.split(".")[1] if "." in name else ""
    for number, rooms in enumerate(LAYERS):
        if room in rooms:
            return number
    return None


# layers


@pytest.mark.parametrize("path", **ids)
def test_imports_point_down(path):
    own = layer_of(name_of(path))
    if name_of(path) == "jtorch":
        return
    assert own is not None, f"{name_of(path)} has no layer: name it in LAYERS"
    for module in imported(tree_of(path)):
        theirs = layer_of(module)
        if theirs is None:  # `from jtorch import x` of a value: only layer 3 may use the index
            assert own == len(LAYERS) - 1, f"{name_of(path)} imports {module}, the index"
        else:
            assert theirs <= own, f"{name_of(path)} of layer {own} imports {module} of layer {theirs}"


@pytest.mark.parametrize("path", [p for p in FILES if layer_of(name_of(p)) == 0], ids=name_of)
def test_ops_need_only_jax_and_numpy(path):
    for node in ast.walk(tree_of(path)):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            root = module.split(".")[0]
            assert root in ("jax", "numpy", "jtorch", "opt_einsum") or root in STANDARD, f"{module} in {name_of(path)}"


STANDARD = __import__("sys").stdlib_module_names


def test_no_cycles():
    known = {name_of(p) for p in FILES}
    edges = {}
    for path in FILES:
        targets = {m if m in known else m.rpartition(".")[0] for m in _top_imports(path)}
        edges[name_of(path)] = {t for t in targets if t in known and t != name_of(path)}
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, f"cycle: {' -> '.join([*open_[open_.index(name) :], name])}"
        if name not in done:
            open_.append(name)
            for target in sorted(edges[name]):
                visit(target)
            done.add(open_.pop())

    for name in sorted(known):
        visit(name)


def _top_imports(path):
    """Imports that run when the file is imported; a package's own index does not count as needing its files."""
    tree = tree_of(path)
    body = ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], [])
    return imported(body)


@pytest.mark.parametrize("path", **ids)
def test_imports_stand_at_the_top(path):
    for function in functions(tree_of(path)):
        for node in ast.walk(function):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                assert module.split(".")[0] in OPTIONAL, f"{function.name} imports {module}"


@pytest.mark.parametrize("path", **ids)
def test_no_import_star_and_no_assert_for_users(path):
    for node in ast.walk(tree_of(path)):
        assert not (isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names))


# names


def test_one_def_for_each_op():
    seen: dict[str, str] = {}
    for path in FILES:
        if layer_of(name_of(path)) != 0:
            continue
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef) and node.name in _op.registry:
                assert node.name not in seen, f"{node.name} is defined in {seen[node.name]} and {name_of(path)}"
                seen[node.name] = name_of(path)


@pytest.mark.parametrize("path", **ids)
def test_names_say_something(path):
    tree = tree_of(path)
    names = [path.stem, *(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef))]
    vague = [n for n in names if FORBIDDEN.search(n.lower()) and n not in extras.TORCH_NAMES_THEM]
    inside_utils = "nn.utils" in name_of(path) or name_of(path).endswith("utils")
    assert not [n for n in vague if not (inside_utils and n == path.stem)]


PUBLIC = {"jtorch": torch, "jtorch.nn": torch.nn, "jtorch.nn.functional": torch.nn.functional, "jtorch.nn.init": torch.nn.init,
          "jtorch.nn.utils": torch.nn.utils, "jtorch.optim": torch.optim, "jtorch.autograd": torch.autograd,
          "jtorch.serialization": torch.serialization, "jtorch.export": torch.export, "jtorch.linalg": torch.linalg,
          "jtorch.fft": torch.fft, "jtorch.masked": torch.masked, "jtorch.signal.windows": torch.signal.windows,
          "jtorch.special": torch.special, "jtorch.testing": torch.testing,
          "jtorch.amp": torch.amp, "jtorch.cuda": torch.cuda, "jtorch.cpu": torch.cpu, "jtorch.func": torch.func}  # fmt: skip


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_torchs(module):
    ours = importlib.import_module(module)
    names = {n for n, v in vars(ours).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)}
    theirs = PUBLIC[module]
    unknown = {f"{module}.{n}" for n in names if not hasattr(theirs, n)}
    assert unknown == {n for n in extras.NAMES if n.rpartition(".")[0] == module}


def test_tensor_has_only_torchs_methods():
    names = {n for n in dir(jtorch.Tensor) if not n.startswith("_")}
    unknown = {f"jtorch.Tensor.{n}" for n in names if not hasattr(torch.Tensor, n)}
    assert unknown == {n for n in extras.NAMES if n.startswith("jtorch.Tensor.")}


def test_extras_have_reasons():
    assert all(len(reason) > 10 for reason in extras.NAMES.values())


# the index and the records


@pytest.mark.parametrize("name", sorted(_op.registry))
def test_index_is_the_records(name):
    op = _op.registry[name]
    if op.function and not name.startswith("_") and hasattr(torch, name):
        assert getattr(jtorch, name, None) is op or name in extras.WRAPPED, f"jtorch.{name} is not the op"
    if hasattr(torch.nn.functional, name) and callable(getattr(torch.nn.functional, name)):
        assert getattr(jtorch.nn.functional, name, None) is op, f"F.{name} is not the op"
    if op.method and hasattr(torch.Tensor, name):
        assert hasattr(jtorch.Tensor, name), f"Tensor.{name} is missing"
    if op.inplace:
        assert hasattr(jtorch.Tensor, name + "_"), f"Tensor.{name}_ is missing"
        assert hasattr(torch.Tensor, name + "_") or hasattr(torch, name + "_"), f"torch has no {name}_"


@pytest.mark.parametrize(
    "index",
    [
        "__init__.py",
        "amp/__init__.py",
        "linalg/__init__.py",
        "fft/__init__.py",
        "func/__init__.py",
        "special/__init__.py",
        "masked/__init__.py",
        "signal/__init__.py",
        "signal/windows.py",
        "testing/__init__.py",
        "ops/__init__.py",
        "nn/__init__.py",
        "nn/functional.py",
        "nn/modules/__init__.py",
        "cuda/__init__.py",
        "nn/utils/__init__.py",
        "optim/__init__.py",
        "serialization/__init__.py",
        "export/__init__.py",
    ],
)
def test_an_index_defines_nothing(index):
    allowed = ast.Import | ast.ImportFrom | ast.Expr
    for node in tree_of(PACKAGE / index).body:
        assert isinstance(node, allowed) or _is_dunder(node), f"line {node.lineno} of {index} is more than an import"


def _is_dunder(node):
    return isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) and t.id.startswith("__") for t in node.targets)


# words


@pytest.mark.parametrize("name", sorted(n for n in _op.registry if not n.startswith("_")))
def test_op_is_documented(name):
    text = inspect.cleandoc(_op.registry[name].__doc__ or "")
    first = text.partition("\n")[0]
    assert re.match(r"\S.*[.:)]$", first), f"the first line of {name} is no sentence: {first!r}"
    assert not first.startswith("Applies"), f"{name}: say what comes out"
    assert "Shape:" in text or isinstance(_op.registry[name], _op.Derived), f"{name} has no Shape:"


@pytest.mark.parametrize("path", **ids)
def test_files_and_public_definitions_are_documented(path):
    tree = tree_of(path)
    if path.stat().st_size:
        assert ast.get_docstring(tree), f"{name_of(path)} does not say what it is for"
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not [n for n in bare if n not in _op.registry]


@pytest.mark.parametrize("path", **ids)
def test_no_deferred_work(path):
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text())


# sizes


@pytest.mark.parametrize("path", **ids)
def test_file_is_a_room(path):
    limit = LONG_FILE if path.name != "__init__.py" else None  # an index has a line for every name
    assert limit is None or len(path.read_text().splitlines()) <= limit


def test_long_functions_are_listed():
    long = set()
    for path in FILES:
        for function in functions(tree_of(path)):
            if function.end_lineno - _body_start(function) + 1 > LONG_FUNCTION:
                long.add(f"{name_of(path)}.{function.name}")
    assert long == set(extras.LONG_FUNCTIONS)


def _body_start(function):
    """The first line after the docstring."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return body[0].lineno


# the ledger


def test_ledger_is_true_to_the_cases(collected, request):
    tests = {n.partition("/")[0] for n in collected}
    ledger = gaps.GAPS | gaps.WITHOUT_X64 | gaps.UNOPTIMISED | gaps.WITHOUT_CUDA | gaps.WITH_CUDA | gaps.BEFORE_JAX_12
    ledger |= gaps.WHOLE if request.config.getoption("full") else {}
    stale = [k for k in ledger if k.partition("/")[0] in tests and not gaps.matching(k, collected)]
    assert not stale, f"gaps.py has lines that match no case: {stale}"
    assert all(len(reason) > 10 for reason in ledger.values())
