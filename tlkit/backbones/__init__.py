"""Pretrained models as Keras layers: `load_backbone` gives a `Backbone` with stages, whatever the source."""

from tlkit.backbones.backbone import Backbone, Stage
from tlkit.backbones.load import load_backbone

__all__ = ["Backbone", "Stage", "load_backbone"]
