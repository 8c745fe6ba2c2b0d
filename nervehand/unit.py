"""`nervehand unit`: the systemd unit of a daemon, for systemd 237 (Ubuntu 18.04) and newer."""

from __future__ import annotations

import math
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge.errors import NervehandError
from nervehand.options import Force, free_to_write
from nervehand.supervised_process import WRONG_STATUS, LifeTimes
from nervehand.supervising import COMPANION_END_S

OLDEST_SYSTEMD = 237
WATCHDOG_SIGNAL_SYSTEMD = 240
"""From here on what a unit's watchdog sends may be chosen (systemd.kill(5))."""
RUNTIME, STATE = "nervehand", "nervehand"
"""Below /run, and below /var/lib: the home of a user who has none."""
_PLAIN = re.compile(r"[A-Za-z0-9_./@:+,=-]+")
_MARGIN_S = 15.0
_TIMES = LifeTimes()

Config = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="The daemon's configuration; it must be there.")
]
User = Annotated[
    str, typer.Option("--user", metavar="NAME", help="Who the daemon runs as; you, if not given.")
]
Out = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it there instead of printing it.")
]


def unit_text(
    config_path: Path,
    python: str,
    user: str,
    *,
    home: str = "",
    recordings: str = "",
    stall_s: float = 5.0,
    start_s: float = 60.0,
    has_adapter: bool = False,
    systemd: int = OLDEST_SYSTEMD,
) -> str:
    """The unit of `python -m nervehand run --config config_path` as `user`.

    Nothing can be written to but `home` ("": a folder below /var/lib is made, and is it) and `recordings` ("": none),
    both absolute. `stall_s` and `start_s` are the configuration's [watchdog]. With `has_adapter` it may drive a
    Bluetooth adapter itself (a hand's transport is hci-socket). `systemd` is the oldest version that is to read it.
    NervehandError for a path that is not absolute or that a unit cannot hold, and for a name that is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?", user):
        raise NervehandError(f"{user!r} is no user's name: give one with --user")
    command = " ".join((_word(python), "-m nervehand run --config", _argument(str(config_path))))
    lines = [*_unit(), "", *_service(command, user, stall_s, start_s, systemd), ""]
    lines += [*_places(home, recordings), "", *HARDENING, *_capabilities(has_adapter)]
    lines += ["", "[Install]", "WantedBy=multi-user.target"]
    return "\n".join(lines) + "\n"


def _unit() -> Iterator[str]:
    yield "[Unit]"
    yield "Description=nervehand: decodes nerve signals and moves a hand"
    yield "After=network.target bluetooth.target bluetooth.service"
    yield "# It is needed whatever happened before: it is started again without end."
    yield "StartLimitIntervalSec=0"


def _service(command: str, user: str, stall_s: float, start_s: float, systemd: int) -> Iterator[str]:
    again_s = _TIMES.abort_s + _TIMES.leftovers_s + _TIMES.longest_wait_s + _MARGIN_S
    stop_s = _TIMES.end_s + _TIMES.leftovers_s + COMPANION_END_S + _MARGIN_S
    yield "[Service]"
    yield "Type=notify"
    yield "# The supervisor alone: it passes on what the decode loop says of itself."
    yield "NotifyAccess=main"
    yield f"ExecStart={command}"
    yield "ExecReload=/bin/kill -USR1 $MAINPID"
    yield "# In order, and only then SIGTERM to whatever is left. Where the supervisor itself was killed there is no"
    yield "# ExecStop: SIGTERM goes to all, and the guard releases the hand. KillMode=mixed would kill it at once."
    yield "ExecStop=/bin/sh -c 'kill -TERM $$MAINPID && exec tail --pid=$$MAINPID -s 0.2 -f /dev/null'"
    yield "KillMode=control-group"
    yield f"TimeoutStopSec={math.ceil(stop_s)}"
    yield "Restart=always"
    yield "RestartSec=1"
    yield f"# Exit status {WRONG_STATUS}: the configuration is wrong, and trying again is no use."
    yield f"RestartPreventExitStatus={WRONG_STATUS}"
    yield "# For the supervisor; the engine's own silence has a shorter limit there. An engine may be stalled, ended,"
    yield "# waited for and started again meanwhile."
    yield f"WatchdogSec={math.ceil(stall_s + start_s + again_s)}"
    if systemd >= WATCHDOG_SIGNAL_SYSTEMD:
        yield "# To all processes: not SIGABRT, which would end the guard without a release."
        yield "WatchdogSignal=SIGTERM"
    yield f"TimeoutStartSec={math.ceil(start_s + again_s)}"
    yield f"User={user}"
    yield "UMask=0077"
    yield "LimitRTPRIO=99"
    yield "LimitMEMLOCK=infinity"
    yield "Nice=-5"
    yield "# When memory is short, others go first."
    yield "OOMScoreAdjust=-600"


def _places(home: str, recordings: str) -> Iterator[str]:
    yield "# Sockets and the status document, which outlive a restart."
    yield f"RuntimeDirectory={RUNTIME}"
    yield "RuntimeDirectoryMode=0700"
    yield "RuntimeDirectoryPreserve=yes"
    yield f"Environment=XDG_RUNTIME_DIR=/run/{RUNTIME}"
    yield "ProtectSystem=strict"
    if home:
        yield f"ReadWritePaths={_word(home, '-')}"
    else:
        yield f"StateDirectory={STATE}"
        yield "StateDirectoryMode=0700"
        yield f"Environment=HOME=/var/lib/{STATE}"
    if recordings:
        yield f"ReadWritePaths={_word(recordings, '-')}"
    yield f"WorkingDirectory={_setting(home) if home else f'/var/lib/{STATE}'}"


HARDENING = (
    "PrivateTmp=yes",
    "NoNewPrivileges=yes",
    "# Bluetooth, by D-Bus (AF_UNIX) and by the adapter's own sockets; a port and metrics; network interfaces' names.",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_BLUETOOTH",
    "# /sys stays readable: stop lines, temperatures, power.",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "RestrictNamespaces=yes",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    "# Not: PrivateDevices (serial ports), RestrictRealtime (SCHED_FIFO), MemoryDenyWriteExecute (kernels are compiled",
    "# as they are needed).",
)


def _capabilities(has_adapter: bool) -> Iterator[str]:
    if has_adapter:
        yield "# To drive a Bluetooth adapter without the system's BlueZ (hci-socket)."
        yield "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW"
        yield "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW"
    else:
        yield "CapabilityBoundingSet="


def _word(path: str, prefix: str = "") -> str:
    """`prefix` and an absolute path as one word of a unit (systemd.syntax(7)): quoted where needed."""
    if not path.startswith("/"):
        raise NervehandError(f"{path!r} is not a whole path: a unit needs one that begins with /")
    text = prefix + _setting(path)
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _argument(path: str) -> str:
    """The same as an argument of a command, where a dollar sign begins a variable (systemd.service(5))."""
    return _word(path).replace("$", "$$")


def _setting(text: str) -> str:
    """What stands for itself to the end of the line."""
    if not text.isprintable():  # a line's end, and what was no UTF-8
        raise NervehandError(f"{text!r} has letters that a unit cannot hold: choose another path")
    return text.replace("%", "%%")


def add_unit_command(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command()(unit)


def unit(
    config: Config = Path("nervehand.toml"), user: User = "", out: Out = None, force: Force = False
) -> None:
    """Print the systemd unit of a daemon, to be put into /etc/systemd/system on this machine."""
    from nervehand.config_file import read_config

    if out is not None:
        free_to_write(out, force)
    settings = read_config(config).config
    name = user or os.environ.get("SUDO_USER") or _login()
    text = unit_text(
        config.absolute(),
        sys.executable,
        name,
        home=home_of(name),
        recordings=settings.recording.folder and str(Path(settings.recording.folder).absolute()),
        stall_s=settings.watchdog.stall_s,
        start_s=settings.watchdog.start_s,
        has_adapter=(settings.hand.transport or "").startswith("hci-socket"),
        systemd=systemd_version(),
    )
    if out is None:
        print(text, end="")
    else:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise NervehandError(
                f"{out}: cannot be written ({error.strerror}): choose another place"
            ) from error
    file = "nervehand.service" if out is None else out.name
    print(
        f"as root: put it at /etc/systemd/system/{file}, then systemctl daemon-reload and "
        f"systemctl enable --now {Path(file).stem}",
        file=sys.stderr,
    )


def home_of(user: str) -> str:
    """The folder of a user of this machine; "" for a user who has none. NervehandError where there is no such user."""
    try:
        home = pwd.getpwnam(user).pw_dir
    except KeyError:
        raise NervehandError(f"there is no user {user!r} on this machine: give one with --user") from None
    return home if home != "/" and Path(home).is_dir() else ""


def systemd_version() -> int:
    """This machine's; the oldest that is supported where it has none, or does not say."""
    try:
        done = subprocess.run(
            ["systemctl", "--version"], capture_output=True, text=True, timeout=5.0, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return OLDEST_SYSTEMD
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else OLDEST_SYSTEMD


def _login() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise NervehandError(f"user {os.getuid()} has no name: give one with --user") from None
