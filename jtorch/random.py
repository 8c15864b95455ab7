"""Random numbers: `manual_seed`, `Generator`, and what a sampling op draws from when it is given no key.

A generator is one box with two engines, seeded together. What is drawn outside compiled code comes from the host, from
the stream that PyTorch draws on a CPU, so that the same seed gives the same numbers and the same initial weights: see
`_draws`. Compiled steps, and draws in the shape of tensors on other devices, take JAX keys split off the box's key, which
is carried like any other state. On plain arrays, or inside somebody else's `jax.jit`, keys come from `key=` or from
`with keyed(key):`. Where there is none inside such a trace, a draw raises: a key baked into compiled code would give
the same "random" numbers on every call.
"""

import contextlib
import copy
import itertools
import secrets
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch import _devices, _draws, _types
from jtorch._capture import state
from jtorch._tensor import Tensor, from_array
from jtorch._twister import STATE_BYTES, Twister
from jtorch.autograd.grad_mode import inference_mode
from jtorch.ops import _args, _op, sampling
from jtorch.ops._backend import in_foreign_trace


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
        self._seed = _FIRST_SEED
        self._box: Tensor | None = None
        self._host: Twister | None = None

    def _state(self) -> Tensor:
        if self._box is None:  # made at first use: importing allocates nothing on a device
            with jax.ensure_compile_time_eval(), inference_mode(False):
                box = self._box = from_array(jnp.asarray(_seed_data(self._seed)))
            return box
        return self._box

    def stream(self) -> Twister:
        """The engine of draws on the host."""
        if self._host is None:  # made at first use, as the box
            self._host = Twister(self._seed)
        return self._host

    def manual_seed(self, seed: int) -> "Generator":
        """Start the sequence that belongs to a seed."""
        self._seed = _seed_of(seed)
        self._host = None
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
        """The state as a tensor of bytes, in the layout of torch's generator for the CPU, which takes them too."""
        data = _seed_data(self._seed) if self._box is None else np.asarray(self._box._concrete("get_state"))
        key = bytes(8) if np.array_equal(data, _seed_data(self._seed)) else data.tobytes()
        return from_array(jnp.asarray(np.frombuffer(self.stream().state(self._seed, key), np.uint8)))

    def set_state(self, new_state: Tensor) -> None:
        """Go back to a state that `get_state` gave, here or in torch.

        Raises:
            TypeError: it is not such a state.
            RuntimeError: its bytes are not those of a state.
        """
        data = np.asarray(new_state._value())
        if data.dtype != np.uint8 or data.size != STATE_BYTES:
            raise TypeError(
                f"set_state(): expected the {STATE_BYTES} bytes that get_state() gave, got {data.size} of {data.dtype}"
            )
        host = Twister(0)
        self._seed, key = host.set_state(data.tobytes())
        self._host = host
        words = np.frombuffer(key, np.uint32) if any(key) else _seed_data(self._seed)
        self._state()._rebind(jnp.asarray(words))

    def next_key(self) -> jax.Array:
        """A key that no other draw gets."""
        box = self._state()
        left, key = _split(box._value())
        box._rebind(left)
        return key


_FIRST_SEED = 67280421310721
"""What torch's generators start from."""


def _seed_of(seed: int) -> int:
    seed = int(seed)
    message = "Overflow when unpacking long long: expected a seed from -2**63 to 2**64 - 1, got {}"
    _args.check(-(2**63) <= seed < 2**64, message.format(seed), RuntimeError)
    return seed % 2**64


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


@contextlib.contextmanager
def refused(message: str) -> Iterator[None]:
    """Let no op draw inside."""
    _keyed.append([None, message])
    try:
        yield
    finally:
        _keyed.pop()


def drawing_state() -> tuple:
    """What the next draws depend on: the default generator, and the `keyed` context if there is one."""
    generator = default_generator
    made = generator._box is not None or state.session is not None
    box = generator._state()._value() if made else None
    return generator._seed, box, copy.deepcopy(generator._host), list(_keyed[-1]) if _keyed else None


@contextlib.contextmanager
def replayed(before: tuple) -> Iterator[None]:
    """Draw again inside what was drawn after `drawing_state()`; afterwards draws go on from where they were."""
    now = drawing_state()
    _resume(before)
    if before[3] is not None:
        _keyed.append(list(before[3]))
    try:
        yield
    finally:
        if before[3] is not None:
            _keyed.pop()
        _resume(now)


def _resume(at: tuple) -> None:
    generator = default_generator
    generator._seed, box, generator._host = at[0], at[1], copy.deepcopy(at[2])
    if box is None and generator._box is not None:
        box = jnp.asarray(_seed_data(at[0]))
    if box is not None:
        generator._state()._rebind(box)


def next_key(name: str, generator: Generator | None = None) -> jax.Array:
    """The key for a draw by the op `name`.

    Raises:
        RuntimeError: inside a JAX trace that nothing carries a key into.
    """
    if _keyed and _keyed[-1][0] is None:
        raise RuntimeError(_keyed[-1][1])
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
    return in_foreign_trace() and isinstance(jnp.zeros(()), Tracer)  # the first costs nothing where nobody traces


def _drawn_on_host(op: Any, traced: tuple, static: tuple, generator: Generator | None) -> Any:
    """The result that an op draws from the host's engine; None where it is to draw from a key."""
    keyed = _keyed and (generator is None or _keyed[-1][0] is None)
    if keyed or state.session is not None or op.name not in _draws.twins or not _all_on_host(traced) or _is_traced():
        return None
    boxed = any(isinstance(value, Tensor) for value in traced)
    drawn = _draws.draw((generator or default_generator).stream(), op, traced, static)
    if not boxed or isinstance(drawn, Tensor):
        return drawn
    arrays = (value._value() for value in traced if isinstance(value, Tensor))
    result = from_array(_devices.beside(drawn, next(arrays)))
    for value in traced if op.differentiable and state.grad else ():
        if isinstance(value, Tensor) and value.requires_grad:
            result = sampling.drawn_by(value, result)
    return result


def _all_on_host(values: tuple) -> bool:
    for value in values:
        array = value._value() if isinstance(value, Tensor) else value
        if isinstance(array, jax.Array) and (isinstance(array, Tracer) or array.device.platform != "cpu"):
            return False
    return True


_op.key_source.append(next_key)
_op.host_source.append(_drawn_on_host)
