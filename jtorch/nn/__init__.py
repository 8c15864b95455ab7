"""The index of `torch.nn`'s modules. Each is defined where its line says."""

from jtorch.nn import functional as functional
from jtorch.nn import init as init
from jtorch.nn import parameter as parameter
from jtorch.nn.dropout import AlphaDropout as AlphaDropout
from jtorch.nn.dropout import Dropout as Dropout
from jtorch.nn.dropout import Dropout1d as Dropout1d
from jtorch.nn.dropout import Dropout2d as Dropout2d
from jtorch.nn.dropout import Dropout3d as Dropout3d
from jtorch.nn.dropout import FeatureAlphaDropout as FeatureAlphaDropout
from jtorch.nn.linear import Bilinear as Bilinear
from jtorch.nn.linear import Embedding as Embedding
from jtorch.nn.linear import Flatten as Flatten
from jtorch.nn.linear import Identity as Identity
from jtorch.nn.linear import Linear as Linear
from jtorch.nn.linear import Unflatten as Unflatten
from jtorch.nn.module import Module as Module
from jtorch.nn.parameter import Buffer as Buffer
from jtorch.nn.parameter import Parameter as Parameter
