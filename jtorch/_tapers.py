"""Window functions as tensors: those of `ops.tapers`, with a device, a layout and `requires_grad`."""

import inspect
from collections.abc import Callable
from typing import Any

from jtorch import _types
from jtorch._creation import _finish
from jtorch._tensor import Tensor
from jtorch.ops import _args, tapers


def _window(make: Callable, name: str = "") -> Callable:
    """The Tensor form of a window function."""

    def window(
        *args: Any, layout: Any = None, device: Any = None, requires_grad: bool = False, **kwargs: Any
    ) -> Tensor:
        dense = layout in (None, _types.strided)
        _args.check(dense, f"{name or make.__name__}(): expected layout strided, got {layout}")
        return _finish(make(*args, **kwargs), device, requires_grad)

    window.__name__ = window.__qualname__ = name or make.__name__
    window.__doc__ = make.__doc__
    given = list(inspect.signature(make).parameters.values())
    extra = (("layout", _types.strided), ("device", None), ("requires_grad", False))
    named = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in extra]
    window.__signature__ = inspect.Signature(given + named, return_annotation=Tensor)  # type: ignore[attr-defined]
    return window


bartlett = _window(tapers.bartlett)
blackman = _window(tapers.blackman)
cosine = _window(tapers.cosine)
exponential = _window(tapers.decay, "exponential")
gaussian = _window(tapers.gaussian)
general_cosine = _window(tapers.general_cosine)
general_hamming = _window(tapers.general_hamming)
hamming = _window(tapers.hamming)
hann = _window(tapers.hann)
kaiser = _window(tapers.kaiser)
nuttall = _window(tapers.nuttall)

bartlett_window = _window(tapers.bartlett_window)
blackman_window = _window(tapers.blackman_window)
hamming_window = _window(tapers.hamming_window)
hann_window = _window(tapers.hann_window)
kaiser_window = _window(tapers.kaiser_window)
