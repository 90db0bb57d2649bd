"""Which backbone suits some data: every one at hand on the same examples, frozen, without a training loop."""

from tlkit.ranking.examples import ImageExamples, TextExamples
from tlkit.ranking.rank_backbones import RankedBackbone, rank_backbones

__all__ = ["ImageExamples", "RankedBackbone", "TextExamples", "rank_backbones"]
