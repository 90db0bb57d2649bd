"""Detection: boxes and what is learned from them.

A box is `(x_min, y_min, x_max, y_max)` in pixels of the image as the model gets it, everywhere in tlkit: x to the
right and y down from the upper left corner, numbers with fractions, so that the width is `x_max - x_min`. Other formats
are turned into it where files are read, and out of it where files are written.
"""

from tlkit.detection.losses import generalized_iou_loss, sigmoid_focal_loss

__all__ = ["generalized_iou_loss", "sigmoid_focal_loss"]
