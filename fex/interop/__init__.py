"""Other libraries: captum, shap and Quantus in both directions; tables of Ray, Spark and datasets, explained there.

Each library is imported where it is used: captum comes with fex, `pip install "fex-explain[interop]"` brings shap and
Quantus, `[ray]` and `[spark]` the clusters. Read `with_captum`, `with_shap`, `with_quantus`, `with_clusters`.
"""

from fex.interop.with_captum import CaptumAttribution, CaptumMethod, captum_picture, captum_records
from fex.interop.with_clusters import ExplainBatch
from fex.interop.with_quantus import QuantusProtocol, box_network, quantus_explain
from fex.interop.with_shap import from_shap, to_shap

__all__ = [
    "CaptumAttribution",
    "CaptumMethod",
    "ExplainBatch",
    "QuantusProtocol",
    "box_network",
    "captum_picture",
    "captum_records",
    "from_shap",
    "quantus_explain",
    "to_shap",
]
