"""The index of optimizers and learning rate schedules."""

from jtorch.optim import lr_scheduler as lr_scheduler
from jtorch.optim.algorithms import SGD as SGD
from jtorch.optim.algorithms import Adam as Adam
from jtorch.optim.algorithms import AdamW as AdamW
from jtorch.optim.optimizer import Optimizer as Optimizer
from jtorch.optim.transformation import from_optax as from_optax
