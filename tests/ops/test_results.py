"""Results of several arrays: how they print, their types by name, and that they can be pickled."""

import pickle

import jax
import pytest
import torch

import jtorch

CALLS = {
    "max": lambda t, x: x.max(1),
    "min": lambda t, x: x.min(1, keepdim=True),
    "aminmax": lambda t, x: t.aminmax(x),
    "sort": lambda t, x: x.sort(0),
    "topk": lambda t, x: x.topk(2),
    "kthvalue": lambda t, x: x.kthvalue(2),
    "median": lambda t, x: x.median(0),
    "nanmedian": lambda t, x: x.nanmedian(0),
    "mode": lambda t, x: x.mode(),
    "cummax": lambda t, x: x.cummax(0),
    "cummin": lambda t, x: x.cummin(0),
    "linalg_inv_ex": lambda t, x: t.linalg.inv_ex(x[:, 1:]),
}


@pytest.mark.parametrize("name", CALLS)
def test_results_are_named_as_torchs(name):
    ours, theirs = (CALLS[name](t, t.tensor([[1.0, 3.0, 2.0], [4.0, 0.0, 5.0]])) for t in (jtorch, torch))
    assert repr(ours) == repr(theirs)
    kind = getattr(jtorch.return_types, name)
    assert type(ours) is kind and getattr(torch.return_types, name) is type(theirs)
    again = pickle.loads(pickle.dumps(ours))
    assert type(again) is kind and repr(again) == repr(ours)
    assert type(jax.tree.map(lambda x: x, ours)) is kind


def test_every_type_of_results_that_torch_has_is_there():
    theirs = {n for n in dir(torch.return_types) if isinstance(getattr(torch.return_types, n), type)}
    theirs = {n for n in theirs if not n.startswith("_") and not n.endswith("_out") and n != "SequenceKey"}
    assert theirs == {n for n in vars(jtorch.return_types) if not n.startswith("__")}
