"""ctc_loss where torch's database does not lead: both forms of targets, lengths, edges, gradients, programs, errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
import torch

import jtorch
import jtorch.nn.functional as F

T, N, C = 7, 3, 5
SCORES = np.random.default_rng(0).normal(size=(T, N, C))
TARGETS = np.array([[1, 1, 2, 3], [4, 2, 0, 0], [3, 3, 3, 1]])
CONCATENATED = np.array([1, 1, 2, 3, 4, 2, 3, 3, 3])


def scripts():
    """name -> (scores, targets, input lengths, target lengths, settings)."""
    padded = {
        "padded": (SCORES, TARGETS, (7, 6, 7), (4, 2, 3), {}),
        "concatenated": (SCORES, CONCATENATED, (7, 6, 7), (4, 2, 3), {}),
        "lengths of 0": (SCORES, TARGETS, (7, 0, 0), (0, 0, 1), {"zero_infinity": True}),
        "too long": (SCORES, TARGETS, (4, 2, 5), (4, 2, 3), {}),
        "too long, zeroed": (SCORES, TARGETS, (4, 2, 5), (4, 2, 3), {"zero_infinity": True}),
        "another blank": (SCORES, np.where(TARGETS == 4, 0, TARGETS), (7, 6, 7), (4, 2, 3), {"blank": 4}),
        "no targets": (SCORES, np.zeros((N, 0), np.int64), (7, 6, 7), (0, 0, 0), {}),
        "no concatenated targets": (SCORES, np.zeros(0, np.int64), (7, 6, 7), (0, 0, 0), {}),
        "one sample": (SCORES[:, 0], TARGETS[0], (7,), (4,), {}),
        "one sample in a row": (SCORES[:, 0], TARGETS[:1], (7,), (4,), {}),
    }
    reduced = {f"padded, {r}": (*padded["padded"][:-1], {"reduction": r}) for r in ("mean", "sum")}
    return {name: (*rest, {"reduction": "none"} | more) for name, (*rest, more) in (padded | reduced).items()}


SCRIPTS = scripts()


@pytest.mark.parametrize("normalized", (True, False), ids=("log_probs", "scores"))
@pytest.mark.parametrize("name", SCRIPTS)
def test_ctc_loss(name, normalized):
    scores, targets, inputs, letters, settings = SCRIPTS[name]
    scores = torch.tensor(scores)
    scores = (scores.log_softmax(-1) if normalized else scores).requires_grad_()
    parity.check(F.ctc_loss, torch.nn.functional.ctc_loss, scores, torch.tensor(targets), inputs, letters, kwargs=settings)  # fmt: skip


def test_the_blank_among_the_targets():
    """The loss; torch's gradient forgets alignments here."""
    given = (torch.tensor(SCORES), torch.tensor(TARGETS), (7, 6, 7), (4, 4, 3))
    parity.check(F.ctc_loss, torch.nn.functional.ctc_loss, *given)


def test_lengths_may_be_tensors_of_any_integers():
    for kind, targets in itertools.product((torch.int64, torch.int32, torch.uint8), (TARGETS, CONCATENATED)):
        lengths = (torch.tensor(x, dtype=kind) for x in ((7, 6, 7), (4, 2, 3)))
        given = (torch.tensor(SCORES), torch.tensor(targets, dtype=torch.int32), *lengths)
        parity.check(F.ctc_loss, torch.nn.functional.ctc_loss, *given)


def test_scores_of_minus_infinity_have_the_gradient_0():
    scores = jtorch.tensor(SCORES).log_softmax(-1)
    scores[0, 0, 2] = -float("inf")
    scores.requires_grad_()
    F.ctc_loss(scores, jtorch.tensor(TARGETS), (7, 6, 7), (4, 2, 3)).backward()
    assert bool(scores.grad.isfinite().all()) and scores.grad[0, 0, 2] == 0


def test_second_gradient_through_log_softmax():
    """torch has none; the numbers are those of finite differences."""

    def gradient(scores):
        return jax.grad(lambda s: F.ctc_loss(jax.nn.log_softmax(s), jnp.array(TARGETS), (7, 6, 7), (4, 2, 3)))(scores)

    scores, direction = jnp.array(SCORES), jnp.array(np.random.default_rng(1).normal(size=SCORES.shape))
    found = jax.jvp(gradient, (scores,), (direction,))[1]
    step = 1e-5 * direction
    np.testing.assert_allclose(found, (gradient(scores + step) - gradient(scores - step)) / 2e-5, rtol=1e-5, atol=1e-8)


def test_inside_programs():
    scores, expected = jtorch.tensor(SCORES).log_softmax(-1), []
    lengths = jtorch.tensor([7, 6, 7]), jtorch.tensor([4, 2, 3])
    for targets in (jtorch.tensor(TARGETS), jtorch.tensor(CONCATENATED)):
        expected.append(float(F.ctc_loss(scores, targets, *lengths)))
        assert float(jtorch.compile(F.ctc_loss)(scores, targets, *lengths)) == pytest.approx(expected[0])
        arrays = (x.jax() for x in (scores, targets, *lengths))
        assert float(jax.jit(F.ctc_loss)(*arrays)) == pytest.approx(expected[0])
    assert expected[0] == pytest.approx(expected[1])


def test_few_programs_serve_concatenated_targets(compilations):
    scores = jtorch.tensor(np.repeat(SCORES, 4, 0)).log_softmax(-1)

    def run(*letters):
        F.ctc_loss(scores, jtorch.tensor(np.resize(CONCATENATED, 21)), (28, 28, 28), letters)

    run(7, 7, 7)
    assert compilations(lambda: run(5, 8, 8)) == 0


WRONG = {
    "blank too large": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t, (7, 7, 7), (4, 2, 3), blank=5),
    "blank below 0": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t, (7, 7, 7), (4, 2, 3), blank=-1),
    "too few input lengths": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t, (7, 7), (4, 2, 3)),
    "too few target lengths": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t, (7, 7, 7), (4, 2)),
    "input too long": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t, (8, 7, 7), (4, 2, 3)),
    "input below 0": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t, (7, -1, 7), (4, 2, 3)),
    "target too long": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t, (7, 7, 7), (5, 2, 3)),
    "target below 0": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t, (7, 7, 7), (4, -2, 3)),
    "another sum": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t.reshape(-1), (7, 7, 7), (4, 2, 3)),
    "rows of another batch": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t[:2], (7, 7, 7), (4, 2, 3)),
    "three dimensions": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t[None], (7, 7, 7), (4, 2, 3)),
    "a number": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp[:, 0], t[0], 7, 4),
    "float lengths": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t, lib.tensor([7.0, 7, 7]), lib.tensor([4, 2, 3])),
    "nothing": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp[:0], t, (0, 0, 0), (0, 0, 0)),
    "reduction": lambda lib, lp, t: lib.nn.functional.ctc_loss(lp, t, (7, 7, 7), (4, 2, 3), reduction="max"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    parity.agree(lambda lib: WRONG[name](lib, lib.tensor(SCORES), lib.tensor(TARGETS)))


def test_targets_that_are_no_labels():
    scores, targets = jtorch.tensor(SCORES), jtorch.tensor(np.where(TARGETS == 4, 9, TARGETS))
    lengths = jtorch.tensor([7, 6, 7]), jtorch.tensor([4, 2, 3])
    with pytest.raises(IndexError, match="ctc_loss"):
        F.ctc_loss(scores, targets, *lengths)
    loss = jax.jit(lambda *given: F.ctc_loss(*given, reduction="none"))(*(x.jax() for x in (scores, targets, *lengths)))
    np.testing.assert_array_equal(np.isnan(loss), [False, True, False])
