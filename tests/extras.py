"""What jtorch has and torch lacks, and what the structure tests let pass: each with its reason."""

NAMES: dict[str, str] = {}
"""Public names that torch has not."""

WRAPPED: dict[str, str] = {}
"""Ops whose `jtorch.name` is not the op itself but a function around it."""

LONG_FUNCTIONS: dict[str, str] = {}
"""Functions of more than forty lines after the docstring."""

TORCH_NAMES_THEM: dict[str, str] = {}
"""Names with a vague word in them that are torch's."""
