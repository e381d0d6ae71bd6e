"""`fex-explain`: explanations of pictures, sounds and texts as files.

Arguments choose an explainer or a method, inputs stream through it, results are written as they come.
Read `arguments`, `pictures`, `texts`, `instances`, `black_box_argument`.
"""

from fex.cli.explain.pictures import main

__all__ = ["main"]
