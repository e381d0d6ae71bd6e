"""Explaining: from an input to explanations, by a trained explainer or by any method.

`load_explainer` rebuilds a trained one, which explains in one forward pass, and `load_start` what it started from; any
method that answers `attribute` takes the same call; many inputs go through as a stream. Read `api`, `loading`,
`trained`, `given`, `any_method`; then `images` and `texts`, in which alone the modalities differ; then `image_stream`
and `text_stream`.
"""

import fex.report  # noqa: F401 explanations are drawn by it
from fex.explainers.any_method import explain_by
from fex.explainers.api import explain
from fex.explainers.images import AmortizedImageExplainer
from fex.explainers.loading import build_explainer, export_explainer, load_explainer, read_explainer
from fex.explainers.meta import explainer_meta
from fex.explainers.refined import Refined
from fex.explainers.start import begin_as, load_start
from fex.explainers.texts import AmortizedTextExplainer
from fex.explainers.trained import AmortizedExplainer

__all__ = [
    "AmortizedExplainer",
    "AmortizedImageExplainer",
    "AmortizedTextExplainer",
    "Refined",
    "begin_as",
    "build_explainer",
    "explain",
    "explain_by",
    "explainer_meta",
    "export_explainer",
    "load_explainer",
    "load_start",
    "read_explainer",
]
