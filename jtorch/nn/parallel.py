"""DataParallel: a module whose batch is spread over several devices of this process.

JAX arrays can lie on several devices, and XLA divides the work by where they lie; nothing is copied per replica.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jtorch import _types
from jtorch._capture import state
from jtorch._tensor import Tensor, from_array
from jtorch.autograd import Function
from jtorch.nn.module import Module
from jtorch.ops import _args


def _device(given: Any) -> Any:
    """A device by JAX's object, torch's, or its number on the default platform."""
    if isinstance(given, jax.Device):
        return given
    if not isinstance(given, int):
        return _types.device(given).jax()
    there = jax.devices()
    _args.check(given < len(there), f"DataParallel(): expected one of {len(there)} devices, got {given}", RuntimeError)
    return there[given]


class _Put(Function):
    """The tensor in another sharding; its gradient in the old one, if that was anybody's choice."""

    @staticmethod
    def forward(ctx, tensor, sharding):
        array = tensor._value()
        chosen = not isinstance(array, jax.core.Tracer) and array.committed
        ctx.before = array.sharding if chosen else None
        return from_array(jax.device_put(array, sharding))

    @staticmethod
    def backward(ctx, gradient):
        if ctx.before is None:
            return gradient, None
        return _put(gradient, ctx.before), None


def _put(tensor: Tensor, where: Any) -> Tensor:
    if state.grad and tensor.requires_grad:
        return _Put.apply(tensor, where)
    return from_array(jax.device_put(tensor._value(), where))


class DataParallel(Module):
    """The module's output, computed on several devices: the batch is divided among them, the parameters are on each.

    With one device it just calls the module. Parameters keep torch's names, with `module.` in front. A batch that cannot
    be divided evenly is computed as a whole on each device.

    Args:
        device_ids: numbers or devices; None means all of the default platform.
        output_device: where to put the outputs. None leaves them on all devices, as tensors that work like any other.
        dim: the dimension that is the batch.

    Raises:
        RuntimeError: a device is not there.

    Differs: there are no replicas, so batch norm sees the statistics of the whole batch, and hooks see it too.
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0):
        super().__init__()
        self.module = module
        self.dim = dim
        self.device_ids = list(range(len(jax.devices())) if device_ids is None else device_ids)
        self.output_device = output_device
        devices = [_device(i) for i in self.device_ids]
        self._mesh = Mesh(np.array(devices), ("batch",)) if len(devices) > 1 else None
        self._spread_state()

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if self._mesh is None:
            return self.module(*inputs, **kwargs)
        self._spread_state()
        inputs, kwargs = _each_tensor(self._spread, (inputs, kwargs))
        outputs = self.module(*inputs, **kwargs)
        if self.output_device is None:
            return outputs
        target = _device(self.output_device)
        return _each_tensor(lambda x: _put(x, target), outputs)

    def _spread_state(self) -> None:
        """Put parameters and buffers on every device, where they are not yet."""
        if self._mesh is None or state.session is not None:
            return
        whole = NamedSharding(self._mesh, PartitionSpec())
        for tensor in (*self.parameters(), *self.buffers()):
            array = tensor._value()
            if not isinstance(array, jax.core.Tracer) and array.sharding.device_set != whole.device_set:
                tensor._rebind(jax.device_put(array, whole))

    def _spread(self, tensor: Tensor) -> Any:
        """The tensor with its batch divided among the devices, if it can be."""
        spec = PartitionSpec()
        if -tensor.ndim <= self.dim < tensor.ndim and tensor.shape[self.dim] % len(self.device_ids) == 0:
            spec = PartitionSpec(*(None,) * (self.dim % tensor.ndim), "batch")
        return _put(tensor, NamedSharding(self._mesh, spec))  # type: ignore[arg-type]


def _each_tensor(change: Any, values: Any) -> Any:
    is_tensor = lambda x: isinstance(x, Tensor)  # noqa: E731
    return jax.tree.map(lambda x: change(x) if is_tensor(x) else x, values, is_leaf=is_tensor)


class DistributedDataParallel(Module):
    """A module of several processes, which is not available.

    Raises:
        NotImplementedError: always.
    """

    def __init__(self, module: Module, *args: Any, **kwargs: Any):
        raise NotImplementedError(
            "DistributedDataParallel(): expected nothing, got a module; process groups are not available: use DataParallel "
            "for the devices of this process"
        )
