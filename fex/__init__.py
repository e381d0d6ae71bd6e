"""Train an explainer of a black-box classifier once; explain any input in one forward pass.

Data goes one way, from a modality to the command line. Read the rooms in this order: `images`, `texts`, `sounds`;
`masking`, `black_box`, `nets`; the methods `policy` (FEX), `shapley`, `dax`, `iassa`, `baselines`, `refine`;
`explainers`, `explanations`, `report`, `metrics`, `benchmark`, `cli`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fex.black_box import BlackBox, load_black_box
    from fex.cli.train.notebook import train
    from fex.dax import DAX
    from fex.explainers.api import explain
    from fex.explainers.loading import load_explainer
    from fex.explainers.refined import Refined
    from fex.explainers.trained import AmortizedExplainer
    from fex.explanations.image import Explanation
    from fex.iassa import IASSA
    from fex.types import Batch, Explainer

__version__ = "0.1.0"

__all__ = [
    "DAX",
    "IASSA",
    "AmortizedExplainer",
    "Batch",
    "BlackBox",
    "Explainer",
    "Explanation",
    "Refined",
    "__version__",
    "explain",
    "load_black_box",
    "load_explainer",
    "train",
]

# Loaded on first use: torch, timm and torchvision take seconds, which `fex-explain --help` need not wait for.
_HOMES = {
    "DAX": "fex.dax",
    "IASSA": "fex.iassa",
    "AmortizedExplainer": "fex.explainers.trained",
    "Batch": "fex.types",
    "BlackBox": "fex.black_box",
    "Explainer": "fex.types",
    "Explanation": "fex.explainers.api",
    "Refined": "fex.explainers.refined",
    "explain": "fex.explainers.api",
    "load_black_box": "fex.black_box",
    "load_explainer": "fex.explainers.loading",
    "train": "fex.cli.train.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fex' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
