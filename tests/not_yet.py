"""The entries of torch's op database that jtorch does not have yet. `test_parity_ops.py` holds it to the truth."""

NOT_YET: set[str] = {
    "chalf",
    "sparse.mm.reduce",
    "sparse.sampled_addmm",
    "to_sparse",
}  # fmt: skip

MODULES_NOT_YET: set[str] = set()
"""The same for the module database."""
