"""What torch keeps in `nn.modules.linear`. Each is defined where its line says."""

from jtorch.nn.lazy import LazyLinear as LazyLinear
from jtorch.nn.linear import Bilinear as Bilinear
from jtorch.nn.linear import Identity as Identity
from jtorch.nn.linear import Linear as Linear
