"""Exporting a trained image classifier so that it answers without tlkit: SavedModel, LiteRT (TFLite) and ONNX."""

from tlkit.export.agreement import Agreement, measure_agreement
from tlkit.export.checked import ExportReport, export_checked
from tlkit.export.litert import export_litert
from tlkit.export.onnx import export_onnx
from tlkit.export.saved_model import export_image_classifier

__all__ = [
    "Agreement",
    "ExportReport",
    "export_checked",
    "export_image_classifier",
    "export_litert",
    "export_onnx",
    "measure_agreement",
]
