"""Frozen backbones on some data, without a training loop: which one suits, and what there is before any training."""

from tlkit.ranking.examples import ImageExamples, TextExamples
from tlkit.ranking.rank_backbones import RankedBackbone, rank_backbones
from tlkit.ranking.without_training import WithoutTraining, without_training

__all__ = [
    "ImageExamples",
    "RankedBackbone",
    "TextExamples",
    "WithoutTraining",
    "rank_backbones",
    "without_training",
]
