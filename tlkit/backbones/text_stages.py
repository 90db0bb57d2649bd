"""Stages of a backbone of texts: its embedding, then each of its blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# A word for a repeated part and its number: "transformer/layer_0/…", "transformer_layer_3/…", "encoder/layer_._11/…",
# "block_2/…", "EncoderDNN/ResidualHidden_0/…". Keras numbers layers of any kind, so "layer_normalization_4" is none.
_BLOCK = re.compile(r"(?:layers?(?!_?norm)|blocks?|group|hidden)[A-Za-z]*[/._]*(\d+)(?![0-9A-Za-z])", re.IGNORECASE)
_EMBEDDING = re.compile(r"embed", re.IGNORECASE)


def block_number(name: str) -> int | None:
    """The number of the block that a weight belongs to by its name; None for one outside of blocks.

    Example:
        >>> from tlkit.backbones.text_stages import block_number
        >>> block_number("transformer/layer_3/self_attention/query/kernel")
        3
    """
    found = _BLOCK.search(name)
    return int(found[1]) if found else None


def stages_by_block(names: Sequence[str], positions: Sequence[int]) -> Mapping[str, list[int]] | None:
    """The weights as "embedding", "block_0", "block_1", …, by their names; None when those show no blocks.

    What comes before the blocks, or says that it embeds, is "embedding"; what comes after them (a pooler, the last
    norm) goes with the last block.

    Args:
        names: Of the weights.
        positions: Where in the model each is first used.
    """
    numbers = [block_number(name) for name in names]
    known = sorted({number for number in numbers if number is not None})
    if not known or (len(known) == 1 and not any(map(_EMBEDDING.search, names))):
        return None
    first = min(position for position, number in zip(positions, numbers, strict=True) if number is not None)
    groups: dict[str, list[int]] = {"embedding": [], **{f"block_{number}": [] for number in known}}
    for index, (name, position, number) in enumerate(zip(names, positions, numbers, strict=True)):
        if number is not None:
            groups[f"block_{number}"].append(index)
        elif _EMBEDDING.search(name) or position < first:
            groups["embedding"].append(index)
        else:
            groups[f"block_{known[-1]}"].append(index)
    return {name: sorted(indices, key=lambda i: (positions[i], i)) for name, indices in groups.items() if indices}
