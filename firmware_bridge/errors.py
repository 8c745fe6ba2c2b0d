"""The one family of errors that a person is meant to read."""

from __future__ import annotations


class NervehandError(Exception):
    """What is wrong, with which value, and what to do: one line, shown without a traceback, exit status 2."""


class StreamMismatchError(NervehandError):
    """A stream, subject, side or electrode map is not the one that something was made for."""


class LinkError(NervehandError):
    """The link to a hand or to a front-end failed."""


class SourceLostError(LinkError):
    """A front-end that was connected stopped delivering: unplugged, reset or silent. It may come back."""
