"""What torch keeps in `nn.modules.container`. Each is defined where its line says."""

from jtorch.nn.container import Container as Container
from jtorch.nn.container import ModuleDict as ModuleDict
from jtorch.nn.container import ModuleList as ModuleList
from jtorch.nn.container import Sequential as Sequential
from jtorch.nn.parameters import ParameterDict as ParameterDict
from jtorch.nn.parameters import ParameterList as ParameterList
