"""Keras callbacks, one public class a file."""

from tlkit.callbacks.progressive_unfreezing import ProgressiveUnfreezing

__all__ = ["ProgressiveUnfreezing"]
