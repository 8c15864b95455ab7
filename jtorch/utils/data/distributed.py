"""The share that each process of several has of a dataset."""

import math
from collections.abc import Iterator, Sized
from typing import Any

import jax

from jtorch import _creation, random
from jtorch.utils.data.sampler import Sampler


class DistributedSampler(Sampler[int]):
    """The indices that belong to one process: every `num_replicas`-th one, in an order that all processes share.

    Args:
        num_replicas, rank: how many processes, and which this is; None means as `jax.distributed` has it.

    Raises:
        ValueError: `rank` is not one of them.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ):
        self.dataset: Any = dataset
        self.num_replicas = jax.process_count() if num_replicas is None else num_replicas
        self.rank = jax.process_index() if rank is None else rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"Invalid rank {self.rank}, rank should be in the interval [0, {self.num_replicas - 1}]")
        self.epoch = 0
        self.drop_last = drop_last
        self.shuffle = shuffle
        self.seed = seed
        share = len(dataset) / self.num_replicas
        self.num_samples = math.floor(share) if drop_last else math.ceil(share)
        self.total_size = self.num_samples * self.num_replicas

    def set_epoch(self, epoch: int) -> None:
        """Shuffle in another way from now on: in the way that belongs to the epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        indices = list(range(len(self.dataset)))
        if self.shuffle:
            generator = random.Generator().manual_seed(self.seed + self.epoch)
            indices = _creation.randperm(len(self.dataset), generator=generator).tolist()
        while indices and len(indices) < self.total_size:
            indices += indices[: self.total_size - len(indices)]
        return iter(indices[: self.total_size][self.rank :: self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples
