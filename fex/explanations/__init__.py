"""Explanations: which class was explained, by which method, at what cost, and what it found. Data alone.

What all have in common is in `base`; an image's attribution lies on its features, a text's on its tokens and words.
`scores`, `plot` and `save` have one meaning for both. Read `base`, `image`, `text`, `several`.
"""

from fex.explanations.base import BaseExplanation
from fex.explanations.image import Explanation
from fex.explanations.several import Explanations
from fex.explanations.text import TextExplanation, Word

__all__ = ["BaseExplanation", "Explanation", "Explanations", "TextExplanation", "Word"]
