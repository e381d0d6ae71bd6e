"""`fex-bench`: many methods on one black box and data set, with one report.

Arguments become methods and data, these are checked before anything is computed, run, and written.
Read `bench`, `method_overrides`, `checks`, `run`, `files`; `speed` and `step_cost` measure the project itself.
"""

from fex.cli.bench.bench import main

__all__ = ["main"]
