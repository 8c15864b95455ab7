"""utils.data gives the batches that torch's gives, in the same order from the same seed."""

import collections

import numpy as np
import parity
import pytest

import jtorch

pytestmark = pytest.mark.x64_off

Pair = collections.namedtuple("Pair", "a b")


def rows(lib):
    """A dataset of two tensors of length 7."""
    return lib.utils.data.TensorDataset(lib.arange(14.0).reshape(7, 2), lib.arange(7))


def records(lib):
    """A dataset of dictionaries with a value of each kind."""

    class Records(lib.utils.data.Dataset):
        def __len__(self):
            return 5

        def __getitem__(self, i):
            values = {"array": np.full(2, i, np.float32), "number": i, "real": i / 2, "text": str(i), "flag": i > 2}
            return values | {"pair": (i, lib.ones(1) * i), "list": [i, i + 1], "named": Pair(i, np.float32(i))}

    return Records()


def stream(lib, count=5):
    """An iterable dataset of numbers."""

    class Stream(lib.utils.data.IterableDataset):
        def __iter__(self):
            return iter(range(count))

        def __len__(self):
            return count

    return Stream()


def listed(value):
    """Dictionaries as lists of their items, containers with the names of their types."""
    if isinstance(value, dict):
        return [[name, listed(item)] for name, item in value.items()]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(listed, value)]
    return value


def passes(lib, dataset, *args, count=2, **kwargs):
    """What some passes of a loader give, and what is drawn after them."""
    lib.manual_seed(5)
    loader = lib.utils.data.DataLoader(dataset(lib), *args, **kwargs)
    return listed([[list(loader) for _ in range(count)], len(loader), lib.rand(2)])


AGREE = []
script = parity.scripts(AGREE)


@script
def loaders(lib):
    return [
        passes(lib, rows, 3), passes(lib, rows, 3, shuffle=True), passes(lib, rows, batch_size=2, drop_last=True),
        passes(lib, records, 2, shuffle=True), passes(lib, records, batch_size=None),
        passes(lib, stream, 2), passes(lib, stream, 2, drop_last=True), passes(lib, stream, None),
        passes(lib, rows, batch_sampler=[[0, 2], [5]]), passes(lib, rows, 2, sampler=[6, 1, 2]),
        passes(lib, lambda lib: [1, 2, 3], 2, collate_fn=sum),
    ]  # fmt: skip


@script
def generators(lib):
    generator = lib.Generator().manual_seed(7)
    loader = lib.utils.data.DataLoader(rows(lib), 4, shuffle=True, generator=generator)
    return [list(loader) for _ in range(3)]


@script
def samplers(lib):
    data = lib.utils.data
    lib.manual_seed(2)
    shared = data.DistributedSampler(range(7), num_replicas=3, rank=1)
    shared.set_epoch(4)
    return [
        list(x)
        for x in (
            data.SequentialSampler("abc"),
            data.RandomSampler(range(5)),
            data.RandomSampler(range(5), replacement=True, num_samples=40),
            data.RandomSampler(range(5), num_samples=12),
            data.SubsetRandomSampler([3, 5, 9]),
            data.WeightedRandomSampler([0.1, 0.9, 0.4], 5),
            data.WeightedRandomSampler([0.1, 0.9, 0.4], 3, replacement=False),
            data.BatchSampler(range(5), 2, False),
            data.BatchSampler(range(5), 2, True),
            shared,
            data.DistributedSampler(range(7), 3, 2, shuffle=False, drop_last=True),
            data.DistributedSampler(range(2), 5, 4, shuffle=False),
        )
    ]


@script
def datasets(lib):
    data = lib.utils.data
    lib.manual_seed(3)
    parts = data.random_split(rows(lib), [0.5, 0.3, 0.2])
    both = rows(lib) + rows(lib)
    chained = stream(lib) + stream(lib, 2)
    return [
        [list(p.indices) for p in parts], parts[0][1], parts[0][[0, 1]], [list(data.DataLoader(p, 2)) for p in parts],
        len(both), both[8], both[-1], both.cumulative_sizes, list(chained), len(chained), list(data.DataLoader(chained, 4)),
        data.StackDataset([1, 2], [3, 4])[0], listed(data.StackDataset(a=[1, 2], b=[3, 4])[1]), data.Subset([4, 5, 6], [2, 0])[0],
        listed(data.default_convert({"a": np.ones(2), "b": [1, "x"], "c": (np.int32(3),)})), data.get_worker_info(),
    ]  # fmt: skip


MISTAKES = [
    lambda lib: lib.utils.data.DataLoader(rows(lib), batch_size=0),
    lambda lib: lib.utils.data.DataLoader(rows(lib), shuffle=True, sampler=[1]),
    lambda lib: lib.utils.data.DataLoader(rows(lib), batch_sampler=[[1]], batch_size=2),
    lambda lib: lib.utils.data.DataLoader(rows(lib), batch_size=None, drop_last=True),
    lambda lib: lib.utils.data.DataLoader(rows(lib), num_workers=-1),
    lambda lib: lib.utils.data.DataLoader(rows(lib), timeout=-1),
    lambda lib: lib.utils.data.DataLoader(rows(lib), prefetch_factor=2),
    lambda lib: lib.utils.data.DataLoader(rows(lib), persistent_workers=True),
    lambda lib: lib.utils.data.DataLoader(stream(lib), shuffle=True),
    lambda lib: lib.utils.data.DataLoader([], shuffle=True),
    lambda lib: lib.utils.data.TensorDataset(lib.ones(2), lib.ones(3)),
    lambda lib: lib.utils.data.StackDataset([1], [1, 2]),
    lambda lib: lib.utils.data.StackDataset(),
    lambda lib: lib.utils.data.ConcatDataset([]),
    lambda lib: lib.utils.data.ConcatDataset([stream(lib)]),
    lambda lib: (rows(lib) + rows(lib))[-15],
    lambda lib: list(lib.utils.data.ChainDataset([rows(lib)])),
    lambda lib: lib.utils.data.Dataset()[0],
    lambda lib: list(lib.utils.data.Sampler()),
    lambda lib: lib.utils.data.random_split(range(3), [1, 1]),
    lambda lib: lib.utils.data.random_split(range(3), [1.5, -0.5]),
    lambda lib: lib.utils.data.RandomSampler([1], replacement=1),
    lambda lib: lib.utils.data.WeightedRandomSampler([[1.0]], 1),
    lambda lib: lib.utils.data.WeightedRandomSampler([1.0], 0),
    lambda lib: lib.utils.data.BatchSampler([1], True, False),
    lambda lib: lib.utils.data.DistributedSampler([1], 2, 2),
    lambda lib: lib.utils.data.default_collate([object()]),
    lambda lib: lib.utils.data.default_collate([[1], [1, 2]]),
    lambda lib: lib.utils.data.default_collate([np.ones(2), np.ones(3)]),
]


@pytest.mark.parametrize("script", AGREE, ids=lambda f: f.__name__)
def test_data_is_torchs(script):
    parity.agree(script)


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_mistake_is_torchs(number):
    parity.agree(MISTAKES[number])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_subclass_of_tensor_dataset_is_asked_for_its_samples(workers):
    class Doubled(jtorch.utils.data.TensorDataset):
        def __getitem__(self, index):
            return self.tensors[0][index] * 2

    loader = jtorch.utils.data.DataLoader(Doubled(jtorch.arange(3)), 2, num_workers=workers)
    assert [batch.tolist() for batch in loader] == [[0, 2], [4]]
