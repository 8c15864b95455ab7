"""Every function of torch's op database that jtorch has, against torch: values, gradients, forms and errors."""

import cases
import jax
import parity
import pytest
import torch
from not_yet import NOT_YET

import jtorch

pytestmark = pytest.mark.parity


def pytest_generate_tests(metafunc):
    full = metafunc.config.getoption("full")
    makers = {
        "case": lambda: cases.op_cases(full),
        "apart": lambda: cases.apart_cases(full),
        "second": cases.second_order_cases,
        "error": cases.error_cases,
        "form": cases.form_cases,
    }
    for name in makers.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(name, makers[name](), ids=str)


def _arguments(sample):
    return (sample.input, *sample.args)


def _is_defined(entry, theirs, sample) -> bool:
    """Whether two calls of torch's function give the same, so that there is a value to compare with."""
    if entry.name in cases.UNDEFINED:
        return False
    if entry.name not in cases.RANDOM_NAMES or (entry.name in cases.STREAMS and jax.config.jax_enable_x64):
        return True
    torch.manual_seed(1)
    draws = [theirs(*parity.fresh(_arguments(sample)), **parity.fresh(sample.kwargs)) for _ in range(8)]
    first, *others = (parity.tensors(draw, torch.Tensor) for draw in draws)
    return all(torch.equal(*pair) for other in others for pair in zip(first, other, strict=True))


def _seed_both():
    torch.manual_seed(0)
    jtorch.manual_seed(0)


@pytest.mark.x64_off
def test_op(case):
    _check(case, case.sample(), apart=False)


def test_apart(apart):
    """Arguments that are not contiguous."""
    _check(apart, apart.sample().noncontiguous(), apart=True)


def _check(case, sample, apart):
    theirs = cases.theirs(case.entry)
    defined = _is_defined(case.entry, theirs, sample)
    _seed_both()
    parity.check(
        cases.ours(case.entry),
        theirs,
        *_arguments(sample),
        kwargs=sample.kwargs,
        values=defined,
        tolerance=case.tolerance(),
        gradients=not _has_ties(case),
        finish=_without_places if _has_ties(case) else _invariant(case.entry, sample),
        apart=apart,
    )


def _invariant(entry, sample):
    """What is made of vectors before they are compared, since their signs are open; None for other entries."""
    if entry.name in ("svd_lowrank", "pca_lowrank"):
        return lambda out: [x.abs() for x in out]
    return sample.output_process_fn_grad if entry.name in ("linalg.eig", "linalg.eigh", "linalg.svd", "svd") else None


TIES = {"topk", "mode", "kthvalue", "sort", "msort", "argsort", "median", "nanmedian"}
"""Entries whose indices, and with them where gradients go, torch leaves open where values are equal."""


def _has_ties(case) -> bool:
    return case.entry.name in TIES and (
        case.dtype not in (torch.float32, torch.float64) or case.sample().input.numel() > 1000
    )


def _without_places(out):
    """The values of (values, indices); for indices alone, their order."""
    return out[0] if isinstance(out, tuple) else out.sort().values


def test_form(form):
    for sample in form.samples():
        ours, theirs = form.pair()
        defined = _is_defined(form.entry, theirs, sample)
        _seed_both()
        parity.check(
            ours,
            theirs,
            *_arguments(sample),
            kwargs=sample.kwargs,
            values=defined,
            tolerance=cases.tolerance(form.entry, form.dtype),
        )


def test_second_gradient(second):
    sample = second.sample()
    ours, theirs = cases.ours(second.entry), cases.theirs(second.entry)
    finish = _invariant(second.entry, sample)
    if finish is not None:
        ours, theirs = ((lambda *a, f=f, **k: finish(f(*a, **k))) for f in (ours, theirs))
    defined = _is_defined(second.entry, theirs, sample)
    _seed_both()
    parity.check_second_order(
        ours,
        theirs,
        *_arguments(sample),
        kwargs=sample.kwargs,
        values=defined,
        tolerance=second.tolerance(),
    )


@pytest.mark.x64_off
def test_error(error):
    sample = error.sample()
    ours, theirs = cases.ours(error.entry), cases.theirs(error.entry)
    drawn = error.entry.name in cases.RANDOM_NAMES
    parity.check(ours, theirs, *_arguments(sample), kwargs=sample.kwargs, values=not drawn)


def test_what_is_missing_is_listed():
    assert cases.missing() == NOT_YET
