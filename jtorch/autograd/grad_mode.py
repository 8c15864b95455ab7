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
        grad, inference = before = is_grad_enabled(), state.inference
        self._before.append(before)
        _set(grad if self._grad is None else self._grad, inference if self._inference is None else self._inference)
        return self

    def __exit__(self, *_):
        _set(*self._before.pop())

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
        self._outer = is_grad_enabled()
        _set(self._grad, state.inference)

    def __enter__(self):
        super().__enter__()
        self._before[-1] = self._outer, state.inference
        return self

    def __call__(self, function):
        _set(self._outer, state.inference)
        return super().__call__(function)


class inference_mode(_Mode):
    """Ops inside record nothing, whatever the modes inside, and what they make are inference tensors.

    These are not to be written to outside, and no op is recorded there whose gradient needs one; a `clone()` made there
    is an ordinary tensor. Views are what their base is. `inference_mode(False)` is as no mode at all, and records.

    Differs: what is refused is refused before anything is written. Inference tensors that require gradients get them
    wherever they are used outside, where torch loses those of ops on nothing but inference tensors.
    """

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if callable(mode):
            made.__init__()
            return made(mode)
        return made

    def __init__(self, mode: Any = True):
        super().__init__()
        self.mode = bool(mode)
        self._grad, self._inference = not mode, bool(mode)


def _set(grad: bool, inference: bool) -> None:
    """Set both modes. In inference mode nothing is recorded, whatever is asked."""
    if inference is not state.inference:
        state.inference = inference
    state.grad = grad and not inference
    if inference:
        state.asked = grad


def is_grad_enabled() -> bool:
    """Whether ops record, or would outside of inference_mode."""
    return state.asked if state.inference else state.grad


def is_inference_mode_enabled() -> bool:
    """Whether inference_mode is on."""
    return state.inference
