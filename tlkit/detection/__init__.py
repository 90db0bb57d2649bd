"""Detection: boxes and what is learned from them.

A box is `(x_min, y_min, x_max, y_max)` in pixels of the image as the model gets it, everywhere in tlkit: x to the
right and y down from the upper left corner, numbers with fractions, so that the width is `x_max - x_min`. Other formats
are turned into it where files are read, and out of it where files are written.
"""

from tlkit.detection.centerness_loss import CenternessLoss
from tlkit.detection.coco_metrics import CocoMetrics
from tlkit.detection.count_mistakes import Mistakes, count_mistakes
from tlkit.detection.detection_box_loss import DetectionBoxLoss
from tlkit.detection.detection_class_loss import DetectionClassLoss
from tlkit.detection.detection_decoder import DetectionDecoder
from tlkit.detection.detection_head import DetectionHead
from tlkit.detection.detector import build_detector, with_decoder
from tlkit.detection.evaluate_boxes import evaluate_boxes
from tlkit.detection.feature_pyramid import FeaturePyramid
from tlkit.detection.keep_surest import keep_surest
from tlkit.detection.locations import locations
from tlkit.detection.losses import generalized_iou_loss, sigmoid_focal_loss
from tlkit.detection.targets import assign_targets, detection_targets
from tlkit.detection.warm_start import classifier_to_convolution, warm_start_detector

__all__ = [
    "CenternessLoss",
    "CocoMetrics",
    "DetectionBoxLoss",
    "DetectionClassLoss",
    "DetectionDecoder",
    "DetectionHead",
    "FeaturePyramid",
    "Mistakes",
    "assign_targets",
    "build_detector",
    "classifier_to_convolution",
    "count_mistakes",
    "detection_targets",
    "evaluate_boxes",
    "generalized_iou_loss",
    "keep_surest",
    "locations",
    "sigmoid_focal_loss",
    "warm_start_detector",
    "with_decoder",
]
