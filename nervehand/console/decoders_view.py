"""Decoders on the disk as a page shows them: where each comes from, what it scored, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from decoder.bundle import Manifest, read_bundle
from firmware_bridge.errors import NervehandError
from nervehand.console.texts import say
from nervehand.console.views import LiveView


@dataclass(frozen=True, slots=True)
class DecoderFacts:
    """One decoder; `problem` where it cannot be read, and then nothing else is known."""

    path: Path
    sha256: str = ""
    manifest: Manifest | None = None
    problem: str = ""


def decoder_facts(path: Path) -> DecoderFacts:
    """From its file; read once until that changes."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        return DecoderFacts(path, problem=say("decoders.unreadable", path=path, why=error.strerror))


@lru_cache(maxsize=128)
def _read(path: Path, changed_ns: int) -> DecoderFacts:
    try:
        bundle = read_bundle(path)
    except NervehandError as error:
        return DecoderFacts(path, problem=str(error))
    return DecoderFacts(path, bundle.sha256, bundle.manifest)


def role_of(facts: DecoderFacts, live: LiveView | None) -> str:
    """ "deployed", "candidate" (in shadow) or "previous" in the running engine, "" where it is in none of them."""
    if live is None or not facts.sha256:
        return ""
    if live.bundle and facts.sha256.startswith(live.bundle):
        return "deployed"
    return next((one.role for one in live.shadows if one.sha256 and facts.sha256.startswith(one.sha256)), "")


def lineage(manifest: Manifest) -> list[tuple[str, str, str]]:
    """The sessions that it learned from: identifier, which repetitions, and the file's digest, shortened."""
    return [
        (
            session.identifier,
            "" if session.repetitions is None else ", ".join(map(str, session.repetitions)),
            session.sha256[:12],
        )
        for session in manifest.training.sessions
    ]
