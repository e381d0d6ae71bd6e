"""Explaining: from an input to explanations, by a trained explainer or by any method.

`load_explainer` rebuilds a trained one, which explains in one forward pass; any method that answers `attribute` takes
the same call; many inputs go through as a stream. Read `api`, `loading`, `images`, `texts`, `any_method`, the streams.
"""

import fex.report  # noqa: F401 explanations are drawn by it
from fex.explainers.any_method import explain_images_by, explain_texts_by
from fex.explainers.api import explain
from fex.explainers.images import AmortizedExplainer, explainer_meta
from fex.explainers.loading import export_explainer, load_explainer
from fex.explainers.refined import Refined
from fex.explainers.texts import AmortizedTextExplainer, build_text_explainer

__all__ = [
    "AmortizedExplainer",
    "AmortizedTextExplainer",
    "Refined",
    "build_text_explainer",
    "explain",
    "explain_images_by",
    "explain_texts_by",
    "explainer_meta",
    "export_explainer",
    "load_explainer",
]
