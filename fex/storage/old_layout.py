"""Class paths of the layout of 0.1: what configs and checkpoints of then still say, and what to write for it."""

import re

__all__ = ["old_layout"]

# The first that fits: what an old path begins with, and where its name is now.
_MOVED = {
    "fex.removal.Silence": "fex.sounds.",
    "fex.removal.": "fex.images.",
    "fex.features.": "fex.images.",
    "fex.segments.": "fex.images.",
    "fex.preprocess.": "fex.images.",
    "fex.image_files.": "fex.images.",
    "fex.token_removal.": "fex.texts.",
    "fex.tokens.": "fex.texts.",
    "fex.tokenizer.": "fex.texts.",
    "fex.audio.": "fex.sounds.",
    "fex.rewards.": "fex.policy.",
    "fex.estimators.": "fex.policy.",
    "fex.losses.shapley_loss": "fex.shapley.",
    "fex.losses.": "fex.policy.",
    "fex.backbones.": "fex.nets.backbones.",
    "fex.explainer.": "fex.explainers.",
    "fex.text_explainer.": "fex.explainers.",
    "fex.explanation.": "fex.explanations.",
    "fex.text_explanation.": "fex.explanations.",
}
_PATH = re.compile(r"\bfex(?:\.\w+)+")


def old_layout(text: object) -> str:
    """A sentence on the first class path of the old layout in a text, with a space before it; "" where there is none.

    Example:
        >>> old_layout({"class_path": "fex.removal.Mean"})
        ' `fex.removal.Mean` is of the old layout: write `fex.images.Mean` for it.'
    """
    for path in _PATH.findall(str(text)):
        for old, new in _MOVED.items():
            if path.startswith(old):
                return f" `{path}` is of the old layout: write `{new}{path.rpartition('.')[2]}` for it."
    return ""
