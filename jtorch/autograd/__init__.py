"""The index of automatic differentiation over tensors. The tape itself is in `tape`."""

from jtorch.autograd import functional as functional
from jtorch.autograd import graph as graph
from jtorch.autograd.anomaly_mode import detect_anomaly as detect_anomaly
from jtorch.autograd.anomaly_mode import set_detect_anomaly as set_detect_anomaly
from jtorch.autograd.function import Function as Function
from jtorch.autograd.function import Variable as Variable
from jtorch.autograd.grad_mode import enable_grad as enable_grad
from jtorch.autograd.grad_mode import inference_mode as inference_mode
from jtorch.autograd.grad_mode import no_grad as no_grad
from jtorch.autograd.grad_mode import set_grad_enabled as set_grad_enabled
from jtorch.autograd.gradcheck import gradcheck as gradcheck
from jtorch.autograd.gradcheck import gradgradcheck as gradgradcheck
from jtorch.autograd.gradients import backward as backward
from jtorch.autograd.gradients import grad as grad
