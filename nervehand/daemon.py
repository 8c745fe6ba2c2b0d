"""The engine of a daemon: all that a configuration names, at work until it is told to end (docs/daemon.md).

    python -m nervehand.daemon [--config FILE]

is how the supervisor starts it. Exit status 2: the configuration is wrong, and starting again is no use.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from decoder.bundle import Bundle
from decoder.decision import DecisionSettings
from decoder.deployable import Decoder
from decoder.recording.keeper import KeepSettings
from decoder.recording.link import recorder_process
from decoder.session.layout import Header
from decoder.session.model import SessionMeta
from decoder.session.source import SessionSource
from firmware_bridge.buffered import BufferedSource
from firmware_bridge.errors import LinkError, NervehandError, StreamMismatchError
from firmware_bridge.guard_client import GuardClient
from firmware_bridge.guard_latch import asked_for_rest
from firmware_bridge.guard_settings import RealTimeSettings
from firmware_bridge.guard_sockets import folder
from firmware_bridge.guard_sockets import running as running_guards
from firmware_bridge.notify import Heartbeat, Notifier, watchdog_s
from firmware_bridge.port.tls_files import TlsFiles
from firmware_bridge.realtime import SWITCH_S, RealTime, make_real_time
from firmware_bridge.stream import Source, StreamInfo
from firmware_bridge.supervised import SourceEvent
from nervehand.config import DaemonConfig
from nervehand.config_file import ConfigFile
from nervehand.config_kept import config_to_start, kept_before
from nervehand.daemon_reload import Reloads
from nervehand.daemon_status import DaemonStatus, Recorded, StartTimes
from nervehand.driving import Arming, Driven, drive_hand
from nervehand.guarding import GuardOptions
from nervehand.hand_use import login_name
from nervehand.live import LiveOptions
from nervehand.live_port import Intend, ServedRun
from nervehand.live_summary import LiveSummary
from nervehand.logs import configure_logs
from nervehand.pre_use import LiveCheck
from nervehand.recording import LiveRecorder
from nervehand.running import BoundedSource, hand_driven, opened_source
from nervehand.screen import NoScreen, Screen
from nervehand.source_log import SourceLog
from nervehand.stopping import stop_on_signals

WRONG = 2
"""Exit status where starting again is no use."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 5.0
"""Before a source that is not there is looked for again."""
COMPILE_S = 180.0
"""What a first start on a small machine may take, where kernels are compiled."""
GUARD_ENDS_S = 60.0
"""A guard gives a link that is down 30 s to come back, and the hand the time to reach rest."""
MIB = 1 << 20

logger = logging.getLogger(__name__)


class WrongConfigurationError(NervehandError):
    """What is configured does not fit what is there: starting again is no use."""


def run_daemon(
    file: ConfigFile,
    *,
    screen: Screen | None = None,
    has_keys: bool = False,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> LiveSummary:
    """Run what `file` configures until its source ends, `seconds` of samples are over, or a signal ends it.

    `screen` None shows nothing; with keys the terminal's move the gate. NervehandError with the reason where it cannot
    run, WrongConfigurationError where trying again is no use.
    """
    config = file.config
    start = StartTimes()
    start.reached("python and imports")
    notifier = Notifier.from_environment()
    status = DaemonStatus(config, notifier, start)
    status.config = replace(status.config, path=str(file.path or ""), sha256=file.sha256)
    with _alone(config.name), status.shown(), Heartbeat(notifier, watchdog_s()) as heartbeat:
        try:
            bundle = file.check_files()
        except NervehandError as error:
            raise WrongConfigurationError(str(error)) from error
        start.reached("bundle")
        reloads = Reloads(file, status)
        reloads.begin()
        log = SourceLog(has_screen=screen is not None)
        log.listen(status.source_event)
        events = _Relay()
        with stop_on_signals() as stop:
            source, intend = _source(config, events, notifier, status, stop)
        start.reached("source")
        status.info = source.info
        _require(bundle, source, config)
        realtime = _realtime(config, status)
        buffered = BufferedSource(
            BoundedSource(source, seconds, config.source.mains_hz), log,
            partial(realtime, "acquisition", 1),
        )  # fmt: skip
        events.to, status.buffered = buffered.event, buffered
        driven_hand, acknowledgement, grips = hand_driven(
            config.hand, _guard_options(config), bundle.manifest.gestures, config.arming.arm_as
        )
        if config.hand.address != "none":
            with stop_on_signals() as stop:
                _await_guard(config.guard_name, notifier, status, stop)
        notifier.extend(COMPILE_S)
        notifier.status(
            "preparing: the first time on a machine, kernels are compiled (minutes on a small one)"
        )
        logger.info(
            "preparing: the first time on a machine, kernels are compiled, which takes minutes on a small one"
        )
        check = LiveCheck() if config.is_checked else None

        @contextmanager
        def beside(driven: Driven) -> Iterator[None]:
            start.reached("guard, hand and recorder")
            realtime("decode", 0)
            guard = driven.guarded.guard
            if isinstance(guard, GuardClient) and guard.real_time is not None:
                _note(status, "guard", guard.real_time)
            status.attach(driven)
            with reloads.answering(driven):
                logger.info("ready after %s", start)
                notifier.ready()
                try:
                    yield
                finally:
                    notifier.stopping()
                    status.attach(None)

        arming = Arming(
            config.arming.arm_as or config.name, is_rearmed=not config.is_worn, acknowledgement=acknowledgement,
            overridden_by=config.arming.override_check or f"{config.hand.address} hand", check=check,
            keys_who=f"{config.arming.arm_as or login_name()} at the keyboard" if has_keys else "",
            latched=asked_for_rest(config.guard_name),
        )  # fmt: skip
        options = LiveOptions(
            backlog=buffered, restart_after_s=config.overload.restart_after_s, decide=reloads.decide,
            engine=config.decoder.engine,
        )  # fmt: skip
        summary = drive_hand(
            f"nervehand {config.name}: {config.source.address}", buffered, bundle, arming,
            screen=screen or NoScreen(), hand=driven_hand, source_log=log, say=say,
            served=_served(config, intend, grips), recorded=_recorder(config, source.info, bundle, status),
            working=heartbeat.working, beside=beside, options=options,
        )  # fmt: skip
        if check is not None and check.failure:
            raise NervehandError(f"{check.failure} (or have it overridden: arming.override_check)")
        return summary


class _Relay:
    """Passes on what a source says, once there is somebody to hear it."""

    def __init__(self) -> None:
        self.to: Callable[[SourceEvent], None] = lambda event: logger.info(
            "source %s: %s", event.kind, event.text
        )

    def __call__(self, event: SourceEvent) -> None:
        self.to(event)


def _source(
    config: DaemonConfig,
    events: Callable[[SourceEvent], None],
    notifier: Notifier,
    status: DaemonStatus,
    stop: threading.Event,
) -> tuple[Source, Intend | None]:
    """The source, waited for where it is not there yet; LinkError where somebody ends that."""
    wait_s = FIRST_WAIT_S
    while True:
        try:
            found = opened_source(config.source.address, config.source.start_s, events)
        except StreamMismatchError as error:
            raise WrongConfigurationError(str(error)) from error
        except LinkError as error:
            if not status.waits_for:
                logger.warning("%s is waited for: %s", config.source.address, error)
                notifier.ready()  # as ready as it can be: what is lacking is not ours
            status.waits_for = str(error)
            if stop.wait(wait_s):
                raise LinkError(f"{config.source.address} was waited for until the end: {error}") from None
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            continue
        except NervehandError as error:
            raise WrongConfigurationError(str(error)) from error
        status.waits_for = ""
        return found


def _require(bundle: Bundle, source: Source, config: DaemonConfig) -> None:
    """WrongConfigurationError unless the decoder was made for that stream, and its wearer where that is known."""
    try:
        bundle.require_stream(source.info)
        if isinstance(source, SessionSource):
            try:
                bundle.require_wearer(source.meta.subject, source.meta.side, source.meta.array)
            except StreamMismatchError as error:
                if not config.decoder.any_wearer:
                    raise
                logger.warning("%s answers for it that %s", config.decoder.any_wearer, error)
    except StreamMismatchError as error:
        name = config.decoder.bundle or "the demo's decoder"
        raise WrongConfigurationError(f"{name}: {error}") from error


def _realtime(config: DaemonConfig, status: DaemonStatus) -> Callable[[str, int], None]:
    """Gives the calling thread its class: `role`, and how much above the configured priority."""
    asked = config.realtime

    def take(role: str, above: int) -> None:
        if asked.policy == "off":
            status.realtime[role] = "off"
            return
        priority = min(asked.priority + above, 99)
        got = make_real_time(
            asked.policy, priority, asked.decode_cpus, asked.lock_memory and role == "decode"
        )
        _note(status, role, got)

    return take


def _note(status: DaemonStatus, role: str, got: RealTime) -> None:
    status.realtime[role] = got.scheduling
    for warning in got.warnings:
        said = f"{role}: {warning}"
        if said not in status.warnings:
            status.warnings.append(said)
            logger.warning("real time, %s", said)


def _guard_options(config: DaemonConfig) -> GuardOptions:
    asked = config.realtime
    return GuardOptions(
        name=config.guard_name,
        stop_lines=config.guard.stop_lines,
        release_lines=config.guard.release_lines,
        real_time=RealTimeSettings(
            asked.policy, min(asked.priority + 2, 99), tuple(asked.guard_cpus), asked.lock_memory
        ),
    )


def _served(config: DaemonConfig, intend: Intend | None, grips: tuple[str, ...]) -> ServedRun | None:
    port = config.port
    if not port.listen:
        return None
    files = TlsFiles(Path(port.tls_certificate), Path(port.tls_key)) if port.tls_certificate else None
    return ServedRun(
        port.listen, config.name, {"source": config.source.address}, intend, grips, files,
        tuple(config.decoder.allowed_signers),
    )  # fmt: skip


@contextmanager
def _recorder(
    config: DaemonConfig, info: StreamInfo, bundle: Bundle, status: DaemonStatus
) -> Iterator[LiveRecorder | None]:
    """The recorder's process, and what hands over to it; None where nothing is recorded."""
    asked = config.recording
    if not asked.folder:
        yield None
        return
    with contextlib.suppress(OSError):  # else the recorder says why, and tries again
        os.makedirs(asked.folder, 0o700, exist_ok=True)
    settings = KeepSettings(
        asked.folder, config.name, asked.rotate_mib * MIB, asked.rotate_s, asked.budget_mib * MIB,
        asked.reserve_mib * MIB, asked.ring_s if asked.keep == "pinned" else None,
    )  # fmt: skip

    def header_of(decoder: Decoder) -> Header:
        return header_for(info, decoder.bundle, decoder.decision)

    first = header_for(info, bundle, config.decision_for(bundle))
    with recorder_process(settings, first) as (sender, process):
        status.recorded = Recorded(sender, process)
        recorder = LiveRecorder(sender, header_of=header_of, sender=sender)
        try:
            yield recorder
        finally:
            status.recorded = None
            recorder.close(failing=True)


def header_for(info: StreamInfo, bundle: Bundle, decision: DecisionSettings) -> Header:
    """Of a recording of that stream, decided by that decoder and these settings."""
    manifest = bundle.manifest
    own = {name: float(value) for name, value in asdict(decision).items()}
    return Header(
        info=info,
        meta=SessionMeta("live", manifest.subject, manifest.side, array=manifest.array),
        gesture_names=manifest.gestures,
        output_names=tuple(output.name for output in manifest.outputs),
        bundle=bundle.sha256,
        decision=None if decision == manifest.decision else own,
    )


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """The only daemon of that name; WrongConfigurationError where another one runs."""
    with (folder() / f".daemon-{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WrongConfigurationError(
                f"a daemon called {name} runs already: give this one another name in its configuration"
            ) from None
        yield


def _await_guard(name: str, notifier: Notifier, status: DaemonStatus, stop: threading.Event) -> None:
    """A guard of before that still releases the hand has the time to end. LinkError where it does not."""
    end_s = time.monotonic() + GUARD_ENDS_S
    while name in running_guards():
        if time.monotonic() > end_s:
            raise LinkError(
                f"a guard called {name} runs and does not end: stop what started it, or name this one"
            )
        if not status.waits_for:
            logger.warning(
                "a guard called %s runs, and is waited for until it has brought its hand to rest", name
            )
        status.waits_for = f"the guard {name} of before, which brings the hand to rest"
        notifier.extend(GUARD_ENDS_S)
        if stop.wait(0.1):
            raise LinkError(f"the guard {name} was waited for until the end")
    status.waits_for = ""


def main() -> int:
    """As the supervisor starts it."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # until somebody answers them
    sys.setswitchinterval(SWITCH_S)
    parser = argparse.ArgumentParser(description="The engine of a daemon; `nervehand run` starts it.")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seconds", type=float)
    given = parser.parse_args()
    try:
        file = config_to_start(given.config)
    except NervehandError as error:
        print(f"nervehand: {error}", file=sys.stderr)
        return WRONG
    configure_logs(file.config.log.format, file.config.log.level, "decode", queued=True)
    began_s = time.monotonic()
    while True:
        try:
            summary = run_daemon(file, seconds=given.seconds, say=logger.info)
            break
        except WrongConfigurationError as error:
            logger.error("%s", error)
            before = kept_before(given.config, error, file.text)
            if before is None:
                return WRONG
            file = before
        except NervehandError as error:
            logger.error("%s", error)
            return 1
    logger.info("ended after %.1f s: %s", time.monotonic() - began_s, summary.describe().replace("\n", "; "))
    return 0


if __name__ == "__main__":
    sys.exit(main())
