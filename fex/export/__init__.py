"""Explainers as files: their weights alone, or what one pass computes as a graph (ONNX, OpenVINO's .xml, torch's .pt2).

A graph needs neither the network nor torch: the file says all that a reader must know, class names, how inputs are
read, where the features lie. Read `weights`, `writing`, `reading`.
"""

from fex.export.reading import ExportedNet, is_export, read_export
from fex.export.weights import export_explainer
from fex.export.writing import EXPORTS, export

__all__ = ["EXPORTS", "ExportedNet", "export", "export_explainer", "is_export", "read_export"]
