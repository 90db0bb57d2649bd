"""Exporting a trained model so that it answers without tlkit.

Classifiers of images as SavedModel, LiteRT (TFLite) and ONNX; of texts as SavedModel with the tokenizer inside;
detectors as SavedModel with the suppression inside.
"""

from tlkit.export.agreement import Agreement, measure_agreement, measure_agreement_on_texts
from tlkit.export.checked import ExportReport, export_checked, export_texts_checked
from tlkit.export.detector_saved_model import export_detector, largest_box_difference
from tlkit.export.litert import export_litert
from tlkit.export.onnx import export_onnx
from tlkit.export.saved_model import export_image_classifier
from tlkit.export.text_saved_model import export_text_classifier

__all__ = [
    "Agreement",
    "ExportReport",
    "export_checked",
    "export_detector",
    "export_image_classifier",
    "export_litert",
    "export_onnx",
    "export_text_classifier",
    "export_texts_checked",
    "largest_box_difference",
    "measure_agreement",
    "measure_agreement_on_texts",
]
