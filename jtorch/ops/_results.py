"""How results of several arrays print: as torch's do, under the name of the function that gave them."""

from collections.abc import Callable
from typing import Any


def result_of(name: str) -> Callable:
    """Decorate a NamedTuple: the result of torch's function of that name."""

    def _repr(self: Any) -> str:
        fields = ",\n".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
        return f"torch.return_types.{name}(\n{fields})"

    def decorate(kind: Any) -> Any:
        kind.__repr__ = _repr
        return kind

    return decorate
