"""`nervehand replay`: a recorded session through a decoder, as fast as it goes or at speed 1 to a hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from decoder.as_recorded import compared, replay_as_recorded
from decoder.bundle import Bundle, read_bundle
from decoder.chain import compile_kernels, joined
from decoder.intent import IntentDigest, Intents
from decoder.replay import replay
from decoder.session.intents import write_intents
from decoder.session.model import Session
from decoder.session.reader import read_session
from decoder.session.source import SessionSource
from firmware_bridge.errors import NervehandError
from nervehand.output import naming, print_json
from nervehand.screen import NoScreen

_LIVE_BLOCK_S = 0.005  # what a front-end delivers at a time
_BLOCK_S = 1.0


def run_replay(
    session_path: Path,
    bundle_path: Path,
    hand: str,
    speed: str,
    out: Path | None,
    block_samples: int | None,
    seconds: float | None,
    *,
    any_wearer: bool,
    headless: bool,
    as_json: bool,
    as_recorded: bool = False,
) -> None:
    """Replay and print a summary; the same session and bundle give the same `intents_sha256`, however cut.

    `as_recorded` decodes as it was decoded live, and compares: NervehandError where a bit differs.
    """
    if hand not in ("virtual", "none"):
        raise NervehandError(f"there is no hand {hand!r} to replay to: use virtual or none")
    if speed not in ("1", "max"):
        raise NervehandError(f"speed is {speed!r}: use 1 (real time) or max")
    if hand == "virtual" and speed == "max":
        raise NervehandError("a hand cannot follow at --speed max: add --speed 1, or use --hand none")
    if as_recorded and (hand != "none" or seconds is not None):
        raise NervehandError(
            "--as-recorded decodes the whole of it again, for no hand: leave out --hand and --seconds"
        )
    bundle = read_bundle(bundle_path)
    session = read_session(session_path)
    with naming(bundle_path, session_path):
        bundle.require_stream(session.info)
        if not any_wearer:
            bundle.require_wearer(session.meta.subject, session.meta.side, session.meta.array)
    live = hand == "virtual"
    block_s = _LIVE_BLOCK_S if live else _BLOCK_S
    source = SessionSource(
        session,
        block_samples or max(1, round(block_s * session.info.rate_hz)),
        is_paced=speed == "1",
        n_samples=None if seconds is None else min(round(seconds * session.info.rate_hz), session.n_samples),
    )
    run = _to_virtual_hand if live else _again if as_recorded else _to_no_hand
    with naming(bundle_path, session_path):
        parts, summary, text = run(session_path, session, source, bundle, headless or as_json)
    if out is not None:
        manifest = bundle.manifest
        names = tuple(output.name for output in manifest.outputs)
        write_intents(out, session, bundle.sha256, names, manifest.gestures, parts)
    conditioning = bundle.coefficients.describe()
    if as_json:
        about = {"session": str(session_path), "bundle_sha256": bundle.sha256, "conditioning": conditioning}
        print_json(summary | about)
        return
    print(f"{text}\nconditioning: {conditioning}")
    if out is not None:
        print(f"written to {out}")


Outcome = tuple[list[Intents], dict[str, object], str]


def _again(path: Path, session: Session, source: SessionSource, bundle: Bundle, headless: bool) -> Outcome:
    """As it was decoded when it was recorded; NervehandError where that gives other intents than those recorded."""
    recorded = session.recorded.intents
    if recorded is None:
        raise NervehandError(f"{path}: holds no intents: replay it without --as-recorded")
    parts, summary, text = _decoded(
        path, session, source, bundle, lambda: replay_as_recorded(session, bundle, source.blocks())
    )
    found = compared(joined(parts), recorded)
    if not found.is_equal:
        raise NervehandError(
            f"{path}: the intents differ from the recorded ones from sample {found.differs_at} on: was it recorded by "
            "this release, on this machine?"
        )
    return (
        parts,
        summary | {"as_recorded": True, "hops_compared": found.hops},
        (f"{text}\nthe same as was recorded, bit for bit: {found.hops} hops"),
    )


def _to_no_hand(
    path: Path, session: Session, source: SessionSource, bundle: Bundle, headless: bool
) -> Outcome:
    return _decoded(path, session, source, bundle, lambda: replay(source.blocks(), session.info, bundle))


def _decoded(
    path: Path,
    session: Session,
    source: SessionSource,
    bundle: Bundle,
    decode: Callable[[], Iterable[Intents]],
) -> Outcome:
    compile_kernels(bundle, session.info)
    source.connect()
    started = time.monotonic()
    parts = list(decode())
    elapsed_s = time.monotonic() - started
    digest = IntentDigest()
    for part in parts:
        digest.update(part)
    hops = sum(len(part) for part in parts)
    duration_s = source.n_samples / session.info.rate_hz
    summary: dict[str, object] = {
        "intents_sha256": digest.hexdigest(),
        "hops": hops,
        "warming_hops": sum(int(part.warming.sum()) for part in parts),
        "duration_s": round(duration_s, 3),
        "elapsed_s": round(elapsed_s, 4),
        "x_real_time": round(duration_s / elapsed_s, 1),
    }
    text = (
        f"{path}: {hops} hops, {duration_s:.1f} s in {elapsed_s:.2f} s ({summary['x_real_time']} x real time)\n"
        f"intents sha256 {summary['intents_sha256']}"
    )
    return parts, summary, text


def _to_virtual_hand(
    path: Path, session: Session, source: SessionSource, bundle: Bundle, headless: bool
) -> Outcome:
    from nervehand.driving import Arming, drive_hand

    parts: list[Intents] = []
    summary = drive_hand(
        f"nervehand replay {path.name}",
        source,
        bundle,
        Arming("replay"),
        screen=NoScreen() if headless else None,
        cue_at=_cues(session),
        on_intents=parts.append,
    )
    # Up to the last hop: the run may have been stopped early.
    decoded = int(parts[-1].sample_index[-1]) + 1 - session.first_sample if parts else 0
    speed = {"x_real_time": round(decoded / session.info.rate_hz / summary.elapsed_s, 2)}
    return parts, summary.to_json() | speed, f"{summary.describe()}\nintents sha256 {summary.intents_sha256}"


def _cues(session: Session) -> Callable[[int], str]:
    """What the session's labels say at a sample; nothing where it has none."""
    labels = session.labels

    def cue_at(sample_index: int) -> str:
        return (
            "" if labels is None else session.gesture_names[int(labels[sample_index - session.first_sample])]
        )

    return cue_at
