"""What torch keeps in `nn.modules.dropout`. Each is defined where its line says."""

from jtorch.nn.dropout import AlphaDropout as AlphaDropout
from jtorch.nn.dropout import Dropout as Dropout
from jtorch.nn.dropout import Dropout1d as Dropout1d
from jtorch.nn.dropout import Dropout2d as Dropout2d
from jtorch.nn.dropout import Dropout3d as Dropout3d
from jtorch.nn.dropout import FeatureAlphaDropout as FeatureAlphaDropout
from jtorch.nn.dropout import _DropoutNd as _DropoutNd
