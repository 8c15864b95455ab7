"""Log-probabilities of classes in clusters: a head with the frequent classes and the clusters, and a tail for each."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._floating import require_float, wide
from jtorch.ops._op import Array, op


def _check_target(head: Array, tails: Sequence[Array], target: Array) -> None:
    values, last = np.asarray(target), head.shape[1] - len(tails) + sum(t.shape[1] for t in tails) - 1
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    message = f"Target values should be in [0, {last}], but values in range [{low}, {high}] were found. "
    _args.check(low >= 0 and high <= last, message, RuntimeError)


@op(method=False, function=False, validate=_check_target)
def _class_log_prob(head: Array, tails: Sequence[Array], target: Array) -> Array:
    """The log-probability of each target class under scores of the head (N, C + clusters) and of the tails (N, C_i)."""
    require_float("adaptive_log_softmax", head)
    likely, start = jax.nn.log_softmax(wide(head), 1), head.shape[1] - len(tails)
    rows = jnp.arange(target.shape[0])
    found = likely.at[rows, jnp.clip(target, 0, start - 1)].get(mode="clip")
    found = jnp.where((target >= 0) & (target < start), found, jnp.nan)
    for place, tail in enumerate(tails, head.shape[1] - len(tails)):
        stop = start + tail.shape[1]
        own = jax.nn.log_softmax(wide(tail), 1).at[rows, jnp.clip(target - start, 0, tail.shape[1] - 1)].get()
        found = jnp.where((target >= start) & (target < stop), own + likely[:, place], found)
        start = stop
    return found.astype(head.dtype)


@op(method=False, function=False)
def _all_log_prob(head: Array, tails: Sequence[Array]) -> Array:
    """The log-probability of every class under scores of the head and of the tails."""
    require_float("adaptive_log_softmax", head)
    likely, first = jax.nn.log_softmax(wide(head), 1), head.shape[1] - len(tails)
    clusters = [jax.nn.log_softmax(wide(tail), 1) + likely[:, place, None] for place, tail in enumerate(tails, first)]
    return jnp.concatenate([likely[:, :first], *clusters], 1).astype(head.dtype)
