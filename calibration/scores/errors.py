"""A score that cannot be given says why instead of being a number."""

from __future__ import annotations


class NotScoredError(Exception):
    """The data leave a score without meaning; the message is the reason that reports print."""
