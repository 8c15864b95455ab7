"""What a traced run changed on a module's attributes: noted beforehand, undone afterwards, done again by every call.

Assigning `self.h = h.detach()`, counting calls in `self.steps` or appending to a list are ordinary things to do in a forward.
A program cannot do them, so the run that makes it is undone, and each call of the program does the same to the module.
"""

import copy
from typing import Any, NamedTuple

from jtorch._capture import state
from jtorch._tensor import Tensor
from jtorch.nn._graph import CONTAINERS, INTERNAL, REGISTRIES, epoch, recorded

GONE = object()
"""The value of an attribute that was deleted."""


class Change(NamedTuple):
    """One attribute that is another than before."""

    module: Any
    registry: str | None  # "_buffers", or None for a plain attribute
    name: str
    before: Any
    after: Any  # or GONE

    def emptied(self) -> "Change":
        """The same without the values, which belong to one run."""
        same = self.before if self.after is self.before else None
        return self._replace(before=same, after=same if same is not None else GONE)

    def apply(self, value: Any) -> None:
        """Set the attribute to `value`; a list, dictionary or set that was filled anew stays the object that it is."""
        if value is GONE:
            delattr(self.module, self.name)
        elif self.registry:
            self.module._put(self.registry, self.name, value)
        elif self.after is self.before and type(value) in CONTAINERS:
            refill(vars(self.module)[self.name], value)
        else:
            vars(self.module)[self.name] = value
        epoch[0] += 1


def refill(container: Any, content: Any) -> None:
    """Give a list, dictionary or set another content."""
    kept = copy.copy(content)
    container.clear()
    (container.extend if type(container) is list else container.update)(kept)


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [found for x in inner for found in tensors_in(x)]


class Snapshot:
    """A module as it was: its settings and members."""

    __slots__ = ("module", "signature", "attributes", "contents", "members")

    def __init__(self, module: Any):
        own = vars(module)
        self.module = module
        self.signature = module._signature()
        self.attributes = {name: value for name, value in own.items() if name not in INTERNAL}
        self.contents = {n: copy.copy(v) for n, v in self.attributes.items() if type(v) in CONTAINERS}
        self.members = {kind: dict(own[kind]) for kind in REGISTRIES}

    def changes(self) -> list[Change]:
        """The attributes that are others now.

        Raises:
            RuntimeError: a parameter or a child was put in or taken out.
        """
        own = vars(self.module)
        now = {name: value for name, value in own.items() if name not in INTERNAL}
        for kind in ("_parameters", "_modules"):
            if recorded(own[kind]) != recorded(self.members[kind]):
                raise RuntimeError(
                    f"compile(): expected the {kind[1:]} of a {type(self.module).__name__} from outside to stay as they "
                    "are, got others; make layers and parameters before the compiled function runs"
                )
        return [*self._differing(None, self.attributes | self.contents, now),
                *self._differing("_buffers", self.members["_buffers"], own["_buffers"])]  # fmt: skip

    def _differing(self, registry: str | None, before: dict, now: dict) -> list[Change]:
        changed = [n for n in {**before, **now} if recorded(before.get(n, GONE)) != recorded(now.get(n, GONE))]
        old = before if registry else self.attributes
        return [Change(self.module, registry, n, old.get(n, GONE), now.get(n, GONE)) for n in changed]

    def undo(self) -> None:
        """Make the module what it was."""
        own = vars(self.module)
        for name in [n for n in own if n not in INTERNAL and n not in self.attributes]:
            del own[name]
        own.update(self.attributes)
        for name, content in self.contents.items():
            if recorded(own[name]) != recorded(content):
                refill(own[name], content)
        for kind, members in self.members.items():
            if recorded(own[kind]) != recorded(members):
                refill(own[kind], members)


def note(module: Any) -> None:
    """Have the capture in progress, if there is one, remember the module as it is."""
    if state.session is not None and id(module) not in state.session.modules:
        state.session.modules[id(module)] = Snapshot(module)
