"""A look at a folder of images before training: facts about every file, findings, and the report of both."""

from tlkit.data.inspection.finding import Finding
from tlkit.data.inspection.inspect_images import inspect_images
from tlkit.data.inspection.report import ImageReport

__all__ = ["Finding", "ImageReport", "inspect_images"]
