"""What torch keeps in `nn.modules.batchnorm`. Each is defined where its line says."""

from jtorch.nn.lazy import LazyBatchNorm1d as LazyBatchNorm1d
from jtorch.nn.lazy import LazyBatchNorm2d as LazyBatchNorm2d
from jtorch.nn.lazy import LazyBatchNorm3d as LazyBatchNorm3d
from jtorch.nn.normalization import BatchNorm1d as BatchNorm1d
from jtorch.nn.normalization import BatchNorm2d as BatchNorm2d
from jtorch.nn.normalization import BatchNorm3d as BatchNorm3d
from jtorch.nn.normalization import SyncBatchNorm as SyncBatchNorm
from jtorch.nn.normalization import _BatchNorm as _BatchNorm
from jtorch.nn.normalization import _NormBase as _NormBase
