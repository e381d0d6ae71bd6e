"""Metrics of attributions, and the protocols that fix what they mean.

`functional` has the pure scores of tensors, `protocol` says what a protocol is, `protocols` has the FEX paper's and all
names, `deletion_protocols` and `paper_protocols` those of DAX, IASSA and RISE, `text_protocols` those of texts;
`protocol_scores` is a metric of torchmetrics of any of them. Read them in this order.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fex.metrics.class_discrimination import ClassDiscrimination
from fex.metrics.deletion_protocols import DeletionInsertion, RegionDeletion
from fex.metrics.infidelity import Infidelity
from fex.metrics.model_randomisation import ModelRandomisation
from fex.metrics.paper_protocols import IncorrectRegionIoU, IntervalIoU, RegionIoU, RegionScores
from fex.metrics.protocol import Attributed, Protocol, Summary
from fex.metrics.protocols import PROTOCOLS, Perturbation, Segmentation, get_protocol
from fex.metrics.saco import SaCo
from fex.metrics.sensitivity import Sensitivity
from fex.metrics.text_protocols import TEXT_PROTOCOLS, Faithfulness, Rationale, TextInsertion

if TYPE_CHECKING:
    from fex.metrics.protocol_scores import ProtocolScores

__all__ = [
    "PROTOCOLS",
    "Attributed",
    "ClassDiscrimination",
    "DeletionInsertion",
    "Faithfulness",
    "IncorrectRegionIoU",
    "Infidelity",
    "IntervalIoU",
    "ModelRandomisation",
    "Perturbation",
    "Protocol",
    "ProtocolScores",
    "Rationale",
    "RegionDeletion",
    "RegionIoU",
    "RegionScores",
    "SaCo",
    "Segmentation",
    "Sensitivity",
    "Summary",
    "TextInsertion",
    "get_protocol",
]

PROTOCOLS.update(TEXT_PROTOCOLS)  # here, where both are known; no module of this package is imported without it


def __getattr__(name: str) -> Any:
    """Loads on first use: torchmetrics, of which it is made, takes half as long to import as torch."""
    if name != "ProtocolScores":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = import_module("fex.metrics.protocol_scores").ProtocolScores
    return value
