"""The loader: a dataset as an iterator of batches. It loads in the process that asks; workers are not there."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jtorch import _creation
from jtorch.utils.data.collation import default_collate, default_convert
from jtorch.utils.data.dataset import IterableDataset, TensorDataset
from jtorch.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler, drawn_seed


class DataLoader:
    """Batches of a dataset, each time it is iterated over.

    Args:
        batch_size: None to give the samples one by one, without a batch dimension.
        shuffle: whether each pass goes in another random order; from the same seed in the same order as torch's.
        collate_fn: a batch out of a list of samples.

    Raises:
        ValueError: options exclude each other, or are negative.

    Differs: samples are loaded in this process, one batch when it is asked for, whatever `num_workers` says, so
    `worker_init_fn` is not called, and `timeout`, `prefetch_factor`, `persistent_workers` and pinning do nothing.

    Example:
        >>> import jtorch
        >>> from jtorch.utils.data import DataLoader, TensorDataset
        >>> for x, y in DataLoader(TensorDataset(jtorch.arange(3), jtorch.ones(3)), batch_size=2):
        ...     print(x, y)
        tensor([0, 1]) tensor([1., 1.])
        tensor([2]) tensor([1.])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable | None = None,
        batch_sampler: Iterable | None = None,
        num_workers: int = 0,
        collate_fn: Callable | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        _check_order(dataset, batch_size, shuffle, sampler, batch_sampler, drop_last)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.persistent_workers = persistent_workers
        if sampler is None and not isinstance(dataset, IterableDataset):
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_sampler is not None:
            batch_size, drop_last = None, False
        elif batch_size is not None:
            batch_sampler = BatchSampler(itertools.count() if sampler is None else sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)

    def __iter__(self) -> Iterator:
        drawn_seed(self.generator)  # torch draws a seed for its workers, also where there are none
        if isinstance(self.dataset, IterableDataset):
            return self._streamed()
        return map(self._sample if self.batch_sampler is None else self._batch, self._order())

    def _order(self) -> Iterator:
        return iter(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]

    def _sample(self, index: Any) -> Any:
        return self.collate_fn(self.dataset[index])

    def _batch(self, indices: list) -> Any:
        if type(self.dataset) is TensorDataset and self.collate_fn is default_collate:
            chosen = _creation.tensor(indices)
            return [tensor[chosen] for tensor in self.dataset.tensors]  # what stacking rows gives, in one step
        fetch: Any = getattr(self.dataset, "__getitems__", None)
        samples: Any = fetch(indices) if callable(fetch) else [self.dataset[i] for i in indices]
        return self.collate_fn(samples)

    def _streamed(self) -> Iterator:
        samples = iter(self.dataset)
        if self.batch_sampler is None:
            yield from map(self.collate_fn, samples)
            return
        for indices in self._order():
            batch = list(itertools.islice(samples, len(indices)))
            if not batch or (self.drop_last and len(batch) < len(indices)):
                return
            yield self.collate_fn(batch)

    def __len__(self) -> int:
        if not isinstance(self.dataset, IterableDataset):
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]
        count = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


def _check_workers(num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool) -> None:
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError("prefetch_factor option could only be specified in multiprocessing; set num_workers > 0")
    if num_workers == 0 and persistent:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_order(
    dataset: Any, batch_size: int | None, shuffle: bool | None, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if isinstance(dataset, IterableDataset):
        for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
            if value is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                )
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
    if batch_sampler is None and batch_size is None and drop_last:
        raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")


def get_worker_info() -> None:
    """None: everything is loaded in the process that asks."""
