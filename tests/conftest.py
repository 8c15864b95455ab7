"""How the tests run: options, the width of JAX's types, cheap compilation, and the ledger of gaps.

pytest tests -n 2               a bounded sample of every entry of torch's databases
pytest tests -n 2 --full        every sample and every dtype of theirs: 288,000 cases, hours
pytest ... --shard 3/40         the third of forty equal parts of what would run, in its order
pytest ... --sample 5000        that many of what would run, of every entry as many, in turn from its dtypes; --seed 1 for others.
                                They run in turn too, so that what a run that is cut off has done is a fair sample
JTORCH_X64=0 pytest tests       JAX's 32-bit types; only the tests marked `x64_off`
"""

import argparse
import collections
import itertools
import os
import pathlib
import random
import sys

ROOT = pathlib.Path(__file__).parent.parent
X64 = os.environ.get("JTORCH_X64", "1") != "0"
# Compilation is nearly all of the cost of these tests, and one-off programs gain nothing from being optimised.
_LEVEL = "--xla_backend_optimization_level="
if _LEVEL not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_LEVEL}0"
OPTIMISED = f"{_LEVEL}0" not in os.environ["XLA_FLAGS"]  # workers find what the first process set
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import jax
import pytest
import torch

if not hasattr(torch, "_C") or not torch.__version__[0].isdigit() or not hasattr(torch._C, "_jit_init"):
    raise pytest.UsageError(f"the module `torch` at {torch.__file__} is not PyTorch: parity with it would mean nothing")

jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))
jax.config.update("jax_enable_x64", X64)
jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache")))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
torch.set_num_threads(1)

import gaps


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="every sample and dtype of torch's databases")
    parser.addoption("--shard", type=_shard, metavar="K/N", help="only the K-th of N equal parts of the tests")
    parser.addoption(
        "--sample", type=int, metavar="N", help="only N of the tests, drawn evenly from entries and dtypes"
    )
    parser.addoption("--seed", type=int, default=0, help="which ones `--sample` draws (default: 0)")


def _shard(text: str) -> tuple[int, int]:
    """(K, N) for "K/N"."""
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"expected K/N with 1 <= K <= N, got {text}")
    return int(part), int(parts)


def pytest_configure(config):
    config.addinivalue_line("markers", "x64_off: also runs with JTORCH_X64=0, where it alone is selected")
    config.addinivalue_line("markers", "parity: one case of torch's databases")


def case_name(item: pytest.Item) -> str:
    """The name that the ledger knows a test by: `op/nn.functional.elu-float32-3`."""
    test = item.originalname.removeprefix("test_")
    return f"{test}/{item.callspec.id}" if hasattr(item, "callspec") else test


def _sample(names: list[str], count: int, seed: int) -> dict[str, int]:
    """`count` of the ledger's names and their places: of every entry in turn, and within it of every test and dtype."""
    order = random.Random(seed).sample(names, len(names))
    for stratum in (lambda n: n.rstrip("0123456789"), lambda n: n.partition("-")[0].rpartition("/")[2]):
        met = collections.Counter()
        turns = []
        for name in order:
            met[stratum(name)] += 1
            turns.append(met[stratum(name)])
        order = [name for _, name in sorted(zip(turns, order, strict=True), key=lambda pair: pair[0])]
    return {name: place for place, name in enumerate(order[:count])}


def _select(config, items, chosen: list):
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    names = {}
    for item in items:
        if isinstance(item, pytest.Function):
            names.setdefault(case_name(item), []).append(item)
    for pattern, reason in gaps.ledger(X64, OPTIMISED, config.getoption("full")).items():
        for name in gaps.matching(pattern, names):
            for item in names[name]:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
    config.stash[COLLECTED] = frozenset(names)
    if not X64:
        _select(config, items, [item for item in items if item.get_closest_marker("x64_off")])
    if config.getoption("sample"):
        there = [item for item in items if isinstance(item, pytest.Function)]
        drawn = _sample([case_name(item) for item in there], config.getoption("sample"), config.getoption("seed"))
        kept = [item for item in there if case_name(item) in drawn]
        _select(config, items, sorted(kept, key=lambda item: drawn[case_name(item)]))
    if config.getoption("shard"):
        part, parts = config.getoption("shard")
        start, end = (len(items) * n // parts for n in (part - 1, part))
        _select(config, items, items[start:end])


COLLECTED = pytest.StashKey[frozenset]()


@pytest.fixture
def collected(request) -> frozenset:
    """The ledger's names of all tests that this run collected."""
    return request.config.stash[COLLECTED]


@pytest.fixture(autouse=True)
def _seeded():
    """Every test starts from the same seeds and leaves the default dtype and grad mode as it found them."""
    import jtorch

    torch.manual_seed(0)
    jtorch.manual_seed(0)
    yield
    assert torch.is_grad_enabled() and jtorch.is_grad_enabled()


_done = itertools.count(1)


@pytest.fixture(autouse=True)
def _bounded_memory():
    """Compiled programs are forgotten now and then: each is used by few tests, and they are 288,000 in a full run."""
    yield
    if next(_done) % 1000 == 0:
        jax.clear_caches()


@pytest.fixture
def compilations():
    """A function that tells how many programs a call compiles: `compilations(call)`."""
    events = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)

    def count(call):
        before = len(events)
        jax.block_until_ready(call())
        return len(events) - before

    yield count
    jax.monitoring.unregister_event_duration_listener(listen)


def pytest_terminal_summary(terminalreporter, config):
    counted = sum(
        report.when == "call" and "parity" in report.keywords
        for outcome in ("passed", "failed", "xfailed")
        for report in terminalreporter.stats.get(outcome, ())
    )
    width, extent = "64" if X64 else "32", "all" if config.getoption("full") else "sampled"
    terminalreporter.write_line(f"{counted} parity cases of torch's databases, {extent}, {width}-bit types")
