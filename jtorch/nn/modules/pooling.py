"""What torch keeps in `nn.modules.pooling`. Each is defined where its line says."""

from jtorch.nn.fractional import FractionalMaxPool2d as FractionalMaxPool2d
from jtorch.nn.fractional import FractionalMaxPool3d as FractionalMaxPool3d
from jtorch.nn.pooling import AdaptiveAvgPool1d as AdaptiveAvgPool1d
from jtorch.nn.pooling import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from jtorch.nn.pooling import AdaptiveAvgPool3d as AdaptiveAvgPool3d
from jtorch.nn.pooling import AdaptiveMaxPool1d as AdaptiveMaxPool1d
from jtorch.nn.pooling import AdaptiveMaxPool2d as AdaptiveMaxPool2d
from jtorch.nn.pooling import AdaptiveMaxPool3d as AdaptiveMaxPool3d
from jtorch.nn.pooling import AvgPool1d as AvgPool1d
from jtorch.nn.pooling import AvgPool2d as AvgPool2d
from jtorch.nn.pooling import AvgPool3d as AvgPool3d
from jtorch.nn.pooling import LPPool1d as LPPool1d
from jtorch.nn.pooling import LPPool2d as LPPool2d
from jtorch.nn.pooling import LPPool3d as LPPool3d
from jtorch.nn.pooling import MaxPool1d as MaxPool1d
from jtorch.nn.pooling import MaxPool2d as MaxPool2d
from jtorch.nn.pooling import MaxPool3d as MaxPool3d
from jtorch.nn.pooling import MaxUnpool1d as MaxUnpool1d
from jtorch.nn.pooling import MaxUnpool2d as MaxUnpool2d
from jtorch.nn.pooling import MaxUnpool3d as MaxUnpool3d
