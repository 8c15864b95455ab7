"""The index of function transforms: derivatives and batching of functions, on tensors and on arrays."""

from jtorch.func.batching import vmap as vmap
from jtorch.func.forward import jvp as jvp
from jtorch.func.forward import linearize as linearize
from jtorch.func.jacobians import hessian as hessian
from jtorch.func.jacobians import jacfwd as jacfwd
from jtorch.func.jacobians import jacrev as jacrev
from jtorch.func.models import functional_call as functional_call
from jtorch.func.models import stack_module_state as stack_module_state
from jtorch.func.reverse import grad as grad
from jtorch.func.reverse import grad_and_value as grad_and_value
from jtorch.func.reverse import vjp as vjp
