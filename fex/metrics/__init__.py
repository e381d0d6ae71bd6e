"""Metrics of attributions, and the protocols that fix what they mean."""

from fex.metrics.perturbation import PerturbationAUC
from fex.metrics.protocol_scores import ProtocolScores
from fex.metrics.protocols import PROTOCOLS, Attributed, Perturbation, Protocol, Segmentation, Summary, get_protocol
from fex.metrics.segmentation import SegmentationScores
from fex.metrics.text_protocols import TEXT_PROTOCOLS, Faithfulness, Rationale, TextInsertion

__all__ = [
    "PROTOCOLS",
    "Attributed",
    "Faithfulness",
    "Perturbation",
    "PerturbationAUC",
    "Protocol",
    "ProtocolScores",
    "Rationale",
    "Segmentation",
    "SegmentationScores",
    "Summary",
    "TextInsertion",
    "get_protocol",
]

PROTOCOLS.update(TEXT_PROTOCOLS)  # here, where both are known; no module of this package is imported without it
