"""Metrics of attributions, and the protocols that fix what they mean.

`functional` has the pure scores of tensors, a module of torchmetrics beside each. `protocol` says what a protocol is,
`protocols` has the FEX paper's and all names, `deletion_protocols` and `paper_protocols` those of DAX, IASSA and
RISE, `text_protocols` those of texts. Read them in this order.
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
    from fex.metrics.perturbation import PerturbationAUC
    from fex.metrics.protocol_scores import ProtocolScores
    from fex.metrics.segmentation import SegmentationScores

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
    "PerturbationAUC",
    "Protocol",
    "ProtocolScores",
    "Rationale",
    "RegionDeletion",
    "RegionIoU",
    "RegionScores",
    "SaCo",
    "Segmentation",
    "SegmentationScores",
    "Sensitivity",
    "Summary",
    "TextInsertion",
    "get_protocol",
]

PROTOCOLS.update(TEXT_PROTOCOLS)  # here, where both are known; no module of this package is imported without it

# Loaded on first use: torchmetrics, which they are made of, takes half as long to import as torch.
_HOMES = {
    "PerturbationAUC": "fex.metrics.perturbation",
    "ProtocolScores": "fex.metrics.protocol_scores",
    "SegmentationScores": "fex.metrics.segmentation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
