"""A port whose clients mean no good, or fail: none of them takes it away from the others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port import PortClient, Request, serving
from firmware_bridge.port.entries import token_for
from firmware_bridge.port.face import MOST_STRANGERS
from firmware_bridge.port.face_client import MOST_REQUESTS
from firmware_bridge.port.greeting import admitted, answer_to, challenge, first_word
from firmware_bridge.port.link import Link
from firmware_bridge.port.wire import MAGIC, MOST_REQUEST_BYTES
from tests.firmware_bridge.port.proxy import proxied
from tests.firmware_bridge.port.serving_rig import ABOUT, INFO, PATIENCE_S, answered_by, until
from tests.scarce import scarce

HALF_A_CHARACTER = "\ud800"


def frame(header: dict[str, object], *, is_ascii: bool = True) -> bytes:
    text = json.dumps(header, ensure_ascii=is_ascii).encode()
    return struct.pack("<4sII", MAGIC, len(text), 0) + text


def pair(address: str) -> tuple[str, int]:
    host, _, number = address.rpartition(":")
    return host, int(number)


@contextlib.contextmanager
def connected(address: str, who: str = "me") -> Iterator[PortClient]:
    with PortClient(address, who=who) as client:
        client.connect(PATIENCE_S)
        yield client


def named(request: Request) -> None:
    request.answer({"who": request.who})


@pytest.mark.parametrize("field", ["challenge", "proof"])
def test_what_is_not_ascii_in_a_greeting_is_refused(field: str) -> None:
    first = first_word(challenge())
    answer = answer_to(first, "token", challenge(), "me") | {field: HALF_A_CHARACTER}
    with pytest.raises(NervehandError, match=f"{field} is not ASCII"):
        admitted(answer, "token", str(first["challenge"]))


def test_a_stranger_who_sends_half_a_character_is_cut_off_and_the_server_lives() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port, connected(port.address) as client:
        pid = port._face.pid
        for field in ("challenge", "proof", "who", "version"):
            with socket.create_connection(pair(port.address), 5) as stranger:
                stranger.sendall(
                    frame(
                        {"version": 1, "challenge": "c", "proof": "x", "who": "y"} | {field: HALF_A_CHARACTER}
                    )
                )
                stranger.settimeout(PATIENCE_S)
                heard = b""
                while received := stranger.recv(4096):
                    heard += received
                assert b'"ok":false,"error"' in heard
        port.show("live", {"a": 1})
        until(lambda: client.newest("live"), "the other client is served")
        assert (port._face.pid, client.lost, port.problem) == (pid, 0, "")


def test_whatever_goes_wrong_with_a_client_ends_that_one_only() -> None:
    """A header that JSON makes longer than anybody takes when it is passed on."""
    with (
        serving("127.0.0.1:0", INFO, ABOUT) as port,
        answered_by(port, named) as came,
        connected(port.address) as client,
    ):
        pid = port._face.pid
        link = Link(port.address, token_for(port.address), "me", PATIENCE_S)
        grows = {
            "kind": "request",
            "id": "1",
            "name": "x",
            "arguments": {"a": "é" * 400_000},
            "left_s": 5,
        }
        link.send_encoded(frame(grows, is_ascii=False))
        answers: list[dict[str, object]] = []
        until(lambda: answers.extend(one.header for one in link.receive(0.1)) or answers, "an answer")
        assert answers[0]["ok"] is False
        assert "the request is too long" in str(answers[0]["error"])
        link.close()
        assert client.request("y") == {"who": "me"}
        assert (port._face.pid, came) == (pid, ["y"])


def test_servers_that_are_killed_again_and_again_leave_no_descriptor_behind() -> None:
    def n_open() -> int:
        return len(os.listdir("/proc/self/fd"))

    with serving("127.0.0.1:0", INFO, ABOUT) as port, answered_by(port, named):
        before = n_open()
        for _ in range(3):
            pid, used = port._face.pid, port._socket
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: port._face.pid != pid, "it is started again")
            until(lambda used=used: port._socket is not used, "the owner goes on with it")
        until(lambda: n_open() <= before, "what the ones before had is given back")


def test_a_server_that_cannot_be_started_again_is_tried_until_it_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def n_open() -> int:
        return len(os.listdir("/proc/self/fd"))

    monkeypatch.setattr("firmware_bridge.port.face_process.FIRST_WAIT_S", 0.01)
    with serving("127.0.0.1:0", INFO, ABOUT) as port, answered_by(port, named):
        with PortClient(port.address, who="me") as client:
            client.connect(PATIENCE_S)
        before = n_open()
        pid, failed = port.server_pid, scarce(monkeypatch, 2)
        os.kill(pid, signal.SIGKILL)
        until(lambda: port.server_pid != pid, "it is started again")
        until(lambda: "was started again: 1 times" in port.problem, "that is said")
        assert failed() == 2
        said = [record.message for record in caplog.records]
        assert sum("cannot be started now: Resource temporarily unavailable" in text for text in said) == 1
        with PortClient(port.address, who="me") as client:
            client.connect(PATIENCE_S)
            assert client.request("y") == {"who": "me"}
        until(lambda: n_open() <= before, "what the ones before had is given back")


def test_silent_strangers_lock_nobody_out() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port, answered_by(port, named):
        strangers = [socket.create_connection(pair(port.address), 5) for _ in range(2 * MOST_STRANGERS)]
        try:
            with connected(port.address) as client:
                assert client.request("stop") == {"who": "me"}
        finally:
            for stranger in strangers:
                stranger.close()


def test_a_name_that_cannot_be_printed_reaches_the_owner_as_one_that_can() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port, answered_by(port, named):
        for given, heard in (
            (HALF_A_CHARACTER, "?"),
            ("Ann\nB", "Ann?B"),
            ("Zoë", "Zoë"),
            ("x" * 999, "x" * 200),
        ):
            with connected(port.address, given) as client:
                assert client.request("y") == {"who": heard}


def test_a_stop_is_never_one_request_too_many() -> None:
    def only_stops(request: Request) -> None:
        if request.name == "stop":
            request.answer({})

    with serving("127.0.0.1:0", INFO, ABOUT) as port, answered_by(port, only_stops):
        link = Link(port.address, token_for(port.address), "me", PATIENCE_S)
        asked = {"kind": "request", "arguments": {}, "left_s": 50}
        for k in range(MOST_REQUESTS + 1):
            link.send(asked | {"id": str(k), "name": "waits"})
        link.send(asked | {"id": "the stop", "name": "stop"})
        answers: dict[object, object] = {}
        until(
            lambda: (
                answers.update((one.header["id"], one.header["ok"]) for one in link.receive(0.1))
                or len(answers) == 2
            ),
            "two answers",
        )
        assert answers == {str(MOST_REQUESTS): False, "the stop": True}
        link.close()


def test_what_is_far_larger_than_a_decoder_is_refused_on_both_sides() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port, connected(port.address) as client:
        with pytest.raises(NervehandError, match=f"bytes are too much: at most {MOST_REQUEST_BYTES}"):
            client.request("push", blob=bytes(MOST_REQUEST_BYTES + 1))
        link = Link(port.address, token_for(port.address), "me", PATIENCE_S)
        text = b"{}"
        link.send_encoded(struct.pack("<4sII", MAGIC, len(text), MOST_REQUEST_BYTES + 1) + text)
        with pytest.raises(LinkError, match=f"at most .* and {MOST_REQUEST_BYTES}"):
            until(lambda: link.receive(0.1) and False, "it is cut off")
        link.close()


@pytest.mark.parametrize("n_bytes", [0, 15_000_000], ids=["in the kernel", "half sent"])
def test_a_stop_does_not_wait_behind_what_the_same_client_sends_over_a_link_that_stands(n_bytes: int) -> None:
    with (
        serving("127.0.0.1:0", INFO, ABOUT) as port,
        answered_by(port, named) as came,
        proxied(port.address) as proxy,
        connected(proxy.address) as client,
    ):
        proxy.hold()
        errors: list[str] = []

        def push() -> None:
            try:
                client.request("push", blob=bytes(n_bytes), timeout_s=4.0)
            except NervehandError as error:
                errors.append(str(error))

        pushing = threading.Thread(target=push)
        pushing.start()
        until(lambda: client._asked, "it is on its way")
        time.sleep(0.1)  # as far as it goes
        assert client.request("stop", timeout_s=PATIENCE_S) == {"who": "me"}
        assert pushing.is_alive()
        pushing.join()
        assert came == ["stop"]
        assert "push: no answer" in errors[0]


def test_views_go_on_while_a_request_takes_long_to_be_sent() -> None:
    with (
        serving("127.0.0.1:0", INFO, ABOUT) as port,
        proxied(port.address) as proxy,
        connected(proxy.address) as client,
    ):
        port.show("live", {"k": -1})
        until(lambda: client.newest("live"), "a view")
        proxy.hold()

        def push() -> None:
            with contextlib.suppress(LinkError):
                client.request("push", blob=bytes(15_000_000), timeout_s=3.0)

        pushing = threading.Thread(target=push)
        pushing.start()
        for k in range(25):  # longer than until the next beat
            port.show("live", {"k": k})
            time.sleep(0.1)
        until(lambda: (client.newest("live") or (0, {}))[1] == {"k": 24}, "the newest view", 0.4)
        assert pushing.is_alive()
        pushing.join()


class _Swapped:
    """The owner's socket; as it gives out half of a frame its server dies, and the decode thread shows a view."""

    def __init__(self, real: socket.socket, during: object) -> None:
        self._real, self._during = real, during

    def recv(self, n_bytes: int) -> bytes:
        assert callable(self._during)
        self._during()
        return frame({"kind": "request", "id": "half"})[:20]

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def test_a_server_that_dies_in_the_middle_of_a_request_leaves_nothing_in_the_way_of_the_next() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        real, pid = port._socket, port._face.pid

        def dies() -> None:
            os.kill(pid, signal.SIGKILL)
            until(lambda: port._face.pid != pid, "it is started again")
            port.show("live", {"a": 1})

        port._face.socket = port._socket = _Swapped(real, dies)
        assert port.requests() == []
        with answered_by(port, named), connected(port.address) as client:
            assert client.request("y", timeout_s=PATIENCE_S) == {"who": "me"}


def test_what_the_owner_does_not_understand_costs_one_server_and_no_more() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        port._reader.feed(b"no frame of a port")
        with answered_by(port, named), connected(port.address) as client:
            client.request("y", timeout_s=PATIENCE_S)
            client.request("y", timeout_s=PATIENCE_S)
        assert "started again: 1 times" in port.problem


def test_a_request_from_the_future_is_one_of_now() -> None:
    """Else it would overrule whatever is stopped until then."""
    late: list[int] = []

    def told(request: Request) -> None:
        late.append(request.asked_ns - time.monotonic_ns())
        request.answer()

    with (
        serving("127.0.0.1:0", INFO, ABOUT) as port,
        answered_by(port, told),
        connected(port.address) as client,
    ):
        header = {"kind": "request", "id": "1", "name": "arm", "arguments": {}, "left_s": 5.0}
        client._known().send(header | {"asked_ns": time.monotonic_ns() + 3_600_000_000_000})
        until(lambda: late, "it is heard")
    assert late[0] <= 0
