"""What is kept of compiled programs."""

import jtorch
from jtorch.ops._kept import Kept


def test_as_many_as_fit():
    kept = Kept((n, n) for n in range(Kept.MOST))
    kept[0] = "again"
    kept["new"] = "new"
    assert len(kept) == Kept.MOST
    assert 0 not in kept and kept["new"] == "new"


def test_forgotten_programs_are_made_again():
    x = jtorch.ones(2, 3)
    before = x.sum(0)
    jtorch.ops.forget_programs()
    assert not jtorch.ops.kept_programs()
    assert (x.sum(0) == before).all()
    assert jtorch.ops.kept_programs()["sum"] == 1
