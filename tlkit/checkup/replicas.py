"""Whether every device gets its share of a batch, and with adaptation rows of both domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlkit.environment import Finding

_BATCHES = 2  # an order that is wrong is wrong in the first batch; the second shows one that shifts


@dataclass(frozen=True)
class ReplicaFacts:
    """Facts about how a batch is shared out.

    Attributes:
        num_replicas: Devices that train on this machine.
        batch_size: The setting: rows of one domain on all devices together.
        is_adapting: Whether a second domain is learned from.
        shares: For each device (source rows, target rows) of the worst batch looked at; empty without adaptation.
        counted_targets: Target rows whose label counts, though it is not known.
        several_machines: Whether the setting 'strategy' is one of those that are not tried here.
    """

    num_replicas: int
    batch_size: int
    is_adapting: bool = False
    shares: tuple[tuple[int, int], ...] = ()
    counted_targets: int = 0
    several_machines: str = ""


def look_at_replicas(config: Any, several_machines: str = "", both_domains: Any = None) -> ReplicaFacts:
    """Gather the facts.

    Args:
        config: The settings, of a strategy for one machine.
        several_machines: The strategy of the settings where that is another one.
        both_domains: `[seed, epoch]` -> batches of both domains; None without adaptation.
    """
    from tlkit.distribution import choose_strategy

    num_replicas = choose_strategy(config.strategy).num_replicas_in_sync
    facts = ReplicaFacts(num_replicas, config.batch_size, both_domains is not None, several_machines=several_machines)
    if both_domains is None:
        return facts
    import tensorflow as tf

    shares, counted = [], 0
    for _, y, weights in both_domains(tf.constant([0, 0], tf.int64)).take(_BATCHES):
        domains = y["domain"].numpy().reshape(-1)
        shares.append(share_out(domains.tolist(), num_replicas))
        counted += int(((domains == _target_number()) & (weights["label"].numpy() != 0)).sum())
    worst = min(shares, key=lambda its: min(min(share) for share in its))
    return ReplicaFacts(num_replicas, config.batch_size, True, worst, counted, several_machines)


def _target_number() -> int:
    from tlkit.domain.domains import TARGET_DOMAIN

    return int(TARGET_DOMAIN)


def share_out(domains: list[float], num_replicas: int) -> tuple[tuple[int, int], ...]:
    """(source rows, target rows) of each device: a strategy cuts a batch into as many runs of rows as there are.

    Example:
        >>> from tlkit.checkup.replicas import share_out
        >>> share_out([0, 0, 1, 1], 2), share_out([0, 1, 0, 1], 2)
        (((2, 0), (0, 2)), ((1, 1), (1, 1)))
    """
    length, more = divmod(len(domains), num_replicas)
    shares, start = [], 0
    for device in range(num_replicas):
        end = start + length + (device < more)
        targets = sum(domain == _target_number() for domain in domains[start:end])
        shares.append((end - start - targets, targets))
        start = end
    return tuple(shares)


def judge_replicas(facts: ReplicaFacts, name: str) -> list[Finding]:
    """Judge them; `name` is that of the package."""
    return [*_batch(facts, name), *_domains(facts, name), *_not_tried(facts)]


def _batch(facts: ReplicaFacts, name: str) -> list[Finding]:
    number, size = facts.num_replicas, facts.batch_size
    found = f"{number}; a batch of {size} is {size / number:g} for each"
    if number == 1 or size % number == 0:
        return [Finding("devices", found if number > 1 else "1")]
    above = number * -(-size // number)
    meaning = "Some get a row less in every step, which counts as much as the others' more, and the others wait."
    remedy = (f"edit {name}/config.py: batch_size = {above}",)
    if size < number:
        meaning = "Some get nothing at all, on which the training fails or waits."
        return [Finding("devices", found, "problem", meaning, remedy)]
    return [Finding("devices", found, "warning", meaning, remedy)]


def _domains(facts: ReplicaFacts, name: str) -> list[Finding]:
    if not facts.is_adapting:
        return []
    findings = []
    command = f"edit {name}/data.py: let `both_domains` return what `pair_domains` makes, with `num_replicas`"
    lacking = [device for device, share in enumerate(facts.shares) if min(share) == 0]
    if lacking:
        source, target = facts.shares[lacking[0]]
        findings = [
            Finding(
                "domains",
                f"device {lacking[0] + 1} of {len(facts.shares)} gets {source} source and {target} target rows",
                "problem",
                "A device that sees one domain has nothing to compare: there the domains are not brought together.",
                (command,),
            )
        ]
    elif len({share for share in facts.shares}) > 1 or any(source != target for source, target in facts.shares):
        shown = ", ".join(f"{source} + {target}" for source, target in facts.shares)
        meaning = "The domain with more rows weighs more in the discriminator, whose right guesses then say less."
        findings = [Finding("domains", f"source and target rows a device: {shown}", "warning", meaning, (command,))]
    elif facts.shares:
        source, target = facts.shares[0]
        each = "each device" if len(facts.shares) > 1 else "the device"
        findings = [Finding("domains", f"{each} gets {source} source and {target} target rows a step")]
    if facts.counted_targets:
        meaning = (
            "Their labels are not known and stand there as class 0: the classifier learns to say class 0 for them."
        )
        found = f"the label counts in {facts.counted_targets} target rows of the first {_BATCHES} batches"
        findings.append(Finding("target labels", found, "problem", meaning, (command,)))
    return findings


def _not_tried(facts: ReplicaFacts) -> list[Finding]:
    if not facts.several_machines:
        return []
    found = f"the strategy '{facts.several_machines}' was not tried: all its machines would have to be there"
    return [Finding("strategy", found, meaning="All of the above is what one device of this machine would do.")]
