"""Random numbers: `manual_seed`, `Generator`, and the key that a sampling op gets when none is given.

A generator is a box with a JAX key. An op that samples takes a key split off the default generator; compiled steps
carry the box like any other state. On plain arrays, or inside somebody else's `jax.jit`, keys come from `key=` or from
`with keyed(key):`. Where there is none inside such a trace, a draw raises: a key baked into compiled code would give
the same "random" numbers on every call.
"""

import contextlib
import itertools
import secrets
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch import _types
from jtorch._capture import state
from jtorch._tensor import Tensor, from_array
from jtorch.ops import _op


@jax.jit
def _split(data: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The key that stays, as numbers, and the key for one draw."""
    left, right = jax.random.split(jax.random.wrap_key_data(data))
    return jax.random.key_data(left), right


class Generator:
    """A source of random numbers with a state of its own.

    Args:
        device: accepted; keys live where the computation is.
    """

    def __init__(self, device: Any = "cpu"):
        self.device = _types.device(device)
        self._seed = 0
        self._box: Tensor | None = None

    def _state(self) -> Tensor:
        if self._box is None:  # made at first use: importing allocates nothing on a device
            with jax.ensure_compile_time_eval():
                box = self._box = from_array(jnp.asarray(_seed_data(self._seed)))
            return box
        return self._box

    def manual_seed(self, seed: int) -> "Generator":
        """Start the sequence that belongs to a seed."""
        self._seed = int(seed) % 2**64
        if self._box is not None:
            self._box._rebind(jnp.asarray(_seed_data(self._seed)))
        return self

    def seed(self) -> int:
        """Start from a seed that nobody can foresee, and return it."""
        self.manual_seed(secrets.randbits(63))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that the sequence began with."""
        return self._seed

    def get_state(self) -> Tensor:
        """The state as a tensor of bytes."""
        data = np.asarray(self._state()._concrete("get_state"))
        return from_array(jnp.asarray(np.frombuffer(data.tobytes() + np.uint64(self._seed).tobytes(), np.uint8)))

    def set_state(self, new_state: Tensor) -> None:
        """Go back to a state that `get_state` gave.

        Raises:
            TypeError: it is not such a state.
        """
        data = np.asarray(new_state._value())
        if data.dtype != np.uint8 or data.size != 16:
            raise TypeError("set_state(): expected the 16 bytes that get_state() gave, got something else")
        self._seed = int(np.frombuffer(data[8:].tobytes(), np.uint64)[0])
        self._state()._rebind(jnp.asarray(np.frombuffer(data[:8].tobytes(), np.uint32)))

    def next_key(self) -> jax.Array:
        """A key that no other draw gets."""
        box = self._state()
        left, key = _split(box._value())
        box._rebind(left)
        return key


def _seed_data(seed: int) -> np.ndarray:
    return np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32)


default_generator = Generator()
_keyed: list[list] = []


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, and return it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the system's randomness, and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the default generator's state."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **kwargs: Any) -> Iterator[None]:
    """Leave the default generator as it was at the end, whatever is drawn inside."""
    before = get_rng_state() if enabled else None
    try:
        yield
    finally:
        if before is not None:
            set_rng_state(before)


@contextlib.contextmanager
def keyed(key: jax.Array) -> Iterator[None]:
    """Give every draw inside a key derived from this one: for plain arrays and inside JAX transformations.

    Example:
        >>> import jax, jtorch
        >>> import jtorch.nn.functional as F
        >>> with jtorch.random.keyed(jax.random.key(0)):
        ...     F.dropout(jax.numpy.ones(8)).shape
        (8,)
    """
    _keyed.append([key, 0])
    try:
        yield
    finally:
        _keyed.pop()


def next_key(name: str, generator: Generator | None = None) -> jax.Array:
    """The key for a draw by the op `name`.

    Raises:
        RuntimeError: inside a JAX trace that nothing carries a key into.
    """
    if _keyed and generator is None:
        entry = _keyed[-1]
        entry[1] += 1
        return jax.random.fold_in(entry[0], entry[1])
    if state.session is None and _is_traced():
        raise RuntimeError(
            f"{name}(): expected a key inside jax.jit, grad or vmap, got none; pass key=, or draw inside "
            "`with jtorch.random.keyed(key):` with a key that is an argument of the traced function"
        )
    return (generator or default_generator).next_key()


def is_keyed() -> bool:
    """Whether a `keyed` context gives the keys."""
    return bool(_keyed)


_streams = itertools.count()


def stream_key() -> jax.Array:
    """A key for a stream of its own, by the current seed. Leaves the default generator's sequence as it is."""
    return jax.random.fold_in(jax.random.key(default_generator.initial_seed() % 2**32), next(_streams) % 2**32)


def _is_traced() -> bool:
    return isinstance(jnp.zeros(()), Tracer)


_op.key_source.append(next_key)
