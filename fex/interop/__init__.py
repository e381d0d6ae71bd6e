"""captum, shap and Quantus, in both directions: their methods, pictures and metrics here, explainers of fex there.

Each library is imported where it is used: captum comes with fex, `pip install "fex-explain[interop]"` brings shap and
Quantus. Read `with_captum`, `with_shap`, `with_quantus`.
"""

from fex.interop.with_captum import CaptumAttribution, CaptumMethod, captum_picture, captum_records
from fex.interop.with_quantus import QuantusProtocol, box_network, quantus_explain
from fex.interop.with_shap import from_shap, to_shap

__all__ = [
    "CaptumAttribution",
    "CaptumMethod",
    "QuantusProtocol",
    "box_network",
    "captum_picture",
    "captum_records",
    "from_shap",
    "quantus_explain",
    "to_shap",
]
