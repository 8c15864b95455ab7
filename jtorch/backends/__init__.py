"""Switches of PyTorch's backends, accepted so that scripts run; those that mean something here say what they do.

Setting a switch that has nothing to switch changes nothing: XLA chooses its algorithms by itself.
"""

from jtorch.backends import cpu as cpu
from jtorch.backends import cuda as cuda
from jtorch.backends import cudnn as cudnn
from jtorch.backends import mkl as mkl
from jtorch.backends import mkldnn as mkldnn
from jtorch.backends import mps as mps
from jtorch.backends import openmp as openmp
from jtorch.backends import opt_einsum as opt_einsum
