"""Normalizing modules: over the batch, over each sample, over groups of channels, over neighbouring channels."""

import warnings
from typing import Any, ClassVar

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn import init
from jtorch.nn._declared import Declared, functional
from jtorch.nn.module import Module
from jtorch.nn.parameter import Parameter
from jtorch.ops._args import check
from jtorch.ops.normalization import cross_map_lrn2d


def _add_affine(module: Module, shape: Any, weight: bool, bias: bool, device: Any, dtype: Any) -> None:
    """Register `weight` and `bias`, or None in their places."""
    for name, wanted in (("weight", weight), ("bias", bias)):
        made = Parameter(_creation.empty(shape, device=device, dtype=dtype)) if wanted else None
        module.register_parameter(name, made)


def _reset_affine(module: Any) -> None:
    if module.weight is not None:
        init.ones_(module.weight)
    if getattr(module, "bias", None) is not None:
        init.zeros_(module.bias)


# with running statistics


class _NormBase(Module):
    """What batch and instance norm share: parameters and running statistics of `num_features` channels."""

    _version = 2  # version 1 had no num_batches_tracked
    ranks: ClassVar[tuple[int, ...]]  # the numbers of dimensions that an input may have

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        _add_affine(self, num_features, affine, affine and bias, device, dtype)
        tracked = track_running_stats
        self.register_buffer(
            "running_mean", _creation.zeros(num_features, device=device, dtype=dtype) if tracked else None
        )
        self.register_buffer(
            "running_var", _creation.ones(num_features, device=device, dtype=dtype) if tracked else None
        )
        self.register_buffer("num_batches_tracked", _creation.tensor(0, device=device) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running statistics to mean 0, variance 1 and no batches."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set weight 1, bias 0 and the running statistics to their start."""
        self.reset_running_stats()
        _reset_affine(self)

    def _check_input_dim(self, input: Tensor) -> None:
        expected = " or ".join(f"{n}D" for n in self.ranks)
        check(input.ndim in self.ranks, f"expected {expected} input (got {input.ndim}D input)")

    def extra_repr(self) -> str:
        """The sizes and settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        version = local_metadata.get("version")
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            state_dict[key] = self.num_batches_tracked
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class _BatchNorm(_NormBase):
    def _momentum_now(self) -> Any:
        """The share of this batch in the running statistics, once it has been counted."""
        if not (self.training and self.num_batches_tracked is not None):
            return self.momentum or 0.0
        self.num_batches_tracked.add_(1)
        return 1.0 / self.num_batches_tracked.double() if self.momentum is None else self.momentum

    def forward(self, input: Tensor) -> Tensor:
        """The normalized input."""
        self._check_input_dim(input)
        momentum = self._momentum_now() if self.track_running_stats else 0.0
        training = self.training or (self.running_mean is None and self.running_var is None)
        used = not self.training or self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if used else (None, None)
        return F.batch_norm(input, mean, var, self.weight, self.bias, training, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Each channel brought to mean 0 and variance 1, in training over the batch, in evaluation by running statistics.

    Shape: (N, C) or (N, C, L) -> same
    Args:
        momentum: the share of each batch in the running statistics; None means the mean of all batches so far.
        affine: whether there are a weight and a bias to follow.
        track_running_stats: without, evaluation uses the batch as well.
        bias: without, only the weight follows.
    Raises:
        ValueError: another number of dimensions, or one value per channel in training.
    Source: Ioffe & Szegedy, arXiv 1502.03167 (2015).
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for images.

    Shape: (N, C, H, W) -> same
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """`BatchNorm1d` for volumes.

    Shape: (N, C, D, H, W) -> same
    """

    ranks = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch norm over all devices.

    Shape: (N, C, *) -> same
    Args:
        process_group: None; which devices take part is decided by how the input is laid out over them.
    Differs: there are no processes to synchronize. In compiled code an array that is spread over devices is one array,
        and its statistics are over all of it.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, process_group: Any | None = None, device: Any = None, dtype: Any = None, *,
        bias: bool = True,
    ):  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        check(input.ndim >= 2, f"expected at least 2D input (got {input.ndim}D input)")
        check(input.shape[1] != 0, "SyncBatchNorm number of input channels should be non-zero")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any | None = None) -> Module:
        """The module with every batch norm in it replaced by one of this class that shares its parameters and buffers."""
        made = module
        if isinstance(module, _BatchNorm):
            settings = (module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
            made = cls(*settings, process_group, bias=module.bias is not None)
            made._parameters.update(module._parameters)
            made._buffers.update(module._buffers)
            made.training = module.training
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made


class _InstanceNorm(_NormBase):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """The normalized input."""
        self._check_input_dim(input)
        single = input.ndim == self.ranks[0]
        self._check_features(input, 0 if single else 1)
        batch = input.unsqueeze(0) if single else input
        own = self.training or not self.track_running_stats
        statistics = (self.running_mean, self.running_var)
        out = F.instance_norm(batch, *statistics, self.weight, self.bias, own, self.momentum or 0.0, self.eps)
        return out.squeeze(0) if single else out

    def _check_features(self, input: Tensor, dim: int) -> None:
        size = input.shape[dim]
        if size == self.num_features:
            return
        check(
            not self.affine,
            f"expected input's size at dim={dim} to match num_features ({self.num_features}), but got: {size}.",
        )
        warnings.warn(
            f"input's size at dim={dim} does not match num_features. You can silence this warning by not passing in "
            "num_features, which is not used because affine=False",
            stacklevel=3,
        )

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        names = [n for n in ("running_mean", "running_var") if prefix + n in state_dict]
        if local_metadata.get("version") is None and not self.track_running_stats and names:
            found = " and ".join(f'"{prefix}{n}"' for n in names)
            kind = type(self).__name__
            error_msgs.append(
                f"Unexpected running stats buffer(s) {found} for {kind} with track_running_stats=False. Older versions "
                f"tracked them by default: remove these keys from state_dict, or set track_running_stats=True in {kind}."
            )
            for name in names:
                state_dict.pop(prefix + name)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample brought to mean 0 and variance 1.

    Shape: (N, C, L) or (C, L) -> same
    Args:
        affine: whether a weight and a bias follow.
        track_running_stats: whether evaluation uses running statistics rather than the sample's.
    Raises:
        ValueError: another number of dimensions, one value per channel, or with affine another number of channels.
    Source: Ulyanov et al., arXiv 1607.08022 (2016).
    """

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` for images.

    Shape: (N, C, H, W) or (C, H, W) -> same
    """

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm1d` for volumes.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> same
    """

    ranks = (4, 5)


# without


def _shape(normalized_shape: Any) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


class LayerNorm(Module):
    """The trailing dimensions brought to mean 0 and variance 1.

    Shape: (*, normalized_shape) -> same
    Args:
        elementwise_affine: whether a weight and (with `bias`) a bias follow.
    Source: Ba et al., arXiv 1607.06450 (2016).
    """

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True,
        device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        self.normalized_shape, self.eps = _shape(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        _add_affine(self, self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight 1 and bias 0."""
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        """The normalized input."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The sizes and settings."""
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class GroupNorm(Module):
    """Each group of channels of each sample brought to mean 0 and variance 1.

    Shape: (N, C, *) -> same
    Args:
        affine: whether a weight and (with `bias`) a bias for each channel follow.
    Raises:
        ValueError: the channels do not divide into the groups.
    Source: Wu & He, arXiv 1803.08494 (2018).
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__()
        check(
            num_channels % num_groups == 0,
            f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})",
        )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        _add_affine(self, num_channels, affine, affine and bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight 1 and bias 0."""
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        """The normalized input."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The sizes and settings."""
        affine = f"affine={self.affine}, bias={self.bias is not None}"
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, {affine}"


class RMSNorm(Module):
    """The trailing dimensions divided by the root of the mean of their squares.

    Shape: (*, normalized_shape) -> same
    Args:
        eps: added to the mean; None means the machine epsilon of the dtype that is computed in.
        elementwise_affine: whether a weight follows.
    Source: Zhang & Sennrich, arXiv 1910.07467 (2019).
    """

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True, device: Any = None,
        dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        self.normalized_shape, self.eps = _shape(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        made = (
            Parameter(_creation.empty(self.normalized_shape, device=device, dtype=dtype))
            if elementwise_affine
            else None
        )
        self.register_parameter("weight", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight 1."""
        _reset_affine(self)

    def forward(self, x: Tensor) -> Tensor:
        """The normalized input."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The sizes and settings."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Declared):
    """Its input divided by a power of the mean of squares over `size` neighbouring channels.

    Shape: (N, C, *) -> same
    Source: Krizhevsky et al., NIPS (2012).
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    shown = "{size}, alpha={alpha}, beta={beta}, k={k}"
    forward = functional(F.local_response_norm)


class CrossMapLRN2d(Declared):
    """`LocalResponseNorm` with torch's older windows.

    Shape: (N, C, H, W) -> same
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1
    shown = "{size}, alpha={alpha}, beta={beta}, k={k}"
    forward = functional(cross_map_lrn2d)
