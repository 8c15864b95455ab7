"""Views as chains of reads from a root: which elements they are, how to write them, and where torch copies.

Everything is found by running the chain on an array of flat positions, so that no kind of view needs a rule of its own.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch._capture import state
from jtorch.autograd import tape
from jtorch.ops import _args
from jtorch.ops._program import Program


class Step(NamedTuple):
    """One read in a chain: a view op's program, its arguments after the first, which of its outputs (None: the one)."""

    program: Program
    extras: tuple
    place: int | None

    def __call__(self, array: Any, edge: Any = None) -> tuple[Any, Any]:
        """The read on an array, recorded if that has an edge: (array, edge)."""
        flat = (array, *self.extras)
        out, node = tape.record(self.program, flat, () if edge is None else (0,), [] if edge is None else [edge])
        at = self.place or 0
        return (out if self.place is None else out[at]), (None if node is None else (node, at))


def without_gradient(array: Any) -> Any:
    """The array cut from what JAX differentiates, where it is being traced."""
    return jax.lax.stop_gradient(array) if isinstance(array, Tracer) else array


def follow(chain: tuple, value: Any, edge: Any = None) -> tuple[Any, Any]:
    """The array and the edge that the steps of a chain give; a cut in it leaves nothing to record."""
    for step in chain:
        value, edge = (without_gradient(value), None) if step is None else step(value, edge)
    return value, edge


class Unread:
    """What a view has in place of its array until somebody asks for that: most views are read later or never.

    A compiled read takes as long as all the rest of making a view, and torch's views cost nothing. Only the kinds that
    were read before, for the same shape, come unread: so the first one raises what there is to raise.
    """

    __slots__ = ("shape", "dtype", "parent", "chain", "step", "edge", "version")

    def __init__(self, shape: tuple[int, ...], dtype: Any, parent: Any, step: Step):
        self.shape, self.dtype, self.parent, self.step = shape, dtype, parent, step
        self.chain, self.version = parent._chain, parent._writes
        self.edge = parent._edge() if parent._base is None else None

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def read(self, root: Any) -> tuple[Any, Any] | None:
        """The array and its edge, read from the parent; None where that is of another root by now."""
        parent = self.parent
        if parent is not root and (parent._base is not root or parent._chain is not self.chain):
            return None
        edge = parent._place()
        if parent is root and parent._writes == self.version:  # a later requires_grad_() does not count, only a write
            edge = self.edge and (edge or self.edge)
        return self.step(parent._value(), edge)

    def read_directly(self, root: Any) -> tuple[Any, Any] | None:
        """The array and its node where that is simple: of the root itself, not written since; None elsewhere."""
        array, count = root._raw_value, root._count
        written = self.version != (0 if count is None else count[0])
        if self.parent is not root or written or state.records is None or type(array) not in tape.VALUED:
            return None
        program, flat = self.step.program, (array, *self.step.extras)
        if self.edge is None:
            found = program.forward(*flat), None
        else:
            found = tape.record_valued(program, flat, (0,), [root._place() or self.edge])
        return found if type(found[0]) in tape.VALUED else None  # a tracer in a trace that does not know of the root


def unseen() -> None:
    """What an unread view has seen of its root, in place of a weak reference."""


LONGEST = 8
"""How many steps a chain may have whose view is left unread: reading asks each parent in turn."""


CUT = (None,)
"""The chain that reads everything and leaves the graph: `detach()`, `.data`. A None inside a chain cuts there."""

_COPIES = frozenset({"reshape", "contiguous", "ravel"})
_KEEP_ORDER = _COPIES | {"unsqueeze", "squeeze", "unflatten"}


def may_copy(chain: tuple) -> bool:
    """Whether a chain has a step that in torch copies for some layouts, after one that may have changed the layout."""
    reordered = False
    for step in chain:
        if step is not None:
            if reordered and step.program.name in _COPIES:
                return True
            reordered = reordered or step.program.name not in _KEEP_ORDER
    return False


def copies(chain: tuple, shape: tuple[int, ...]) -> bool:
    """Whether torch would have copied somewhere along the chain, for a root of this shape."""
    at = row_major(shape)
    for i, step in enumerate(chain):
        if step is None or step.program.name not in _COPIES:
            continue
        before, after = places(chain[:i], shape), places(chain[: i + 1], shape)
        at = strides(before)
        if step.program.name == "contiguous":
            if not is_row_major(at, before.shape):
                return True
        elif not _viewable(before.shape, at, after.shape):
            return True
    return False


def fits(chain: tuple, chain_after: tuple, shape: tuple[int, ...]) -> bool:
    """Whether the last step of a chain, a new shape, leaves the elements where they are in a root of this shape."""
    if all(step is None or step.program.name in _KEEP_ORDER for step in chain):
        return True
    before = places(chain, shape)
    return _viewable(before.shape, strides(before), places(chain_after, shape).shape)


def _viewable(shape: tuple, at: tuple[int, ...], new_shape: tuple) -> bool:
    """Whether an array of these strides can be given another shape without moving elements."""
    if 0 in shape:
        return True
    array = np.lib.stride_tricks.as_strided(np.zeros((), np.int8), shape, at)
    try:
        array.shape = new_shape
    except AttributeError:
        return False
    return True


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of an array without gaps."""
    result, step = [], 1
    for n in reversed(shape):
        result.append(step)
        step *= max(n, 1)
    return tuple(reversed(result))


def is_row_major(at: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether the strides are those of an array without gaps."""
    return all(s == e or n == 1 for s, e, n in zip(at, row_major(shape), shape, strict=True))


def strides(positions: np.ndarray) -> tuple[int, ...]:
    """The strides of a view whose elements have these positions in the root."""
    if not positions.size:
        return row_major(positions.shape)
    result, fallback = [], row_major(positions.shape)
    for d, n in enumerate(positions.shape):
        first = positions[(0,) * positions.ndim]
        second = positions[tuple(int(i == d) for i in range(positions.ndim))] if n > 1 else None
        result.append(fallback[d] if second is None else int(second) - int(first))
    return tuple(result)


def places(chain: tuple, shape: Sequence[int]) -> np.ndarray:
    """For each element of the view, its flat position in a root of this shape."""
    steps = tuple((s.program, s.place) for s in chain if s is not None)
    extras = tuple(tuple(np.asarray(x).item() for x in s.extras) for s in chain if s is not None)
    return _places(steps, extras, tuple(shape))


@functools.lru_cache(maxsize=1024)
def _places(steps: tuple, extras: tuple, shape: tuple[int, ...]) -> np.ndarray:
    with jax.ensure_compile_time_eval():
        of = _of_parts(program for program, _ in steps)
        value = _numbered(int(np.prod(shape)), of).reshape(shape)
        for (program, place), more in zip(steps, extras, strict=True):
            value = program.function(value, *more)
            value = value if place is None else value[place]
        return np.asarray(value.real // 2 if jnp.iscomplexobj(value) else value).astype(np.int64)


_OF_PARTS = {"real": complex, "imag": complex, "view_as_real": complex, "view_as_complex": float}
"""Views of complex numbers as real ones, or the reverse, and what they view. Positions are then of real numbers."""


def _of_parts(programs: Iterable[Program]) -> type | None:
    """What the root of a chain with views between real and complex numbers is made of; None for other chains."""
    return next((_OF_PARTS[p.name] for p in programs if p.name in _OF_PARTS), None)


def _numbered(count: int, of: type | None) -> jax.Array:
    """The positions of elements, or of the real numbers that elements are made of."""
    if of is None:
        return jnp.arange(count)
    _args.check(
        count < 2**23, f"view: expected fewer than 2**23 elements to view the parts of, got {count}", RuntimeError
    )
    numbers = jnp.arange(count, dtype=float)
    return numbers if of is float else jax.lax.complex(2 * numbers, 2 * numbers + 1)


def _pairs(numbers: jax.Array) -> jax.Array:
    """Real numbers as they are, complex ones as two each."""
    return jnp.stack([numbers.real, numbers.imag], -1) if jnp.iscomplexobj(numbers) else numbers


_REPEATS = frozenset({"expand", "broadcast_to", "unfold_dimension", "as_strided"})


def overlaps(chain: tuple, shape: Sequence[int]) -> bool:
    """Whether two elements of the view are one element of a root of this shape."""
    if all(step is None or step.program.name not in _REPEATS for step in chain):
        return False
    positions = places(chain, shape)
    return np.unique(positions).size < positions.size


def writer(chain: tuple) -> tuple[Program, tuple]:
    """The program `(root, value, *extras) -> root with the view's elements replaced`, and the extras for it."""
    steps = tuple(s for s in chain if s is not None)
    extras = tuple(x for s in steps for x in s.extras)
    return _write_program(tuple((s.program, len(s.extras), s.place) for s in steps)), extras


@functools.lru_cache(maxsize=4096)
def _write_program(steps: tuple) -> Program:
    def write(root, value, *extras):
        of = _of_parts(program for program, *_ in steps)
        positions, at = _numbered(root.size, of).reshape(root.shape), 0
        for program, count, place in steps:
            positions = program.function(positions, *extras[at : at + count])
            positions = positions if place is None else positions[place]
            at += count
        if of is None:
            flat = root.reshape(-1).at[positions.reshape(-1)]
            return flat.set(value.astype(root.dtype).reshape(-1), unique_indices=True).reshape(root.shape)
        there = _pairs(root).reshape(-1).at[_pairs(positions).reshape(-1).astype(int)]
        flat = there.set(_pairs(value).reshape(-1), unique_indices=True)
        return (jax.lax.complex(flat[::2], flat[1::2]) if of is complex else flat).reshape(root.shape)

    return Program(write, "copy_slices")
