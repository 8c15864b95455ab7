"""Modules that hold modules: Sequential, ModuleList and ModuleDict. Those that hold parameters are in `parameters`."""

import itertools
import operator
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from jtorch.nn.module import Module, check_module, indented


def place(index: Any, count: int) -> int:
    """An index into `count` things as a number in 0 .. count-1.

    Raises:
        TypeError: it is no integer.
        IndexError: it is out of range.
    """
    at = operator.index(index)
    if not -count <= at < count:
        raise IndexError(f"index {at} is out of range")
    return at % count


def iterable(values: Any, name: str) -> Iterable:
    """The values, if they are an iterable and no tensor or module.

    Raises:
        TypeError: they are not.
    """
    if not isinstance(values, Iterable) or hasattr(values, "_raw_value"):
        raise TypeError(f"{name} should be called with an iterable, but got {type(values).__name__}")
    return values


def pairs(values: Any, name: str, spoken: str | None = None) -> Iterator[tuple[Any, Any]]:
    """The key-value pairs of a mapping or of a sequence of pairs.

    Raises:
        TypeError, ValueError: it is neither.
    """
    if not isinstance(values, Iterable):
        kind = type(values).__name__
        raise TypeError(f"{spoken or name}.update should be called with an iterable of key/value pairs, but got {kind}")
    if isinstance(values, Mapping | ModuleDict):
        yield from values.items()
        return
    for i, pair in enumerate(values):
        if not isinstance(pair, Iterable):
            raise TypeError(f"{name} update sequence element #{i} should be Iterable; is{type(pair).__name__}")
        pair = tuple(pair)
        if len(pair) != 2:
            raise ValueError(f"{name} update sequence element #{i} has length {len(pair)}; 2 is required")
        yield pair


class Container(Module):
    """A module with the children that it is given by name. Deprecated: Module does all that."""

    def __init__(self, **kwargs: Any):
        super().__init__()
        message = "`nn.Container` is deprecated. All of its functionality is now implemented in `nn.Module`."
        warnings.warn(f"{message} Subclass that instead.", FutureWarning, stacklevel=2)
        for name, child in kwargs.items():
            self.add_module(name, child)


class _Numbered(Module):
    """What Sequential and ModuleList share: children in an order, reached by their place."""

    def _key(self, index: Any) -> str:
        return tuple(self._modules)[place(index, len(self))]

    def _renumber(self, modules: list[Module]) -> None:
        """Hold these modules, named 0, 1, 2 …"""
        for module in modules:
            check_module(module)
        for name in tuple(self._modules):
            delattr(self, name)
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._key(index), module)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self._modules.values())
        del modules[index if isinstance(index, slice) else place(index, len(modules))]
        self._renumber(modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def pop(self, key: int | slice) -> Any:
        """Remove the module at a place and return it."""
        module = self[key]  # type: ignore[index]
        del self[key]
        return module


class Sequential(_Numbered):
    """The output of the last of its modules, each fed with the output of the one before.

    Made from modules, or from one OrderedDict of named modules.

    Example:
        >>> import jtorch
        >>> jtorch.nn.Sequential(jtorch.nn.Linear(2, 3), jtorch.nn.ReLU())
        Sequential(
          (0): Linear(in_features=2, out_features=3, bias=True)
          (1): ReLU()
        )
    """

    def __init__(self, *args: Any):
        super().__init__()
        named = args[0].items() if len(args) == 1 and isinstance(args[0], OrderedDict) else enumerate(args)
        for name, module in named:
            self.add_module(str(name), module)

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return self._modules[self._key(index)]

    def __add__(self, other: "Sequential") -> "Sequential":
        _check_sequential(other)
        return Sequential(*self, *other)

    def __iadd__(self, other: "Sequential") -> Self:
        _check_sequential(other)
        return self.extend(other)

    def __mul__(self, other: int) -> "Sequential":
        self._check_factor(other)
        return Sequential(*(list(self) * other))

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Self:
        self._check_factor(other)
        return self.extend(list(self) * (other - 1))

    def _check_factor(self, factor: Any) -> None:
        if not isinstance(factor, int):
            raise TypeError(f"unsupported operand type(s) for *: {type(self)} and {type(factor)}")
        if factor <= 0:
            raise ValueError(f"Non-positive multiplication factor {factor} for {type(self)}")

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before the one at a place.

        Raises:
            IndexError: the place is out of range.
            KeyError: the modules have names of their own.
        """
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        n = len(self)
        if not -n <= index <= n:
            raise IndexError(f"Index out of range: {index}")
        at = index + n if index < 0 else index
        if at == n:
            return self.append(module)
        if tuple(self._modules) != tuple(map(str, range(n))):
            raise KeyError(str(at))
        modules = list(self)
        modules.insert(at, module)
        self._renumber(modules)
        return self

    def extend(self, sequential: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        for module in tuple(sequential):
            self.append(module)
        return self


def _check_sequential(other: Any) -> None:
    if not isinstance(other, Sequential):
        raise ValueError(f"add operator supports only objects of Sequential class, but {type(other)} is given.")


class ModuleList(_Numbered):
    """A list of modules, all registered. It is not called itself."""

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self._modules.values())[index])
        return self._modules[self._key(index)]

    def __add__(self, other: Iterable[Module]) -> "ModuleList":
        return ModuleList(list(self) + list(other))

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end.

        Raises:
            TypeError: it is no iterable.
        """
        for module in tuple(iterable(modules, "ModuleList.extend")):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Put a module before the one at a place, as `list.insert`."""
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)

    def __repr__(self):
        """The repr, in which equal neighbours share a line."""
        lines, at = [], 0
        for text, group in itertools.groupby(map(repr, self)):
            count = len(list(group))
            where = f"({at})" if count == 1 else f"({at}-{at + count - 1})"
            times = "" if count == 1 else f"{count} x "
            lines.append(f"\n  {where}: {times}{indented(text)}")
            at += count
        return f"{self._get_name()}({''.join(lines)}{chr(10) if lines else ''})"


class ModuleDict(Module):
    """A dictionary of modules, all registered. It is not called itself."""

    def __init__(self, modules: Any = None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        if key not in self._modules:
            raise KeyError(key)
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: Any) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove all modules."""
        for key in tuple(self):
            del self[key]

    def pop(self, key: str) -> Module:
        """Remove the module of a key and return it."""
        module = self[key]
        del self[key]
        return module

    def keys(self) -> Any:
        """The keys."""
        return self._modules.keys()

    def items(self) -> Any:
        """The pairs of key and module."""
        return self._modules.items()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Add the modules of a mapping or of pairs; those of the same key are replaced.

        Raises:
            TypeError, ValueError: it is neither.
        """
        for key, module in pairs(modules, "ModuleDict"):
            self[key] = module
