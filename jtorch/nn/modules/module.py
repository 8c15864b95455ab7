"""What torch keeps in `nn.modules.module`. Each is defined where its line says."""

from jtorch.nn._state import _IncompatibleKeys as _IncompatibleKeys
from jtorch.nn.hooks import register_module_buffer_registration_hook as register_module_buffer_registration_hook
from jtorch.nn.hooks import register_module_forward_hook as register_module_forward_hook
from jtorch.nn.hooks import register_module_forward_pre_hook as register_module_forward_pre_hook
from jtorch.nn.hooks import register_module_full_backward_hook as register_module_full_backward_hook
from jtorch.nn.hooks import register_module_full_backward_pre_hook as register_module_full_backward_pre_hook
from jtorch.nn.hooks import register_module_module_registration_hook as register_module_module_registration_hook
from jtorch.nn.hooks import register_module_parameter_registration_hook as register_module_parameter_registration_hook
from jtorch.nn.module import Module as Module
