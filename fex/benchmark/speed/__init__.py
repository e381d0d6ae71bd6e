"""What the project itself costs, for its developers: speed of a pass, overhead of the harness.

Each figure is one function that takes turns with what it is compared with, so that a busy machine is fair to both.
Read `images`, `texts`, `memory`, `instances`, `overhead`.
"""
