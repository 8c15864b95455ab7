"""The ledger of gaps: where jtorch is known to differ from torch, each with its reason.

A key is the name of a test case, `<test without "test_">/<id of the case>`, and may hold `*`. Every case it matches must
fail (a strict xfail), and one that matches no case fails `test_structure.py`: so a line goes when its gap closes.
"""

import fnmatch
from collections.abc import Iterable

GAPS: dict[str, str] = {
    "repr_names_the_graph/select": "one op reads by integers and slices, so its node has one name",
    "repr_names_the_graph/max": "one op finds the largest and the smallest, so its node has one name",
    "repr_names_the_graph/max_dim": "one op finds the largest and the smallest, so its node has one name",
    "repr_names_the_graph/exp": "the exponential differs in the last place, and the last digit shown with it",
    "view_sees_later_writes/none": "the stride of a dimension of one element is the row-major one",
}


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a key of the ledger means."""
    return [n for n in names if fnmatch.fnmatchcase(n, pattern.replace("[", "[[]"))]


def indices(prefix: str) -> set[int]:
    """The sample numbers that the ledger mentions after `prefix`, so that a bounded selection includes them."""
    tails = (key[len(prefix) :] for key in GAPS if key.startswith(prefix))
    return {int(tail) for tail in tails if tail.isdigit()}
