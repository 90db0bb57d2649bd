"""The operations of tensorflow-text, which tokenizers in a graph are made of, and the one door to that package.

TensorFlow knows them only once the package was imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from tlkit.errors import UserError

# All that tensorflow-text 2.21 registers ; each only computes, or holds a model of
# SentencePiece in memory.
TEXT_OPERATIONS = frozenset(
    {
        "CaseFoldUTF8",
        "ConstrainedSequence",
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
        "FindSourceOffsets",
        "MaxSpanningTree",
        "NormalizeUTF8",
        "NormalizeUTF8WithOffsetsMap",
        "PhraseTokenize",
        "RegexSplitWithOffsets",
        "RougeL",
        "SentenceFragments",
        "SentenceFragmentsV2",
        "SentencepieceDetokenizeOp",
        "SentencepieceIdToStringOp",
        "SentencepieceOp",
        "SentencepieceStringToIdOp",
        "SentencepieceTokenizeOp",
        "SentencepieceTokenizeWithOffsetsOp",
        "SentencepieceVocabSizeOp",
        "SplitMergeTokenizeWithOffsets",
        "TFText>BoiseTagsToOffsets",
        "TFText>ByteSplitByOffsets",
        "TFText>ByteSplitWithOffsets",
        "TFText>FastSentencepieceDetokenize",
        "TFText>FastSentencepieceTokenize",
        "TFText>FastWordpieceDetokenize",
        "TFText>NgramsStringJoin",
        "TFText>OffsetsToBoiseTags",
        "TFText>PhraseDetokenize",
        "TFText>RoundRobinGenerateMasks",
        "TFText>RoundRobinTrim",
        "TFText>Utf8Binarize",
        "TFText>WhitespaceTokenizeWithOffsetsV2",
        "TokenizerFromLogits",
        "UnicodeScriptTokenizeWithOffsets",
        "WhitespaceTokenizeWithOffsets",
        "WordpieceTokenizeWithOffsets",
    }
)


def provide_text_operations(operations: Iterable[str], where: str) -> None:
    """Import tensorflow-text when a graph has operations of it.

    Args:
        operations: The graph's operations.
        where: What the graph belongs to, for the message.

    Raises:
        UserError: When the package is needed and does not import.
    """
    used = sorted(TEXT_OPERATIONS.intersection(operations))
    if not used:
        return
    try:
        importlib.import_module("tensorflow_text")
    except Exception as error:  # missing, or built for another TensorFlow, which raises several types
        raise UserError(
            f"{where} cuts texts into tokens by operations of tensorflow-text ({used[0]}), which does not import here "
            f"({type(error).__name__}: {error}). Expected its version for this TensorFlow, 2.21. Type "
            f"`pip install 'tlkit[text]'`."
        ) from error
