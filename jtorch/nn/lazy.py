"""Layers that learn from their first input how many features it has: LazyLinear, convolutions, normalizations.

Until then their parameters are `UninitializedParameter`s. At the first call they become ordinary ones, and the layer
becomes one of the class that it derives from.
"""

import itertools
from typing import Any, ClassVar

from jtorch import _creation
from jtorch._capture import state
from jtorch._tensor import Tensor
from jtorch.autograd import no_grad
from jtorch.nn.conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from jtorch.nn.linear import Linear
from jtorch.nn.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from jtorch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from jtorch.ops._args import check
from jtorch.ops._backend import in_foreign_trace


class LazyModuleMixin:
    """What a module is besides, to have parameters whose shapes come from its first input.

    It makes its parameters `UninitializedParameter`s and defines `initialize_parameters`, which is called once with
    the arguments of the first call and has to `materialize` them. With `cls_to_become` it turns into that class then.

    Raises:
        RuntimeError: the first call is inside `jtorch.compile` or a transformation of JAX, where what it sets would be
            lost.
    """

    cls_to_become: ClassVar[type | None] = None

    def __init__(self: Any, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give every uninitialized parameter and buffer its shape and values. To be overridden."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self: Any) -> bool:
        """Whether a parameter or buffer of the module itself has no shape yet."""
        return any(map(is_lazy, itertools.chain(self._parameters.values(), self._buffers.values())))

    def _save_to_state_dict(self: Any, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, tensor in self._own_state():
            destination[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()

    def _load_from_state_dict(self: Any, state_dict: Any, prefix: str, *rest: Any) -> None:
        for name, tensor in itertools.chain(self._parameters.items(), self._buffers.items()):
            value = state_dict.get(prefix + name)
            if is_lazy(tensor) and value is not None and not is_lazy(value):
                tensor.materialize(value.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)  # type: ignore[misc]

    @staticmethod
    def _infer_parameters(module: Any, args: tuple, kwargs: dict | None = None) -> None:
        check(
            state.session is None and not in_foreign_trace(),
            f"{type(module).__name__}(): expected the first call outside of compiled and transformed functions, got one "
            "inside; call it there with a dummy batch first",
            RuntimeError,
        )
        with no_grad():
            module.initialize_parameters(*args, **kwargs or {})
        done = not module.has_uninitialized_params()
        check(done, f"module {type(module).__name__} has not been fully initialized", RuntimeError)
        for hooks in (module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs):
            hooks.pop(module._initialize_hook.id)  # the handle may know those of the module that NNX copied
        del module._initialize_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become


class _LazyLayer(LazyModuleMixin):
    """A layer whose number of features is the attribute `features`, 0 until it is known."""

    features: ClassVar[str]

    def _await(self: Any, names: tuple[str, ...], kind: type, device: Any, dtype: Any) -> None:
        for name in names:
            setattr(self, name, kind(device=device, dtype=dtype))

    def reset_parameters(self: Any) -> None:
        """Draw the parameters anew, once they are there."""
        if not self.has_uninitialized_params() and getattr(self, self.features):
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self: Any, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take the number of features from the input, and make the parameters and buffers for it."""
        if self.has_uninitialized_params():
            setattr(self, self.features, self._count(input))
            for name, shape in self._shapes().items():
                if is_lazy(getattr(self, name)):
                    getattr(self, name).materialize(shape)
            self.reset_parameters()
        elif not getattr(self, self.features):  # they came with a state_dict
            setattr(self, self.features, self._count(input))


class LazyLinear(_LazyLayer, Linear):
    """A `Linear` that takes `in_features` from its first input.

    Shape: (*, in_features) -> (*, out_features)
    """

    cls_to_become = Linear
    features = "in_features"

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(0, 0, False)
        self.out_features = out_features
        self._await(("weight", "bias")[: 1 + bias], UninitializedParameter, device, dtype)

    def _count(self, input: Tensor) -> int:
        return input.shape[-1]

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.out_features, self.in_features), "bias": (self.out_features,)}


# convolutions


class _LazyConv(_LazyLayer):
    features = "in_channels"

    def _begin(self: Any, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.out_channels = out_channels
        self._await(("weight", "bias")[: 1 + bias], UninitializedParameter, device, dtype)

    def _count(self: Any, input: Tensor) -> int:
        single = self.nd + 1
        text = f"Expected {single}D (unbatched) or {single + 1}D (batched) input to {type(self).__name__}"
        check(input.ndim in (single, single + 1), f"{text}, but got input of size: {input.shape}", RuntimeError)
        channels = input.shape[input.ndim - single]
        check(channels % self.groups == 0, "in_channels must be divisible by groups")
        return channels

    def _shapes(self: Any) -> dict[str, tuple[int, ...]]:
        channels, groups = (self.out_channels, self.in_channels), self.groups
        first, second = reversed(channels) if self.transposed else channels
        return {"weight": (first, second // groups, *self.kernel_size), "bias": (self.out_channels,)}


class _LazyForward(_LazyConv):
    def __init__(
        self, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
        bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)
        self._begin(out_channels, bias, device, dtype)


class _LazyTransposed(_LazyConv):
    def __init__(
        self, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
        groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros", device: Any = None,
        dtype: Any = None,
    ):  # fmt: skip
        super().__init__(0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode)
        self._begin(out_channels, bias, device, dtype)


class LazyConv1d(_LazyForward, Conv1d):
    """A `Conv1d` that takes `in_channels` from its first input.

    Shape: (N, C, L) or (C, L) -> as of Conv1d
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyForward, Conv2d):
    """A `Conv2d` that takes `in_channels` from its first input.

    Shape: (N, C, H, W) or (C, H, W) -> as of Conv2d
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyForward, Conv3d):
    """A `Conv3d` that takes `in_channels` from its first input.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> as of Conv3d
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyTransposed, ConvTranspose1d):
    """A `ConvTranspose1d` that takes `in_channels` from its first input.

    Shape: (N, C, L) or (C, L) -> as of ConvTranspose1d
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyTransposed, ConvTranspose2d):
    """A `ConvTranspose2d` that takes `in_channels` from its first input.

    Shape: (N, C, H, W) or (C, H, W) -> as of ConvTranspose2d
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyTransposed, ConvTranspose3d):
    """A `ConvTranspose3d` that takes `in_channels` from its first input.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> as of ConvTranspose3d
    """

    cls_to_become = ConvTranspose3d


# normalizations


class _LazyNorm(_LazyLayer):
    features = "num_features"

    def __init__(
        self: Any, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__(0, eps, momentum, False, False)
        self.affine, self.track_running_stats = affine, track_running_stats
        if affine:
            self._await(("weight", "bias")[: 1 + bias], UninitializedParameter, device, dtype)
        if track_running_stats:
            self._await(("running_mean", "running_var"), UninitializedBuffer, device, dtype)
            self.num_batches_tracked = _creation.tensor(0, device=device)

    def _count(self, input: Tensor) -> int:
        return input.shape[1]

    def _shapes(self: Any) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (self.num_features,))


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """A `BatchNorm1d` that takes `num_features` from its first input.

    Shape: (N, C) or (N, C, L) -> same
    """

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """A `BatchNorm2d` that takes `num_features` from its first input.

    Shape: (N, C, H, W) -> same
    """

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """A `BatchNorm3d` that takes `num_features` from its first input.

    Shape: (N, C, D, H, W) -> same
    """

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """An `InstanceNorm1d` that takes `num_features` from its first input.

    Shape: (N, C, L) -> same
    """

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """An `InstanceNorm2d` that takes `num_features` from its first input.

    Shape: (N, C, H, W) -> same
    """

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """An `InstanceNorm3d` that takes `num_features` from its first input.

    Shape: (N, C, D, H, W) -> same
    """

    cls_to_become = InstanceNorm3d
