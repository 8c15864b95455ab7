"""What jtorch has and torch lacks, and what the structure tests let pass: each with its reason."""

NAMES: dict[str, str] = {
    "jtorch.Tensor.jax": "hands out the jax.Array",
    "jtorch.compiler_options": "what XLA is told when it compiles a step",
    "jtorch.enable_compilation_cache": "JAX's cache, by one call",
    "jtorch.keep_memory": "what glibc does with memory that XLA frees, by one call",
    "jtorch.latest_step": "of the checkpoints of a training run, which torch has no functions for",
    "jtorch.load_checkpoint": "resumes a training run, through Orbax",
    "jtorch.save_checkpoint": "writes a checkpoint of it",
    "jtorch.summary": "what a model is made of, with shapes and operations, which torch leaves to others",
    "jtorch.testing.parity": "compares a module with its twin of PyTorch, layer by layer",
    "jtorch.testing.Report": "what it returns",
    "jtorch.optim.from_optax": "the bridge to Optax, which torch has no use for",
}
"""Public names that torch has not."""

_TENSOR_FORM = "the Tensor form adds generator=, device= and requires_grad="
WRAPPED: dict[str, str] = dict.fromkeys(
    [
        "empty_like",
        "full_like",
        "normal",
        "ones_like",
        "rand",
        "rand_like",
        "randint",
        "randint_like",
        "randn",
        "randn_like",
        "randperm",
        "zeros_like",
    ],
    _TENSOR_FORM,
)
"""Ops whose `jtorch.name` is not the op itself but a function around it."""

LONG_FUNCTIONS: dict[str, str] = {}
"""Functions of more than forty lines after the docstring."""

TORCH_NAMES_THEM: dict[str, str] = {}
"""Names with a vague word in them that are torch's."""
