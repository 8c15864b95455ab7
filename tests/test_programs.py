"""Programs that a property test draws, of views, in-place writes, indexing and arithmetic, run by both libraries.

A few by default, thousands with `--full`. What torch gives is compared line by line: what is raised, then the values,
the versions, which tensors share memory, and the gradients of everything that is alive.
"""

import hypothesis
import parity
import programs
import torch
from hypothesis import strategies as st

import jtorch

_COUNT, _COUNT_OF_FULL, _LENGTH = 30, 5000, 8


@st.composite
def _programs(draw):
    return programs.draw(lambda of: draw(st.sampled_from(of)), draw(st.integers(3, _LENGTH)))


def test_programs(request):
    count = _COUNT_OF_FULL if request.config.getoption("full") else _COUNT

    @hypothesis.settings(max_examples=count, deadline=None, database=None, derandomize=True,
                         suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    @hypothesis.given(_programs())
    def agree(lines):
        check(lines)

    agree()


def test_programs_found_before():
    check(
        ["t0 = z * 1", "t1 = t0[0, 1:]", "with torch.no_grad(): t1.put_(torch.tensor([0, -1]), t1.flatten()[:2] * 2)"]
    )
    check(["t0 = a * 1", "with torch.no_grad(): t1 = t0.mT", "t2 = t0.real", "t2[t2 > 0] = 0.25", "t3 = t1[-1]"])
    check(["t0 = z * 1", "t1 = t0.data", "with torch.no_grad(): t2 = t1.unbind(0)[0]", "t1.unsqueeze_(0)"])
    check(["t0 = z * 1", "with torch.no_grad(): t1 = t0.T", "t2 = t1.flatten()"])
    check(["t0 = a * 1", "t1 = t0[:, :0]", "t2 = t1.take_along_dim(torch.tensor([[0, 1]]), 1)", "t3 = t0 * 2"])
    check(["t0 = a * 1", "t1 = t0.split(2)[-1]", "t0.add_(t0)", "t2 = t1[torch.tensor([[0, 9]])]"])
    lines = ["t0 = a * 1", "t1 = b", "t1.unsqueeze_(0)", "t2 = t1[..., 0]", "t1 += t0"]
    check(lines)
    check(lines)  # now the view is left unread


def check(lines):
    """Assert that a program does in jtorch what it does in torch."""
    theirs, ours = programs.run(lines, torch), programs.run(lines, jtorch)
    for line, yours, mine in zip(lines, theirs.raised, ours.raised, strict=True):
        assert type(mine) is type(yours), f"{line}: torch raised {yours!r}, jtorch {mine!r}"
    wanted = [name for name, yours in theirs.alive.items() if _same(name, ours.alive[name], yours)]
    if wanted:
        same_gradients(_gradients(jtorch, ours, wanted), _expected(lines, theirs, wanted))


def _same(name, mine, yours):
    """Compare what tensors are. Returns whether gradients go from them."""
    errors = [_error_of_graph(x) for x in (mine, yours)]
    assert errors[0] is errors[1], f"{name}: the graph of torch's raises {errors[1]}, that of jtorch's {errors[0]}"
    assert mine._version == yours._version, f"{name}: version {mine._version} for {yours._version}"
    strides = [[s for s, n in zip(x.stride(), x.shape, strict=True) if n > 1] for x in (mine, yours)]
    assert strides[0] == strides[1] or not yours.numel(), f"{name}: strides {strides[0]} for {strides[1]}"
    parity.same(mine.detach(), yours.detach(), name)
    if errors[0] is not None:
        return False
    assert mine.requires_grad == _leads_to_leaf(yours), f"{name}: requires_grad is {mine.requires_grad}"
    return mine.requires_grad


def _error_of_graph(tensor):
    try:
        tensor.grad_fn  # noqa: B018
    except RuntimeError as error:
        return type(error)
    return None


def _leads_to_leaf(tensor):
    """Whether gradients go from it to a leaf. torch says `requires_grad` of views made under no_grad too, which have none."""
    todo, seen = [tensor.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            if hasattr(node, "variable"):
                return True
            seen.add(node)
            todo += [edge[0] for edge in node.next_functions]
    return False


def _gradients(lib, outcome, wanted):
    outputs = [outcome.alive[name] for name in wanted]
    leaves = [x for x in outcome.leaves.values() if x.requires_grad]
    return lib.autograd.grad(
        outputs, leaves, [lib.ones_like(x) * (i + 1) for i, x in enumerate(outputs)], allow_unused=True
    )


def _expected(lines, outcome, wanted):
    """torch's gradients; where a write has spoilt what it saved, those it gives when it saves copies."""
    try:
        return _gradients(torch, outcome, wanted)
    except RuntimeError as error:
        assert "modified" in str(error), error
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.detach().clone(), lambda x: x):
        return _gradients(torch, programs.run(lines, torch), wanted)


def same_gradients(ours, theirs):
    """Assert that the gradients agree, None meaning zeros."""
    for i, (mine, yours) in enumerate(zip(ours, theirs, strict=True)):
        parity._same_gradient(mine, yours, f"gradient {i}", True, {})
