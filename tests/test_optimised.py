"""The cases that differ only because the tests' programs are not optimised, with programs as users have them."""

import os
import pathlib
import re
import subprocess
import sys

import gaps


def test_cases_agree_where_programs_are_optimised():
    chosen = " or ".join(name.partition("/")[2] for name in gaps.UNOPTIMISED)
    settings = os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=3"}
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-q", "test_parity_modules.py", "-k", chosen]
    done = subprocess.run(command, cwd=pathlib.Path(__file__).parent, env=settings, capture_output=True, text=True)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0 and passed, done.stdout[-2000:]
    assert int(passed[1]) >= len(gaps.UNOPTIMISED)
