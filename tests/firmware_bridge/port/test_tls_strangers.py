"""A port with TLS and those who do not speak it, or begin and do not go on: none takes it away from the others."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port import Port, PortClient, own_tls_files, serving
from firmware_bridge.port.face import MOST_CLIENTS, MOST_STRANGERS
from firmware_bridge.port.face_client import GREETING_S, HELLO_S, MOST_STRANGER_BYTES
from firmware_bridge.port.greeting import admitted, answer_to, challenge, first_word, require_server
from firmware_bridge.port.link import Link
from firmware_bridge.port.tls import client_context, server_context
from firmware_bridge.port.wire import HEAD, FrameReader
from tests.firmware_bridge.port.serving_rig import ABOUT, INFO, PATIENCE_S, answered_by, until

HERE, ELSEWHERE = "sha256:" + "11" * 32, "sha256:" + "22" * 32
TOKEN = "00ff" * 16


@contextlib.contextmanager
def secret() -> Iterator[Port]:
    with serving("127.0.0.1:0", INFO, ABOUT, tls=own_tls_files()) as port:
        yield port


def pair(address: str) -> tuple[str, int]:
    host, _, number = address.rpartition(":")
    return host, int(number)


def stranger_at(port: Port) -> socket.socket:
    stranger = socket.create_connection(pair(port.address), 5)
    stranger.settimeout(PATIENCE_S)
    return stranger


def heard_by(stranger: socket.socket) -> bytes:
    """What it hears until it is cut off."""
    heard = b""
    with contextlib.suppress(OSError):
        while received := stranger.recv(4096):
            heard += received
    return heard


def words_in(heard: bytes) -> dict[str, object]:
    reader = FrameReader()
    reader.feed(heard)
    (frame,) = reader.frames()
    return frame.header


def tells(port: Port, client: PortClient) -> None:
    """The port serves whoever else is there, by the same server and over the same link."""
    before = client.newest("live")
    port.show("live", {"at": time.monotonic_ns()})
    until(lambda: client.newest("live") != before, "the other client is served")
    assert (client.lost, port.problem) == (0, "")


@pytest.mark.parametrize("word", [b"GET / HTTP/1.1\r\n\r\n", b"NHP1", b"\0" * 100_000, b""])
def test_plain_text_is_told_what_is_spoken_and_cut_off(word: bytes) -> None:
    with secret() as port, PortClient(port.address) as client:
        client.connect(PATIENCE_S)
        with stranger_at(port) as stranger:
            began_s = time.monotonic()
            with contextlib.suppress(OSError):
                stranger.sendall(word)
            said = words_in(heard_by(stranger))
            took_s = time.monotonic() - began_s
        assert "speaks TLS" in str(said["error"])
        assert said["version"] != 1  # so that a client of before says at least this
        assert "challenge" not in said
        assert took_s < (HELLO_S - 0.2 if word else GREETING_S - 1)
        tells(port, client)


def test_who_begins_tls_and_does_not_go_on_is_cut_off_in_time() -> None:
    begun = b"\x16\x03\x01\x02\x00\x01"
    with secret() as port, PortClient(port.address) as client:
        client.connect(PATIENCE_S)
        with stranger_at(port) as stranger:
            stranger.sendall(begun)
            began_s = time.monotonic()
            assert heard_by(stranger) == b""
            assert GREETING_S - 1 < time.monotonic() - began_s < PATIENCE_S
        tells(port, client)


def test_handshakes_that_stall_lock_nobody_out() -> None:
    with secret() as port, contextlib.ExitStack() as opened:
        for _ in range(2 * MOST_STRANGERS):
            stranger = opened.enter_context(stranger_at(port))
            stranger.sendall(b"\x16\x03\x01\x02\x00")
        with answered_by(port, lambda request: request.answer()), PortClient(port.address) as client:
            client.connect(PATIENCE_S)
            client.request("stop", timeout_s=PATIENCE_S)


@pytest.mark.parametrize(
    "nonsense",
    [b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x03\xff\xff" + bytes(70_000), b"\x15\x03\x03\x00\x02\x02\x28"],
    ids=["no hello", "a record that is too long", "an alert"],
)
def test_nonsense_within_tls_ends_that_client_alone(nonsense: bytes) -> None:
    with secret() as port, PortClient(port.address) as client:
        client.connect(PATIENCE_S)
        with stranger_at(port) as stranger:
            with contextlib.suppress(OSError):
                stranger.sendall(nonsense)
            began_s = time.monotonic()
            assert b"port" not in heard_by(stranger)
            assert time.monotonic() - began_s < GREETING_S - 1
        tells(port, client)


@contextlib.contextmanager
def over_tls(port: Port) -> Iterator[ssl.SSLSocket]:
    """A stranger that has got as far as everybody may: behind the handshake."""
    with client_context().wrap_socket(stranger_at(port)) as stranger:
        yield stranger


def test_behind_the_handshake_a_stranger_is_told_nothing_of_what_runs() -> None:
    with secret() as port, over_tls(port) as stranger:
        stranger.sendall(HEAD.pack(b"NHP1", 16, 0) + b'{"kind":"views"}')
        heard = heard_by(stranger)
    assert b"challenge" in heard
    assert b'"ok":false' in heard
    assert b"median" not in heard


def test_a_stranger_who_sends_no_end_of_a_first_word_is_cut_off() -> None:
    length = 131_000  # which TLS itself would still take
    hello = b"\x01" + length.to_bytes(3, "big") + b"\x03\x03" + bytes(length - 2)
    records = (hello[at : at + 16_000] for at in range(0, 120_000, 16_000))
    with secret() as port, PortClient(port.address) as client, stranger_at(port) as stranger:
        client.connect(PATIENCE_S)
        began_s = time.monotonic()
        with contextlib.suppress(OSError):
            for record in records:
                stranger.sendall(b"\x16\x03\x01" + len(record).to_bytes(2, "big") + record)
                time.sleep(0.02)
        heard_by(stranger)
        assert time.monotonic() - began_s < GREETING_S - 1
        assert MOST_STRANGER_BYTES < 100_000
        tells(port, client)


@pytest.mark.parametrize("is_secret", [True, False])
def test_one_client_too_many_is_told_so(is_secret: bool) -> None:
    tls = own_tls_files() if is_secret else None
    with serving("127.0.0.1:0", INFO, ABOUT, tls=tls) as port, contextlib.ExitStack() as opened:
        token = " ".join(port.token_path.read_text().split())
        for k in range(MOST_CLIENTS):
            opened.callback(Link(port.address, token, f"client {k}", PATIENCE_S).close)
        for _ in range(20):
            with pytest.raises(NervehandError, match=f"{MOST_CLIENTS} clients are connected"):
                Link(port.address, token, "one more", PATIENCE_S)


def test_a_proof_made_for_one_certificate_is_none_for_another_or_for_plain_text() -> None:
    """Whoever sits between two sides, each of which takes him for the other, cannot pass their proofs on."""
    theirs, ours = challenge(), challenge()
    first = first_word(theirs)
    for made_for, taken_at in ((ELSEWHERE, HERE), ("", HERE), (HERE, "")):
        answer = answer_to(first, TOKEN, ours, "me", made_for)
        with pytest.raises(NervehandError, match="token is not the one"):
            admitted(answer, TOKEN, theirs, taken_at)
        right = answer_to(first, TOKEN, ours, "me", taken_at)
        server_proof, _ = admitted(right, TOKEN, theirs, taken_at)
        with pytest.raises(LinkError, match="does not know the token"):
            require_server({"ok": True, "proof": server_proof}, TOKEN, ours, first, made_for)


def test_who_ends_tls_in_the_middle_with_a_certificate_of_his_own_gets_no_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with secret() as port:
        token = port.token_path.read_text()
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody else"))
        context = server_context(own_tls_files().certificate)
        heard = bytearray()
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def between() -> None:
                there, _ = listener.accept()
                with contextlib.suppress(OSError), context.wrap_socket(there, server_side=True) as ended:
                    ended.sendall(struct.pack("<4sII", b"NHP1", 2, 0) + b"{}")
                    heard.extend(heard_by(ended))

            thread = threading.Thread(target=between)
            thread.start()
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises(LinkError, match=f"another certificate: .*, not {port.fingerprint}"):
                Link(address, token, "me", PATIENCE_S)
            thread.join()
    assert heard == b""


def test_what_a_stranger_says_is_shown_without_what_a_terminal_would_obey() -> None:
    word = {"ok": False, "error": "\x1b]0;gone\x07" + "x" * 5000}
    with pytest.raises(LinkError) as refusal:
        answer_to(word, TOKEN, challenge(), "me")
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) <= 500
