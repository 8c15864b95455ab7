"""A compiled function of flat arrays, with its recorded form and its pullbacks: what an op runs as."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._backend import tuned_jit
from jtorch.ops._kept import Kept
from jtorch.ops._recording import Recording, depends

Array = jax.Array


class Program:
    """One compiled function `flat arrays -> array(s)`, with its recorded form and pullbacks, each made on first use.

    JAX caches the compiled code by shape and dtype: a second call with the same ones compiles nothing.
    """

    __slots__ = (
        "function",
        "name",
        "eager",
        "tuned",
        "container",
        "forward",
        "layouts",
        "_recorded",
        "_recordings",
        "_pullbacks",
        "_uses",
        "_saves",
    )

    def __init__(self, function: Callable, name: str, eager: bool = False, tuned: bool = False):
        self.function = function
        self.name = name
        self.eager = eager
        self.tuned = tuned
        self.container: Callable | None = None  # what wraps the outputs, None for one array; noted while tracing
        self.forward = self._run if eager else (tuned_jit if tuned else jax.jit)(_named(self._run, name))
        self.layouts = Kept()  # of a view, once seen: (shape, dtype) of input -> of output
        self._recorded: dict[tuple[int, ...], Callable] = {}
        self._recordings: dict[tuple[int, ...], Recording] = {}
        self._pullbacks: dict[tuple[int, ...], Program] = {}
        self._uses = Kept()
        self._saves = Kept()

    def _run(self, *flat):
        """One array or a tuple of arrays, none of them weakly typed."""
        out = self.function(*flat)
        if isinstance(out, tuple | list):
            self.container = type(out)._make if hasattr(out, "_make") else tuple  # type: ignore[union-attr]
            return tuple(_strong(x) for x in out)
        self.container = None
        return _strong(out)

    def recorded(self, wanted: tuple[int, ...]) -> Callable:
        """`flat -> (outputs, pullback)`, the pullback being for the inputs at the positions `wanted`.

        The pullback is a pytree that `pull` runs compiled. It takes a tuple with one cotangent for each output of
        inexact dtype. For arrays with values there is `recording`.
        """
        found = self._recorded.get(wanted)
        if found is None:
            record = self._record(wanted)
            found = self._recorded[wanted] = record if self.eager else jax.jit(_named(record, self.name))
        return found

    def recording(self, wanted: tuple[int, ...]) -> Recording:
        """The same for arrays with values, in two parts. Not for eager programs."""
        found = self._recordings.get(wanted)
        if found is None:
            found = self._recordings[wanted] = Recording(
                self._record(wanted), pulled, self.name, tuned_jit if self.tuned else jax.jit
            )
        return found

    def _record(self, wanted: tuple[int, ...]) -> Callable:
        def record(*flat):
            def of_wanted(*values):
                full = list(flat)
                for i, x in zip(wanted, values, strict=True):
                    full[i] = x
                out = self._run(*full)
                outs = out if isinstance(out, tuple) else (out,)
                return tuple(x for x in outs if _args.is_inexact(x.dtype)), out

            _, pullback, out = jax.vjp(of_wanted, *(flat[i] for i in wanted), has_aux=True)
            return out, pullback

        return record

    def pullback(self, wanted: tuple[int, ...], count: int) -> "Program":
        """The pullback as a program of (`count` inputs..., cotangents...): differentiable again, to any order."""
        found = self._pullbacks.get(wanted)
        if found is None:

            def pull_again(*flat):
                _, pullback = self.recorded(wanted)(*flat[:count])
                return pulled(pullback, tuple(flat[count:]))

            found = self._pullbacks[wanted] = Program(pull_again, self.name + "Backward", self.eager, self.tuned)
        return found

    def uses(self, flat: Sequence) -> list[bool]:
        """Which of the inputs the outputs depend on; all, for an eager program."""
        if self.eager:
            return [True] * len(flat)
        key = tuple(None if x is None else jax.typeof(x) for x in flat)
        found = self._uses.get(key)
        if found is None:
            jaxpr = jax.make_jaxpr(self._run)(*flat).jaxpr
            used = iter(depends(jaxpr, [True] * len(jaxpr.outvars)))
            found = self._uses[key] = [x is not None and next(used) for x in flat]
        return found

    def saves(self, wanted: tuple[int, ...], flat: Sequence) -> list[bool]:
        """Which of the inputs the gradients for those at the positions `wanted` depend on."""
        key = (wanted, *(None if x is None else jax.typeof(x) for x in flat))
        found = self._saves.get(key)
        if found is None:
            outs = jax.tree.leaves(jax.eval_shape(self._run, *flat)) if not self.eager else ()
            cotangents = [jnp.zeros(x.shape, x.dtype) for x in outs if _args.is_inexact(x.dtype)]
            found = self._saves[key] = self.pullback(wanted, len(flat)).uses([*flat, *cotangents])[: len(flat)]
        return found


def spread(values: Sequence) -> tuple[list, tuple[int | None, ...]]:
    """The values with the tuples among them taken apart, and their layout: the length of each tuple, None for others."""
    flat, layout = [], []
    for value in values:
        if type(value) is tuple:
            flat += value
            layout.append(len(value))
        else:
            flat.append(value)
            layout.append(None)
    return flat, tuple(layout)


def unspread(flat: Sequence, layout: Sequence[int | None]) -> list:
    """Undo the spreading of sequences: `layout` holds a length for each sequence and None for each single value."""
    values, at = [], 0
    for length in layout:
        values.append(flat[at] if length is None else tuple(flat[at : at + length]))
        at += 1 if length is None else length
    return values


def _conjugate(array: Array) -> Array:
    return jnp.conj(array) if _args.is_complex(array.dtype) else array


def pulled(pullback: Callable, cotangents: tuple) -> tuple:
    """The gradients as torch defines them: for complex numbers they are the conjugates of JAX's cotangents."""
    return tuple(_conjugate(g) for g in pullback(tuple(_conjugate(c) for c in cotangents)))


pull = jax.jit(pulled)
"""`pulled`, compiled: not for eager programs, whose pullback may go from one device to another."""


def _named(function: Callable, name: str) -> Callable:
    """A function object of its own, whose name shows in profiles and compilation logs."""

    def call(*flat):
        return function(*flat)

    call.__name__ = call.__qualname__ = name
    return call


def _strong(x) -> Array:
    x = jnp.asarray(x)
    if isinstance(x, jax.core.Tracer):  # a concrete one is there already
        _args.check_room(x.shape, x.dtype)
    return jax.lax.convert_element_type(x, x.dtype) if x.aval.weak_type else x
