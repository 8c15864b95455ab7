"""Process groups, which are not available: code that asks is told so, and runs as in one process.

Several processes of JAX are joined by `jax.distributed`, several devices of one process by `nn.DataParallel`.
"""

import enum
from typing import Any, NoReturn


class ReduceOp(enum.Enum):
    """How a collective joins values; for code that names it."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7


class ProcessGroup:
    """For code that names it; nothing here makes one."""


class group:
    """The group of all processes, which there is not."""

    WORLD: ProcessGroup | None = None


def is_available() -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_nccl_available() -> bool:
    """False."""
    return False


def is_gloo_available() -> bool:
    """False."""
    return False


def is_mpi_available() -> bool:
    """False."""
    return False


def is_torchelastic_launched() -> bool:
    """False."""
    return False


def init_process_group(*args: Any, **kwargs: Any) -> NoReturn:
    """There are no process groups.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "init_process_group(): expected nothing, got a call; process groups are not available: join processes with "
        "jax.distributed.initialize(), or use the devices of one with nn.DataParallel"
    )


def _refusing(name: str) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError(
            "Default process group has not been initialized, please make sure to call init_process_group. "
            f"{name}(): process groups are not available, see is_available()"
        )

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = "There are no process groups.\n\nRaises:\n    ValueError: always."
    return refuse


get_rank = _refusing("get_rank")
get_world_size = _refusing("get_world_size")
get_backend = _refusing("get_backend")
barrier = _refusing("barrier")
all_reduce = _refusing("all_reduce")
all_gather = _refusing("all_gather")
all_gather_object = _refusing("all_gather_object")
broadcast = _refusing("broadcast")
broadcast_object_list = _refusing("broadcast_object_list")
reduce = _refusing("reduce")
reduce_scatter = _refusing("reduce_scatter")
gather = _refusing("gather")
scatter = _refusing("scatter")
send = _refusing("send")
recv = _refusing("recv")
new_group = _refusing("new_group")
destroy_process_group = _refusing("destroy_process_group")
