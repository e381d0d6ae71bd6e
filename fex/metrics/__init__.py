"""Metrics of attributions, and the protocols that fix what they mean."""

from fex.metrics.class_discrimination import ClassDiscrimination
from fex.metrics.infidelity import Infidelity
from fex.metrics.model_randomisation import ModelRandomisation
from fex.metrics.paper_protocols import DeletionInsertion, IntervalIoU, RegionDeletion, RegionIoU, RegionScores
from fex.metrics.perturbation import PerturbationAUC
from fex.metrics.protocol import Attributed, Protocol, Summary
from fex.metrics.protocol_scores import ProtocolScores
from fex.metrics.protocols import PROTOCOLS, Perturbation, Segmentation, get_protocol
from fex.metrics.saco import SaCo
from fex.metrics.segmentation import SegmentationScores
from fex.metrics.sensitivity import Sensitivity

__all__ = [
    "PROTOCOLS",
    "Attributed",
    "ClassDiscrimination",
    "Infidelity",
    "ModelRandomisation",
    "DeletionInsertion",
    "IntervalIoU",
    "Perturbation",
    "PerturbationAUC",
    "Protocol",
    "ProtocolScores",
    "SaCo",
    "RegionDeletion",
    "RegionIoU",
    "RegionScores",
    "Segmentation",
    "SegmentationScores",
    "Sensitivity",
    "Summary",
    "get_protocol",
]
