"""The ledger of gaps: where jtorch is known to differ from torch, each with its reason.

A key is the name of a test case, `<test without "test_">/<id of the case>`, and may hold `*`. Every case it matches must
fail (a strict xfail), and one that matches no case fails `test_structure.py`: so a line goes when its gap closes.
"""

import fnmatch
from collections.abc import Iterable

GAPS: dict[str, str] = {}


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a key of the ledger means."""
    return [n for n in names if fnmatch.fnmatchcase(n, pattern.replace("[", "[[]"))]


def indices(prefix: str) -> set[int]:
    """The sample numbers that the ledger mentions after `prefix`, so that a bounded selection includes them."""
    tails = (key[len(prefix) :] for key in GAPS if key.startswith(prefix))
    return {int(tail) for tail in tails if tail.isdigit()}
