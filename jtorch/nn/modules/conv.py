"""What torch keeps in `nn.modules.conv`. Each is defined where its line says."""

from jtorch.nn.conv import Conv1d as Conv1d
from jtorch.nn.conv import Conv2d as Conv2d
from jtorch.nn.conv import Conv3d as Conv3d
from jtorch.nn.conv import ConvTranspose1d as ConvTranspose1d
from jtorch.nn.conv import ConvTranspose2d as ConvTranspose2d
from jtorch.nn.conv import ConvTranspose3d as ConvTranspose3d
from jtorch.nn.conv import _ConvNd as _ConvNd
from jtorch.nn.lazy import LazyConv1d as LazyConv1d
from jtorch.nn.lazy import LazyConv2d as LazyConv2d
from jtorch.nn.lazy import LazyConv3d as LazyConv3d
from jtorch.nn.lazy import LazyConvTranspose1d as LazyConvTranspose1d
from jtorch.nn.lazy import LazyConvTranspose2d as LazyConvTranspose2d
from jtorch.nn.lazy import LazyConvTranspose3d as LazyConvTranspose3d
