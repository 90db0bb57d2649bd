"""Findings of `tlkit doctor`, as tests look at them."""


def by_name(findings):
    return {finding.name: finding for finding in findings}


def not_ok(findings):
    """What is to be mended; each says what, why, and what to type or to edit."""
    found = [finding for finding in findings if finding.verdict != "ok"]
    assert all(finding.found and finding.meaning.endswith(".") and finding.commands for finding in found), found
    return {finding.name: finding for finding in found}
