"""The index of optimizers and learning rate schedules."""

from jtorch.optim import lr_scheduler as lr_scheduler
from jtorch.optim import swa_utils as swa_utils
from jtorch.optim.adaptive import Adadelta as Adadelta
from jtorch.optim.adaptive import Adagrad as Adagrad
from jtorch.optim.adaptive import RMSprop as RMSprop
from jtorch.optim.algorithms import SGD as SGD
from jtorch.optim.algorithms import Adam as Adam
from jtorch.optim.algorithms import AdamW as AdamW
from jtorch.optim.lbfgs import LBFGS as LBFGS
from jtorch.optim.matrices import Adafactor as Adafactor
from jtorch.optim.matrices import Muon as Muon
from jtorch.optim.moments import Adamax as Adamax
from jtorch.optim.moments import NAdam as NAdam
from jtorch.optim.moments import RAdam as RAdam
from jtorch.optim.optimizer import Optimizer as Optimizer
from jtorch.optim.resilient import ASGD as ASGD
from jtorch.optim.resilient import Rprop as Rprop
from jtorch.optim.sparse import SparseAdam as SparseAdam
from jtorch.optim.transformation import from_optax as from_optax
