"""`fex-explain`: explanations of pictures, sounds and texts as files.

Arguments choose an explainer or a method, inputs stream through it, results are written as they come.
Read `parser`, `run`, `pictures`, `texts`, `instances`, `refined`.
"""

from fex.cli.explain.explain import main

__all__ = ["main"]
