"""What torch keeps in `nn.modules.upsampling`. Each is defined where its line says."""

from jtorch.nn.upsampling import Upsample as Upsample
from jtorch.nn.upsampling import UpsamplingBilinear2d as UpsamplingBilinear2d
from jtorch.nn.upsampling import UpsamplingNearest2d as UpsamplingNearest2d
