"""Metrics of attributions, and the protocols that fix what they mean."""

from fex.metrics.paper_protocols import DeletionInsertion, IntervalIoU, RegionDeletion, RegionIoU, RegionScores
from fex.metrics.perturbation import PerturbationAUC
from fex.metrics.protocol_scores import ProtocolScores
from fex.metrics.protocols import PROTOCOLS, Attributed, Perturbation, Protocol, Segmentation, Summary, get_protocol
from fex.metrics.segmentation import SegmentationScores

__all__ = [
    "PROTOCOLS",
    "Attributed",
    "DeletionInsertion",
    "IntervalIoU",
    "Perturbation",
    "PerturbationAUC",
    "Protocol",
    "ProtocolScores",
    "RegionDeletion",
    "RegionIoU",
    "RegionScores",
    "Segmentation",
    "SegmentationScores",
    "Summary",
    "get_protocol",
]
