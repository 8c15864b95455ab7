"""Losses over alignments of two sequences, summed over all of them: ctc_loss."""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._floating import require_float, wide
from jtorch.ops._op import Array, derived, op
from jtorch.ops.embedding import replaced

_LOW = -1e30  # the logarithm of 0: finite, so that no gradient is NaN, and far below every sum of log-probabilities


def _log_sum(*parts: Array) -> Array:
    """The logarithm of the sum of exponentials of arrays, element by element."""
    top = jax.lax.stop_gradient(jnp.max(jnp.stack(parts), 0))
    return top + jnp.log(sum(jnp.exp(p - top) for p in parts))


def _after_nothing(x: Array) -> Array:
    """The columns one place later, the first impossible."""
    return jnp.pad(x, ((0, 0), (1, 0)), constant_values=_LOW)


def _alignment_score(blank: Array, letters: Array, running: Array, skips: Array, count: Array) -> Array:
    """The logarithm of the summed probability of all alignments.

    A state of an alignment is a letter of the target or one of the blanks around them; a step stays, or goes on by
    one state, or by two from one letter to the next where these differ.

    Shape: blank (T, N), letters (T, N, S), running (T, N), skips (N, S), count (N) -> (N)
    """

    def step(state, at):
        blanks, written = state
        blank, letters, running = at
        before = _after_nothing(written)
        new_blanks = _log_sum(blanks, before) + blank[:, None]
        new_written = _log_sum(written, blanks[:, :-1], jnp.where(skips, before[:, :-1], _LOW)) + letters
        running = running[:, None]
        return (jnp.where(running, new_blanks, blanks), jnp.where(running, new_written, written)), None

    none = jnp.full(skips.shape, _LOW, letters.dtype)
    start = (_after_nothing(none).at[:, 0].set(0), none)
    (blanks, written), _ = jax.lax.scan(step, start, (blank, letters, running))
    last = count[:, None]
    return _log_sum(*(jnp.take_along_axis(x, last, 1)[:, 0] for x in (blanks, _after_nothing(written))))


def _padded(targets: Array, lengths: Array, longest: int) -> Array:
    """Concatenated targets as rows; what is beyond a length means nothing."""
    starts = jnp.cumsum(lengths) - lengths
    return targets.at[starts[:, None] + jnp.arange(longest)].get(mode="fill", fill_value=0)


def _require_sizes(log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int) -> None:
    """Raise unless the shapes fit each other."""
    name = "ctc_loss(): expected"
    _args.check(log_probs.ndim in (2, 3), f"{name} log_probs (T, N, C) or (T, C), got {log_probs.shape}", RuntimeError)
    _args.check(log_probs.size, f"{name} log_probs that are not empty, got {log_probs.shape}", RuntimeError)
    batch, classes = (1 if log_probs.ndim == 2 else log_probs.shape[1]), log_probs.shape[-1]
    _args.check(targets.ndim in (1, 2), f"{name} targets of 1 or 2 dimensions, got {targets.ndim}", RuntimeError)
    rows = targets.shape[0]
    _args.check(targets.ndim == 1 or rows == batch, f"{name} {batch} rows of targets, got {rows}", RuntimeError)
    inside = 0 <= blank < classes
    _args.check(inside, f"{name} blank to be in label range, 0 to {classes - 1}, got {blank}", RuntimeError)
    for what, lengths in (("input_lengths", input_lengths), ("target_lengths", target_lengths)):
        integral = _args.is_integral(lengths.dtype)
        _args.check(integral, f"{name} {what} to be integral, got {lengths.dtype}", RuntimeError)
        message = f"{name} {what} to be of size batch_size, {batch}, got {lengths.size}"
        _args.check(lengths.size == batch, message, RuntimeError)


def _check_lengths(log_probs, targets, input_lengths, target_lengths, blank, longest, reduction, zero_infinity) -> None:
    _require_sizes(log_probs, targets, input_lengths, target_lengths, blank)
    name, steps, size = "ctc_loss(): expected", log_probs.shape[0], targets.shape[-1]
    inputs, letters = (np.asarray(x).reshape(-1) for x in (input_lengths, target_lengths))
    for what, lengths in (("input_lengths", inputs), ("target_lengths", letters)):
        low = lengths.min()
        _args.check(low >= 0, f"{name} {what} to have value at least 0, but got value {low}", RuntimeError)
    most = inputs.max()
    message = f"{name} input_lengths to have value at most {steps}, but got value {most}"
    _args.check(most <= steps, message, RuntimeError)
    total = letters.sum() if targets.ndim == 1 else letters.max()
    fits = total == size if targets.ndim == 1 else total <= size
    _args.check(fits, f"{name} targets of size {total} at the last dimension, but got size {size}", RuntimeError)
    values, classes = np.asarray(targets), log_probs.shape[-1]
    if targets.ndim == 2:
        values = values[np.arange(size) < letters[:, None]]
    inside = np.all((values >= 0) & (values < classes))
    _args.check(inside, f"{name} targets from 0 to {classes - 1}, got others", IndexError)


@op(method=False, function=False, validate=_check_lengths)
def _ctc_loss(
    log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int, longest: int,
    reduction: str, zero_infinity: bool,
) -> Array:  # fmt: skip
    """What `ctc_loss` gives for lengths in arrays; no target is longer than `longest`."""
    require_float("ctc_loss", log_probs)
    _require_sizes(log_probs, targets, input_lengths, target_lengths, blank)
    inputs, count = (x.reshape(-1).astype(np.int32) for x in (input_lengths, target_lengths))
    scores = wide(log_probs if log_probs.ndim == 3 else log_probs[:, None])
    classes, running = scores.shape[-1], jnp.arange(scores.shape[0])[:, None] < inputs
    labels = _padded(targets, count, longest) if targets.ndim == 1 else targets
    labels = labels.astype(np.int32)
    labels = jnp.where(jnp.arange(labels.shape[1]) < count[:, None], labels, blank)
    labels = jnp.where(labels < 0, classes, labels)  # out of range either way: NaN
    bounded = jnp.maximum(scores, _LOW)
    letters = jnp.take_along_axis(bounded, labels[None], 2, mode="fill", fill_value=jnp.nan)
    skips = jnp.pad(labels[:, 1:] != labels[:, :-1], ((0, 0), (1, 0)))[:, : labels.shape[1]]
    loss = -_alignment_score(bounded[..., blank], letters, running, skips, count)
    slope_of_scores = loss + jnp.sum(jnp.where(running[..., None], jnp.exp(scores), 0), (0, 2))  # see Differs
    never = loss > -_LOW / 2
    value = jnp.where(never, 0 if zero_infinity else jnp.inf, loss)
    loss = replaced(slope_of_scores, value, jnp.where(never, 0 if zero_infinity else jnp.nan, 1).astype(loss.dtype))
    if reduction == "mean":
        loss = loss / jnp.maximum(count, 1)
    loss = loss if log_probs.ndim == 3 else loss[0]
    return _args.reduce_loss(loss, reduction, "ctc_loss").astype(log_probs.dtype)


def _lengths(value: Any, what: str) -> Any:
    """Lengths as an array, where they are a sequence."""
    if isinstance(value, tuple | list):
        return np.array([operator.index(x) for x in value], _args.long_dtype())
    known = hasattr(value, "shape")
    _args.check(known, f"ctc_loss(): expected {what} to be a tensor or numbers, got {type(value).__name__}", TypeError)
    return value


def _longest(targets: Any, lengths: Any) -> int:
    """A bound for the lengths of concatenated targets: a power of 2, so that few programs serve all batches."""
    size = targets.shape[0]
    try:
        most = int(np.asarray(lengths).max(initial=0))
    except (jax.errors.TracerArrayConversionError, RuntimeError):  # inside a program lengths have no values yet
        return size
    return min(size, 1 << max(most - 1, 0).bit_length())


@derived(method=False, function=False)
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """Minus the log-probabilities of the targets under all their alignments with the input, reduced.

    An alignment has a label for each step of the input; repeated labels count once, then blanks are left out.

    Args:
        targets: labels, in rows of which the first `target_lengths` count, or concatenated.
        input_lengths, target_lengths: integers, in tensors or sequences.
        reduction: "mean" divides each loss by the length of its target (1 at least) before the mean over the batch.
        zero_infinity: losses of targets that are too long for their input count as 0, with gradient 0. Without, they
            are infinite, with gradient NaN.
    Shape: (T, N, C), (N, S) or (sum of target_lengths), (N), (N) -> (), or (N) without reduction;
        or (T, C), (S), (), () -> ()
    Raises:
        RuntimeError: lengths or shapes do not fit, or blank is no label.
        IndexError: a target is no label; in compiled code the loss is NaN instead.
    Differs: as in torch the gradient is that of loss + sum of exp(log_probs), which is what it should be after
        log_softmax, where the added sum is constant, and is not the gradient of the loss for scores that are no
        log-probabilities. Unlike torch, it can be differentiated again, 16-bit floats are taken, and a score of -inf
        gets the gradient 0.
    Source: Graves et al., ICML (2006).
    """
    reductions = ("none", "mean", "sum")
    _args.check(reduction in reductions, f"{reduction} is not a valid value for reduction")
    inputs, letters = _lengths(input_lengths, "input_lengths"), _lengths(target_lengths, "target_lengths")
    longest = _longest(targets, letters) if len(targets.shape) == 1 else 0
    return _ctc_loss(log_probs, targets, inputs, letters, blank, longest, reduction, zero_infinity)
