"""The compiled programs that ops keep: how many there are, and dropping them.

Each op keeps one for every combination of static arguments, at most `Kept.MOST`; JAX keeps the code of a program for each
combination of shapes and dtypes, by rules of its own.
"""

from jtorch.ops._op import Op, registry


def forget_programs() -> None:
    """Drop the compiled programs of all ops: to free their memory, or after a change of what they were made under."""
    for each in registry.values():
        if isinstance(each, Op):
            each._programs.clear()


def kept_programs() -> dict[str, int]:
    """How many programs each op keeps, most first.

    Example:
        >>> import jtorch
        >>> jtorch.ops.forget_programs()
        >>> x = jtorch.ones(2, 3)
        >>> y = x.sum(0), x.sum(1), x.exp()
        >>> jtorch.ops.kept_programs()
        {'sum': 2, 'exp': 1}
    """
    counts = {each.name: len(each._programs) for each in registry.values() if isinstance(each, Op) and each._programs}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
