"""What torch keeps in `nn.modules.instancenorm`. Each is defined where its line says."""

from jtorch.nn.lazy import LazyInstanceNorm1d as LazyInstanceNorm1d
from jtorch.nn.lazy import LazyInstanceNorm2d as LazyInstanceNorm2d
from jtorch.nn.lazy import LazyInstanceNorm3d as LazyInstanceNorm3d
from jtorch.nn.normalization import InstanceNorm1d as InstanceNorm1d
from jtorch.nn.normalization import InstanceNorm2d as InstanceNorm2d
from jtorch.nn.normalization import InstanceNorm3d as InstanceNorm3d
from jtorch.nn.normalization import _InstanceNorm as _InstanceNorm
