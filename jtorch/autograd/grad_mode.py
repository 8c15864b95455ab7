"""Whether ops record: `no_grad`, `enable_grad`, `set_grad_enabled`, `inference_mode`, as contexts and decorators."""

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any

from jtorch._capture import state


class _Mode(contextlib.ContextDecorator):
    """A grad mode as context manager and decorator (of functions, generators and classes' methods alike)."""

    _grad: bool | None = None
    _inference: bool | None = None

    def __init__(self):
        self._before: list[tuple[bool, bool]] = []

    def __enter__(self):
        self._before.append((state.grad, state.inference))
        if self._grad is not None:
            state.grad = self._grad
        if self._inference is not None:
            state.inference = self._inference
        return self

    def __exit__(self, *_):
        state.grad, state.inference = self._before.pop()

    def __call__(self, function):
        if not inspect.isgeneratorfunction(function):
            return super().__call__(function)

        @functools.wraps(function)
        def stepped(*args, **kwargs):
            generator = function(*args, **kwargs)
            value, sent = None, None
            while True:
                with self:
                    try:
                        value = generator.send(sent)
                    except StopIteration as end:
                        return end.value
                sent = yield value

        return stepped


class no_grad(_Mode):
    """Ops inside record nothing, and their results do not require gradients."""

    _grad = False

    def __new__(cls, function: Callable | None = None) -> Any:
        mode = super().__new__(cls)
        if function is None:
            return mode
        mode.__init__()
        return mode(function)

    def __init__(self, function: Callable | None = None):
        super().__init__()


class enable_grad(no_grad):
    """Ops inside record, whatever the mode around."""

    _grad = True


class set_grad_enabled(_Mode):
    """Recording on or off, at once when called and until the end when used as a context manager."""

    def __init__(self, mode: bool):
        super().__init__()
        self._grad = bool(mode)
        self._outer = state.grad
        state.grad = self._grad

    def __enter__(self):
        self._before.append((self._outer, state.inference))
        state.grad = self._grad  # type: ignore[assignment]
        return self

    def __call__(self, function):
        state.grad = self._outer
        return super().__call__(function)


class inference_mode(_Mode):
    """As `no_grad`; the results are marked as inference tensors. `inference_mode(False)` records again."""

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if callable(mode):
            made.__init__()
            return made(mode)
        return made

    def __init__(self, mode: Any = True):
        super().__init__()
        self._grad, self._inference = not mode, bool(mode)


def is_grad_enabled() -> bool:
    """Whether ops record."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    """Whether inference_mode is on."""
    return state.inference
