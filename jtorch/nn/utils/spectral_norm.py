"""The old spectral normalization, by a hook. New code takes that of `parametrizations`."""

from typing import Any

from jtorch._tensor import Tensor, from_array
from jtorch.autograd.grad_mode import no_grad
from jtorch.nn._state import _as_array
from jtorch.nn.hooks import Deriving, take_hook
from jtorch.nn.module import Module
from jtorch.nn.parameter import Parameter
from jtorch.nn.utils.parametrizations import _as_matrix, _transposed_dim
from jtorch.ops._args import check
from jtorch.ops.least_squares import pinverse
from jtorch.ops.normalization import normalize
from jtorch.ops.products import dot, mv


class SpectralNorm(Deriving):
    """The hook of `spectral_norm`: it gives its module a weight made of `<name>_orig`, `<name>_u` and `<name>_v`."""

    _version: int = 1
    name: str
    dim: int
    n_power_iterations: int
    eps: float

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        check(
            n_power_iterations > 0,
            f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}",
        )
        self.name, self.dim = name, dim
        self.n_power_iterations, self.eps = n_power_iterations, eps

    @property
    def derives(self) -> str:
        return self.name

    def reshape_weight_to_matrix(self, weight: Any) -> Any:
        """The weight as a matrix whose rows are the places of `dim`."""
        return _as_matrix(weight, self.dim)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Any:
        """The weight divided by its largest singular value, whose vectors are improved first if that is wanted."""
        weight, u, v = (getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v"))
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            self._improve(matrix, u, v)
        return weight / dot(u.clone(), mv(matrix, v.clone()))

    @no_grad()
    def _improve(self, matrix: Any, u: Any, v: Any) -> None:
        left, right = u, v
        for _ in range(self.n_power_iterations):
            right = normalize(mv(matrix.t(), left), dim=0, eps=self.eps)
            left = normalize(mv(matrix, right), dim=0, eps=self.eps)
        u.copy_(left)
        v.copy_(right)

    def derived(self, module: Module) -> Any:
        return self.compute_weight(module, do_power_iteration=False)

    def __call__(self, module: Module, inputs: Any) -> None:
        super().__call__(module, inputs)
        if module.training:
            weight, u, v = (getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v"))
            self._improve(self.reshape_weight_to_matrix(weight), u, v)

    @staticmethod
    def apply(module: Module, name: str, n_power_iterations: int, dim: int, eps: float) -> "SpectralNorm":
        """Put the hook on a module, and its parameter by with the two vectors."""
        for hook in module._forward_pre_hooks.values():
            check(
                not (isinstance(hook, SpectralNorm) and hook.name == name),
                f"Cannot register two spectral_norm hooks on the same parameter {name}",
                RuntimeError,
            )
        made = SpectralNorm(name, n_power_iterations, dim, eps)
        weight: Any = module._parameters[name]
        check(weight is not None, f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        rows, columns = made.reshape_weight_to_matrix(weight.detach()).shape
        with no_grad():
            u = normalize(weight.new_empty(rows).normal_(0, 1), dim=0, eps=eps)
            v = normalize(weight.new_empty(columns).normal_(0, 1), dim=0, eps=eps)
        delattr(module, name)
        module.register_parameter(f"{name}_orig", weight)
        module.register_buffer(f"{name}_u", u)
        module.register_buffer(f"{name}_v", v)
        module.register_forward_pre_hook(made)
        module._register_state_dict_hook(SpectralNormStateDictHook(made))
        module._register_load_state_dict_pre_hook(SpectralNormLoadStateDictPreHook(made))
        return made

    def remove(self, module: Module) -> None:
        """Make the weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        vars(module).pop(self.name, None)
        for part in ("u", "v", "orig"):
            delattr(module, f"{self.name}_{part}")
        module._put("_parameters", self.name, Parameter(weight.detach()))

    def _right_vector(self, matrix: Any, u: Any, sigma: Any) -> Any:
        """The v for which `u @ matrix @ v` is `sigma` and `matrix @ v` is along `u`."""
        v = mv(pinverse(matrix.t() @ matrix), mv(matrix.t(), u))
        return v * (sigma / dot(u, mv(matrix, v)))


class SpectralNormLoadStateDictPreHook:
    """Turns a saved state without `<name>_v`, as torch before 1.0 had it, into one of today."""

    def __init__(self, fn: SpectralNorm):
        self.fn = fn

    def __call__(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs) -> None:
        version = local_metadata.get("spectral_norm", {}).get(f"{self.fn.name}.version")
        if version is not None and version >= 1:
            return
        key = prefix + self.fn.name
        new = all(key + part in state_dict for part in ("_orig", "_u", "_v")) and key not in state_dict
        if version is None and new:  # saved without metadata
            return
        missing = [key + part for part in ("_orig", "", "_u") if key + part not in state_dict]
        if missing:
            missing_keys += missing if strict else []
            return
        with no_grad():
            weight, original, u = (
                _tensor(x) for x in (state_dict.pop(key), state_dict[f"{key}_orig"], state_dict[f"{key}_u"])
            )
            sigma = (original / weight).mean()
            matrix = self.fn.reshape_weight_to_matrix(original)
            state_dict[f"{key}_v"] = self.fn._right_vector(matrix, u, sigma)


def _tensor(value: Any) -> Any:
    return value if isinstance(value, Tensor) else from_array(_as_array(value))


class SpectralNormStateDictHook:
    """Notes in the metadata of a `state_dict` which version of the norm made it."""

    def __init__(self, fn: SpectralNorm):
        self.fn = fn

    def __call__(self, module, state_dict, prefix, local_metadata) -> None:
        versions = local_metadata.setdefault("spectral_norm", {})
        key = f"{self.fn.name}.version"
        check(key not in versions, f"Unexpected key in metadata['spectral_norm']: {key}", RuntimeError)
        versions[key] = self.fn._version


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """The module with a weight divided by its largest singular value. Prefer that of `parametrizations`.

    Args:
        n_power_iterations: steps of the power method at each call in training.
        eps: the least norm to divide by.
        dim: the dimension whose places are the rows of the matrix; None means that of the outputs.

    Raises:
        RuntimeError: the weight has such a norm already.
        ValueError: the weight is None, or no step is to be made.

    Differs: the weight is computed anew whenever it is read, so it is never stale; torch computes it at each call.
    Source: Miyato et al., arXiv 1802.05957 (2018).
    """
    SpectralNorm.apply(module, name, n_power_iterations, _transposed_dim(module) if dim is None else dim, eps)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """The module with its weight as a parameter again.

    Raises:
        ValueError: it has no such norm.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            take_hook(module._forward_pre_hooks, key)
            hook.remove(module)
            break
    else:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    for key, (hook, _) in tuple(module._state_dict_hooks.items()):
        if isinstance(hook, SpectralNormStateDictHook) and hook.fn.name == name:
            take_hook(module._state_dict_hooks, key)
    for key, hook in tuple(module._load_state_dict_pre_hooks.items()):
        if isinstance(hook, SpectralNormLoadStateDictPreHook) and hook.fn.name == name:
            take_hook(module._load_state_dict_pre_hooks, key)
    return module
