"""Under autocast every function gives the dtypes that torch's gives: on a CPU, and as if everything were on a GPU.

torch says what it does on a GPU by tensors that have no values. Ours are traced, so that nothing is compiled.
"""

import itertools

import cases
import jax
import parity
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import jtorch
from jtorch.ops import _autocast, _op

LISTED = {*_autocast._POLICIES["cpu"], *_autocast._POLICIES["cuda"], "einsum", "tensordot", "interpolate", "pad"}
LOWER = {"cpu": torch.bfloat16, "cuda": torch.float16}
ENTRIES = [
    e
    for e in cases.op_db
    if cases.is_public(e) and cases.ours(e) is not None and e.supports_dtype(torch.float32, "cpu")
]


def _floats(value, change):
    """The arguments with each float32 tensor changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    return parity._inside(lambda x: _floats(x, change), value)


def _theirs(entry, arguments, device):
    """The dtypes that torch's function gives under autocast, or None where it refuses, or needs values."""
    if device == "cuda":
        with FakeTensorMode():
            arguments = _floats(arguments, lambda x: torch.empty(x.shape, dtype=x.dtype, device="cuda"))
            return _theirs_on(entry, arguments, device)
    return _theirs_on(entry, arguments, device)


def _theirs_on(entry, arguments, device):
    torch.set_autocast_enabled(device, True)
    try:
        out = cases.theirs(entry)(*arguments[0], **arguments[1])
    except Exception:
        return None
    finally:
        torch.set_autocast_enabled(device, False)
    return [parity.dtype_here(x.dtype) for x in parity.tensors(out, torch.Tensor)]


def _ours(entry, arguments, device, monkeypatch):
    leaves, tree = jax.tree.flatten(parity.to_jtorch(arguments), is_leaf=lambda x: isinstance(x, jtorch.Tensor))
    at = [i for i, x in enumerate(leaves) if isinstance(x, jtorch.Tensor)]
    found = []

    def run(arrays):
        values = list(leaves)
        for i, array in zip(at, arrays, strict=True):
            values[i] = jtorch.Tensor(array)
        args, kwargs = jax.tree.unflatten(tree, values)
        out = cases.ours(entry)(*args, **kwargs)
        found[:] = [x.dtype.name for x in parity.tensors(out, jtorch.Tensor)]

    monkeypatch.setattr(_autocast, "_device_of", lambda values: device)
    before = _autocast.running.all()
    if device is not None:
        _autocast.running.set(device, enabled=True)
    try:
        jax.eval_shape(run, [leaves[i]._value() for i in at])
    finally:
        _autocast.running.restore(before)
    return found


def _differences(entry, device, monkeypatch, count):
    """The calls of an entry's samples whose dtypes differ."""
    for sample, lower in itertools.product(
        itertools.islice(entry.sample_inputs("cpu", torch.float32), count), (False, True)
    ):
        arguments = ((sample.input, *sample.args), sample.kwargs)
        if lower:
            arguments = _floats(arguments, lambda x: x.to(LOWER[device]) if x.dtype == torch.float32 else x)
        want = _theirs(entry, arguments, device)
        if want is None or "complex32" in want:
            continue
        try:
            got = _ours(entry, arguments, device, monkeypatch)
        except Exception as error:
            got = error
            if _fails_anyway(entry, arguments, monkeypatch):
                continue
        if got != want:
            yield got, want, lower, [getattr(x, "shape", x) for x in arguments[0]], arguments[1]


def _fails_anyway(entry, arguments, monkeypatch):
    """Whether the call fails when it is traced outside autocast too: it needs values, or lacks the 16-bit dtype."""
    try:
        _ours(entry, arguments, None, monkeypatch)
    except Exception:
        return True
    return False


UNLISTED = {
    "nn.functional.linear_cross_entropy.chunked": "in chunks, torch's loss is as wide as its arguments; here it is float32",
    "nn.functional.linear_cross_entropy.chunked_none": "the same",
    "sum_to_size": "torch sums on a GPU in float32 only where there is something to sum",
}
"""Entries that differ on purpose, each with its reason."""


def pytest_generate_tests(metafunc):
    """Every entry on both devices; in the bounded run every seventh of those on a list."""
    if "entry" not in metafunc.fixturenames:
        return
    pairs = [(e, d) for e in ENTRIES if cases.label(e) not in UNLISTED for d in LOWER]
    if not metafunc.config.getoption("full"):
        short = lambda e: e.name.rpartition("functional.")[2].replace(".", "_")
        pairs = [(e, d) for e, d in pairs if short(e) in LISTED][::7]
    metafunc.parametrize("entry, device", pairs, ids=[f"{cases.label(e)}-{d}" for e, d in pairs])


def test_dtypes(entry, device, monkeypatch, request):
    count = 6 if request.config.getoption("full") else 2
    assert not list(_differences(entry, device, monkeypatch, count))


def test_the_lists_hold_what_torchs_hold():
    """Each of torch's own registrations that jtorch has an op for, and no other but those that stand for several."""
    for device, key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
        names = torch._C._dispatch_get_registrations_for_dispatch_key(key)
        theirs = {n.partition("::")[2].partition(".")[0] for n in names} & set(_op.registry)
        assert theirs - set(_autocast._POLICIES[device]) <= {"einsum", "tensordot"}
