"""The random state of GPUs, which is that of the default generator: there is one for all devices."""

from collections.abc import Iterable
from typing import Any

from jtorch import random
from jtorch.cuda.devices import device_count


def manual_seed(seed: int) -> None:
    """Seed the default generator."""
    random.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the default generator."""
    random.manual_seed(seed)


def seed() -> None:
    """Seed the default generator with a number that nobody knows."""
    random.seed()


seed_all = seed


def initial_seed() -> int:
    """The number that the default generator was seeded with."""
    return random.initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of the default generator."""
    return random.get_rng_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Put back the state of the default generator."""
    random.set_rng_state(new_state)


def get_rng_state_all() -> list:
    """The state of the default generator, once for each GPU."""
    return [random.get_rng_state() for _ in range(device_count())]


def set_rng_state_all(new_states: Iterable) -> None:
    """Put back the state of the default generator."""
    for state in new_states:
        random.set_rng_state(state)
