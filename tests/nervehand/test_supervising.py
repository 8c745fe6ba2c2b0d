"""What keeps the engine alive: real processes that die, hang, stop and refuse to end."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nervehand.supervising import supervisor_command
from tests.nervehand.supervision import ROOT, is_there, supervised, wait_until

SERVES = 'notifier.ready(); say("serves"); signal.pause()\n'
ENDS_IN_ORDER = """
def end(number, frame):
    say("ends")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
"""


def test_what_the_engine_says_is_passed_on_but_not_who_the_main_process_is_nor_that_it_ends(
    tmp_path: Path,
) -> None:
    script = """
for text in ("MAINPID=1", "STOPPING=1", "FDSTORE=1", "STATUS=two\\nMAINPID=1\\nWATCHDOG=1", "RELOADING=1", "READY=1"):
    notifier.send(text)
notifier.watchdog()
say("all said")
signal.pause()
"""
    with supervised(tmp_path, script) as heard:
        said = [one for one in heard.until("all said") if one[:13] not in ("STATUS=engine", "EXTEND_TIMEOU")]
        assert said[:-1] == ["STATUS=two", "WATCHDOG=1", "RELOADING=1", "READY=1", "WATCHDOG=1"]


def test_nobody_but_the_engine_itself_can_say_that_it_is_alive(tmp_path: Path) -> None:
    script = """
say(f"at {notifier._address}")
subprocess.run([sys.executable, "-c", "from firmware_bridge.notify import *; Notifier.from_environment().watchdog()"])
input_from_test = time.monotonic() + 60
while not os.path.exists(os.path.join(os.environ["XDG_RUNTIME_DIR"], "go")) and time.monotonic() < input_from_test:
    time.sleep(0.01)
say("done")
signal.pause()
"""
    with supervised(tmp_path, script) as heard:
        address = heard.said("at ").partition("at ")[2].partition(" pid=")[0]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"WATCHDOG=1", address)
        (tmp_path / "go").touch()
        assert "WATCHDOG=1" not in heard.until("done")
        assert os.stat(address).st_mode & 0o777 == 0o600


def test_an_engine_that_dies_is_started_again_and_told_how_often_and_how_it_ended(tmp_path: Path) -> None:
    script = """
say(f"life {os.environ['NERVEHAND_RESTARTS']}, {os.environ['NERVEHAND_SUPERVISOR_PID']}, "
    f"{os.environ['NERVEHAND_LAST_EXIT']}")
if life == 0:
    os.kill(os.getpid(), signal.SIGSEGV)
if life == 1:
    sys.exit(1)
signal.pause()
"""
    with supervised(tmp_path, script, first_wait_s=0.01) as heard:
        supervisor = heard.process.pid
        assert f"life 0, {supervisor}, pid" in heard.said("life 0")
        assert f"life 1, {supervisor}, killed by SIGSEGV after " in heard.said("life 1")
        assert f"life 2, {supervisor}, exit status 1 after " in heard.said("life 2")
        assert heard.end() == 0
        assert "engine killed by SIGSEGV after" in heard.logged()


@pytest.mark.parametrize("status", [0, 2])
def test_an_engine_that_has_finished_or_is_configured_wrongly_is_not_started_again(
    tmp_path: Path, status: int
) -> None:
    with supervised(tmp_path, f"sys.exit({status})", first_wait_s=0.01) as heard:
        assert heard.status() == status
        assert heard.logged().count("started as process") == 1


def test_an_engine_that_stands_still_is_aborted_prints_where_it_stood_and_is_started_again(
    tmp_path: Path,
) -> None:
    script = """
notifier.ready()
say(os.environ["NERVEHAND_LAST_EXIT"] or "first")
def stands_still(): time.sleep(1000)
if life == 0: stands_still()
signal.pause()
"""
    with supervised(tmp_path, script, stall_s=0.3, first_wait_s=0.01) as heard:
        assert "no sign of life for 0.3 s, killed by SIGABRT after" in heard.said(
            "no sign of life for 0.3 s, killed"
        )
        assert "in stands_still" in heard.logged()


def test_an_engine_that_beats_lives_longer_than_its_silence_may(tmp_path: Path) -> None:
    script = """
notifier.ready()
began = time.monotonic()
while time.monotonic() - began < 3: # longer than it may be silent
    notifier.watchdog()
    time.sleep(0.02)
say("lives")
"""
    with supervised(tmp_path, script, stall_s=2.0) as heard:
        assert heard.until("lives").count("WATCHDOG=1") > 10
        assert "no sign of life" not in heard.logged()


def test_an_engine_that_is_stopped_or_deaf_to_sigabrt_is_killed(tmp_path: Path) -> None:
    script = """
say(os.environ["NERVEHAND_LAST_EXIT"] or "first")
signal.signal(signal.SIGABRT, signal.SIG_IGN)
notifier.ready()
if life == 0: os.kill(os.getpid(), signal.SIGSTOP)
signal.pause()
"""
    with supervised(tmp_path, script, stall_s=0.2, abort_s=0.05, first_wait_s=0.01) as heard:
        assert "no sign of life for 0.2 s, killed by SIGKILL" in heard.said(", killed by")


def test_an_engine_that_never_becomes_ready_stands_still_too(tmp_path: Path) -> None:
    script = """
say(os.environ["NERVEHAND_LAST_EXIT"] or "first")
while True:
    notifier.watchdog()
    time.sleep(0.02)
"""
    with supervised(tmp_path, script, start_s=0.5, first_wait_s=0.01) as heard:
        assert "not ready after 0.5 s, killed by SIGABRT" in heard.said("not ready after 0.5 s, killed")


def test_its_children_get_time_and_are_killed_after_that_but_not_the_guard_in_a_session_of_its_own(
    tmp_path: Path,
) -> None:
    script = """
if life == 0:
    sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
    child, guard = subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)
    notifier.status(f"child pid={child.pid}")
    notifier.status(f"guard pid={guard.pid}")
    os._exit(1)
say("lives again")
signal.pause()
"""
    with supervised(tmp_path, script, first_wait_s=0.01, leftovers_s=0.3) as heard:
        child, guard = heard.pid_said("child pid="), heard.pid_said("guard pid=")
        try:
            heard.said("lives again")
            assert not is_there(child)
            assert is_there(guard)
            assert f"its children {child} did not end within 0.3 s" in heard.logged()
        finally:
            os.kill(guard, signal.SIGKILL)


def test_it_does_not_start_again_before_its_children_have_ended_by_themselves(tmp_path: Path) -> None:
    script = """
if life == 0:
    reads, writes = os.pipe()
    waits = "import sys, time; sys.stdin.read(); time.sleep(0.5); open(sys.argv[1], 'w').close()"
    subprocess.Popen([sys.executable, "-c", waits, "closed"], stdin=reads, cwd=os.environ["XDG_RUNTIME_DIR"])
    os._exit(1)
say(f"closed: {os.path.exists(os.environ['XDG_RUNTIME_DIR'] + '/closed')}")
signal.pause()
"""
    with supervised(tmp_path, script, first_wait_s=0.01, leftovers_s=60.0) as heard:
        assert "closed: True" in heard.said("closed:")
        assert "did not end" not in heard.logged()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_asks_the_engine_and_waits_for_the_release(
    tmp_path: Path, number: signal.Signals
) -> None:
    script = """
def end(number, frame):
    say(f"releases for {signal.Signals(number).name}")
    time.sleep(0.3)
    open(os.environ["XDG_RUNTIME_DIR"] + "/released", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
"""
    with supervised(tmp_path, script + SERVES) as heard:
        engine = heard.pid_said("serves")
        heard.send(number)
        until = heard.until("releases for SIGTERM")
        assert "STOPPING=1" in until
        assert heard.status() == 0
        assert (tmp_path / "released").exists()
        assert not is_there(engine)
        assert not list((tmp_path / "nervehand").iterdir())


def test_an_engine_that_does_not_end_is_killed_in_the_end(tmp_path: Path) -> None:
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVES
    with supervised(tmp_path, script, end_s=0.3) as heard:
        engine = heard.pid_said("serves")
        assert heard.end() == 128 + signal.SIGKILL
        assert not is_there(engine)


def test_asked_to_end_while_the_engine_is_away_it_ends_at_once(tmp_path: Path) -> None:
    with supervised(tmp_path, "sys.exit(1)", first_wait_s=1000.0, longest_wait_s=1000.0) as heard:
        heard.said("exit status 1")
        assert heard.end() == 0


RELOADS = """
def reload(number, frame): say("reloads")
signal.signal(signal.SIGUSR1, reload)
"""


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_a_reload_goes_to_the_engine(tmp_path: Path, number: signal.Signals) -> None:
    script = RELOADS + 'notifier.ready(); say("serves")\nwhile True: signal.pause()\n'
    with supervised(tmp_path, script) as heard:
        heard.said("serves")
        heard.send(number)
        heard.said("reloads")


def test_a_reload_waits_for_an_engine_that_is_starting_which_it_would_end(tmp_path: Path) -> None:
    script = """
say("starts")
while not os.path.exists(os.environ["XDG_RUNTIME_DIR"] + "/go"): time.sleep(0.01)
"""
    script += RELOADS + "notifier.ready()\nwhile True: signal.pause()\n"
    with supervised(tmp_path, script) as heard:
        heard.said("starts")
        heard.send(signal.SIGUSR1)
        heard.send(signal.SIGCHLD)  # wakes it: both were taken when the next thing is heard
        time.sleep(0.3)  # a signal that is sent at once has ended the engine by then
        (tmp_path / "go").touch()
        until = heard.until("reloads")
        assert not [one for one in until if "SIGUSR1" in one]


def test_a_closed_terminal_ends_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        with supervised(tmp_path, ENDS_IN_ORDER + SERVES, stdin=theirs) as heard:
            heard.said("serves")
            heard.send(signal.SIGHUP)
            heard.said("ends")
            assert heard.status() == 0
    finally:
        os.close(ours)
        os.close(theirs)


def test_nohup_keeps_its_meaning(tmp_path: Path) -> None:
    def ignore_hangup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with supervised(tmp_path, RELOADS + ENDS_IN_ORDER + SERVES, before=ignore_hangup) as heard:
        heard.said("serves")
        heard.send(signal.SIGHUP)
        heard.send(signal.SIGTERM)
        assert not [one for one in heard.until("ends") if "reloads" in one]


def test_an_engine_whose_supervisor_was_killed_ends_in_order(tmp_path: Path) -> None:
    script = """
def end(number, frame):
    open(os.environ["XDG_RUNTIME_DIR"] + "/ended", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
"""
    with supervised(tmp_path, script + SERVES) as heard:
        engine = heard.pid_said("serves")
        heard.process.kill()
        wait_until(lambda: not is_there(engine))
        assert (tmp_path / "ended").exists()


def test_a_companion_is_kept_running_too_without_a_say_in_the_engines_life(tmp_path: Path) -> None:
    companion = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
with open({str(tmp_path / "lives")!r}, "a") as file:
    print(os.getpid(), os.environ.get("NOTIFY_SOCKET"), file=file, flush=True)
time.sleep(1000)
"""
    lives = tmp_path / "lives"

    def pids() -> list[int]:
        return [int(line.split()[0]) for line in lives.read_text().splitlines()] if lives.exists() else []

    companions = {"metrics": [sys.executable, "-c", companion]}
    with supervised(tmp_path, ENDS_IN_ORDER + SERVES, companions=companions, first_wait_s=0.01) as heard:
        heard.said("serves")
        wait_until(lambda: len(pids()) == 1)
        os.kill(pids()[0], signal.SIGKILL)
        wait_until(lambda: len(pids()) == 2)
        assert "None" in lives.read_text()
        assert is_there(pids()[1])
        assert heard.end() == 0
        assert not is_there(pids()[1])
        assert "metrics killed by SIGKILL" in heard.logged()
        assert heard.logged().count("engine started") == 1


def test_a_companion_that_cannot_work_stays_away_and_the_engine_goes_on(tmp_path: Path) -> None:
    companions = {"metrics": [sys.executable, "-c", "raise SystemExit(2)"]}
    with supervised(tmp_path, ENDS_IN_ORDER + SERVES, companions=companions, first_wait_s=0.01) as heard:
        heard.said("serves")
        wait_until(lambda: "metrics exit status 2" in heard.logged())
        assert heard.end() == 0
        assert heard.logged().count("metrics started") == 1


def test_a_command_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    with supervised(
        tmp_path, SERVES, companions={"metrics": ["/nowhere/metrics"]}, first_wait_s=0.01
    ) as heard:
        heard.said("serves")
        wait_until(lambda: heard.logged().count("could not be started") > 1)
        assert heard.end() == 0


def test_as_a_command_it_takes_what_it_is_made_of(tmp_path: Path) -> None:
    engine = [
        sys.executable,
        "-c",
        "import os, sys; sys.exit(os.environ['WATCHDOG_USEC'] != '7500000')",
        "--stall-s",
    ]
    companions = {"metrics": [sys.executable, "-c", "import time; time.sleep(1000)", "a 'word'"]}
    command = supervisor_command(engine, stall_s=7.5, start_s=60, companions=companions, as_json=True)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [one["level"] for one in lines if "engine exit status 0" in one["message"]] == ["info"]
    assert any("a 'word'" in one["message"] for one in lines)


@pytest.mark.parametrize(
    ("is_journal", "head"), [(False, r"\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z "), (True, "<[46]>")]
)
def test_each_event_is_a_line_of_the_log(tmp_path: Path, is_journal: bool, head: str) -> None:
    command = supervisor_command([sys.executable, "-c", "raise SystemExit(2)"], stall_s=60, start_s=60)
    with (tmp_path / "log").open("w+") as log:
        about = os.fstat(log.fileno())
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        environment["JOURNAL_STREAM"] = f"{about.st_dev}:{about.st_ino if is_journal else 1}"
        done = subprocess.run(command, stderr=log, env=environment, timeout=60, check=False)
    assert done.returncode == 2
    lines = (tmp_path / "log").read_text().splitlines()
    for line in lines:
        assert re.fullmatch(head + r"info supervisor nervehand\.supervising: engine .*", line)
    assert "engine exit status 2 after" in lines[-1]


def test_without_a_place_for_its_socket_it_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "nervehand").mkdir(mode=0o755)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = supervisor_command(["true"], stall_s=60, start_s=60)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 2
    assert re.fullmatch("nervehand: .*not a folder of yours alone.*\n", done.stderr)


def test_it_loads_the_standard_library_only() -> None:
    code = "import sys, nervehand.supervising; print(*{one.partition('.')[0] for one in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    ours = {"nervehand", "firmware_bridge", "__main__"}
    before = subprocess.run(
        [sys.executable, "-c", "import sys; print(*{one.partition('.')[0] for one in sys.modules})"],
        capture_output=True,
        text=True,
        check=True,
    )  # what the environment loads by itself
    assert set(done.stdout.split()) - set(before.stdout.split()) - ours <= sys.stdlib_module_names
