"""A port that speaks TLS: everything as without it, and nothing of it to be read on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port import Port, PortClient, Request, own_tls_files, running, serving, tls
from firmware_bridge.port.entries import own_token, token_for
from firmware_bridge.port.greeting import first_word
from firmware_bridge.port.link import Link
from firmware_bridge.port.tls import TlsChannel, client_context, server_context
from firmware_bridge.port.wire import MAGIC, encoded
from firmware_bridge.sources.port import PortDevice
from tests.firmware_bridge.port.proxy import proxied
from tests.firmware_bridge.port.serving_rig import ABOUT, INFO, PATIENCE_S, answered_by, block, until
from tests.firmware_bridge.port.test_port_source import Sending, Taking, assert_exact, supervised

ELSE = "sha256:" + "00" * 32


@contextlib.contextmanager
def secret(where: str = "127.0.0.1:0") -> Iterator[Port]:
    with serving(where, INFO, ABOUT, tls=own_tls_files()) as port:
        yield port


@contextlib.contextmanager
def connected(address: str, token: str | None = None) -> Iterator[PortClient]:
    with PortClient(address, token, "me") as client:
        client.connect(PATIENCE_S)
        yield client


def shown(port: Port) -> str:
    """What a client of another machine has: the text of the file that was copied."""
    return port.token_path.read_text()


def length(request: Request) -> None:
    request.answer({"n": len(request.blob), "who": request.who})


def test_views_requests_and_samples_pass_and_none_of_it_can_be_read_on_the_way() -> None:
    with (
        secret() as port,
        answered_by(port, length),
        proxied(port.address) as proxy,
        connected(proxy.address, shown(port)) as client,
    ):
        assert (client.info, client.about) == (INFO, ABOUT)
        assert client.request("push", {}, b"\x5a" * 3_000_000) == {"n": 3_000_000, "who": "me"}
        port.show("live", {"positions": [0.25]})
        until(lambda: client.newest("live") == (1, {"positions": [0.25]}), "the view")
        port.samples(block(0, 10))
        for readable in (MAGIC, b"challenge", b"proof", b"median", b"positions", b"\x5a" * 16):
            assert readable not in proxy.seen
        assert len(proxy.seen) > 100_000


def test_its_clients_on_this_machine_find_what_they_need_by_themselves() -> None:
    with secret() as port, connected(port.address) as client:
        assert client.info == INFO
        (entry,) = running()
        assert (entry.address, entry.fingerprint) == (port.address, port.fingerprint)
        assert token_for(port.address) == " ".join(shown(port).split())
        with serving("127.0.0.1:0", INFO, ABOUT) as plain:
            assert token_for(plain.address) == own_token()[0]
            assert {one.address for one in running()} == {port.address, plain.address}


def test_where_it_is_served_and_what_another_machine_needs_is_announced() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as plain:
        assert plain.announcement == f"served at port:{plain.address}"
    with secret() as port:
        for part in (port.address, port.fingerprint, str(port.token_path)):
            assert part in port.announcement
        assert shown(port).split()[0] not in port.announcement


def test_links_that_are_cut_anywhere_lose_and_repeat_no_sample() -> None:
    with secret() as port, proxied(port.address) as proxy, Sending(port):
        source, events = supervised(proxy.address, shown(port))
        with Taking(source) as taking:
            for budget in (1, 5, 300, 777, 1500, 4000, 9999):  # the shorter ones in the middle of a handshake
                until(lambda: taking.blocks, "the first block")
                have = taking.n_samples
                proxy.budget = budget
                until(lambda have=have: proxy.budget is None and taking.n_samples > have + 50, "it goes on")
        assert taking.error is None
        assert_exact(taking.blocks)
        assert [event.kind for event in events].count("lost") >= 7
        assert source.counters.lost_samples == source.counters.repeated_samples == 0


def test_each_request_over_links_that_are_cut_is_carried_out_once() -> None:
    done: list[object] = []

    def answer(request: Request) -> None:
        done.append(request.arguments["n"])
        request.answer({})

    with (
        secret() as port,
        answered_by(port, answer),
        proxied(port.address) as proxy,
        connected(proxy.address, shown(port)) as client,
    ):
        for n in range(15):
            proxy.budget = 7 * n % 90 + 1
            client.request("do", {"n": n}, b"b" * 5000, timeout_s=PATIENCE_S)
        assert proxy.cuts > 5
    assert done == list(range(15))


def test_a_stop_does_not_wait_behind_what_the_same_client_sends() -> None:
    with (
        secret() as port,
        answered_by(port, length),
        proxied(port.address) as proxy,
        connected(proxy.address, shown(port)) as client,
    ):
        proxy.hold()

        def push() -> None:
            with contextlib.suppress(LinkError):
                client.request("push", blob=bytes(15_000_000), timeout_s=4.0)

        pushing = threading.Thread(target=push)
        pushing.start()
        until(lambda: client._asked, "it is on its way")
        assert client.request("stop", timeout_s=PATIENCE_S)["who"] == "me"
        assert pushing.is_alive()
        pushing.join()


def test_what_a_server_that_stands_still_has_not_taken_is_not_said_to_be_sent() -> None:
    with secret() as port, contextlib.closing(Link(port.address, shown(port), "me", PATIENCE_S)) as link:
        beat = encoded({"kind": "beat"}, bytes(65_000))
        link._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        os.kill(port.server_pid, signal.SIGSTOP)
        try:

            def send() -> None:
                for _ in range(100_000):
                    link.send_encoded(beat, 0.3)
                    assert link._channel.waiting == 0

            with pytest.raises(LinkError, match="takes nothing any more"):
                send()
        finally:
            os.kill(port.server_pid, signal.SIGCONT)


def test_half_a_frame_ends_the_link() -> None:
    with secret() as port, contextlib.closing(Link(port.address, shown(port), "me", PATIENCE_S)) as link:
        os.kill(port.server_pid, signal.SIGSTOP)
        try:
            with pytest.raises(LinkError, match="takes nothing any more"):
                link.send({"kind": "beat"}, bytes(15_000_000), 0.3)
        finally:
            os.kill(port.server_pid, signal.SIGCONT)
        with pytest.raises(LinkError, match="is cut"):
            link.send({"kind": "beat"})


def test_a_server_that_is_killed_is_started_again_with_the_same_certificate() -> None:
    with secret() as port, answered_by(port, length), connected(port.address) as client:
        own_tls_files().key.unlink()  # what is served no longer depends on it
        os.kill(port.server_pid, signal.SIGKILL)
        assert client.request("x", timeout_s=PATIENCE_S)["who"] == "me"
        assert client.lost == 1


def test_another_certificate_is_refused_and_both_are_said() -> None:
    with secret() as port, pytest.raises(LinkError, match="another certificate") as refusal:
        PortClient(port.address, f"{'ab' * 32} {ELSE}").connect(PATIENCE_S)
    assert port.fingerprint in str(refusal.value)
    assert ELSE in str(refusal.value)
    assert "abab" not in str(refusal.value)


def test_a_wrong_token_is_refused_and_a_token_without_a_fingerprint_told_what_it_lacks() -> None:
    with secret() as port:
        with pytest.raises(NervehandError, match="token is not the one of this port"):
            PortClient(port.address, f"{'ab' * 32} {port.fingerprint}").connect(PATIENCE_S)
        with pytest.raises(LinkError, match="speaks TLS: give its fingerprint"):
            PortDevice(port.address, shown(port).split()[0])


class Strange:
    """A server that is no port with the certificate: it answers the first bytes by `word`, and keeps what it hears."""

    def __init__(self, word: bytes) -> None:
        self.heard = b""
        self._word = word
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        there, _ = self._listener.accept()
        with there:
            there.settimeout(PATIENCE_S)
            self.heard = there.recv(4096)
            there.sendall(self._word)
            with contextlib.suppress(OSError):
                while received := there.recv(4096):
                    self.heard += received

    def __enter__(self) -> Strange:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join(PATIENCE_S)
        self._listener.close()


def test_who_takes_tls_away_on_the_way_hears_nothing_that_depends_on_the_token() -> None:
    with Strange(encoded(first_word("00" * 32))) as strange, pytest.raises(LinkError, match="not speak TLS"):
        Link(strange.address, f"{'ab' * 32} {ELSE}", "me", PATIENCE_S)
    assert strange.heard[:2] == b"\x16\x03"  # the first word of TLS, and no other
    assert strange.heard[3:5] == (len(strange.heard) - 5).to_bytes(2, "big")
    assert b"proof" not in strange.heard


def test_a_client_with_a_fingerprint_never_falls_back_to_plain_text() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        with pytest.raises(LinkError, match="does not speak TLS"):
            PortClient(port.address, f"{own_token()[0]} {ELSE}").connect(PATIENCE_S)
        with connected(port.address, own_token()[0]) as client:
            assert client.about == ABOUT


def test_another_machine_is_not_even_connected_to_without_a_fingerprint() -> None:
    for address in ("192.0.2.1:4711", "[2001:db8::1]:4711", "nano.invalid:4711", "0.0.0.0:4711"):
        with pytest.raises(NervehandError, match="no fingerprint is given for it: copy the file"):
            Link(address, "ab" * 32, "me", 0.2)


def test_a_name_of_this_machine_that_leads_elsewhere_is_no_way_around_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Led(socket.socket):
        def getpeername(self) -> tuple[str, int]:
            return ("192.0.2.1", 4711)

    def create_connection(address: object, timeout_s: float) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.close()
        return Led(fileno=ours.detach())

    monkeypatch.setattr(socket, "create_connection", create_connection)
    with pytest.raises(NervehandError, match="no fingerprint is given for it"):
        Link("localhost:4711", "ab" * 32, "me", 1.0)


def in_memory(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both sides after a handshake; ssl.SSLError where it fails."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server),
    )
    for _ in range(4):
        for side in reversed(sides):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return sides


def own_server_context() -> ssl.SSLContext:
    return server_context(own_tls_files().certificate)


def test_nothing_older_than_tls_1_3_is_spoken_by_either_side() -> None:
    _, side = in_memory(own_server_context(), client_context())
    assert side.version() == "TLSv1.3"
    assert side.session is None or not side.session.has_ticket
    for is_old_client in (True, False):
        server, client = own_server_context(), client_context()
        old = client if is_old_client else server
        old.minimum_version = ssl.TLSVersion.TLSv1_2
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
            in_memory(server, client)


def test_nothing_is_kept_of_a_connection_that_has_ended() -> None:
    server = own_server_context()
    for _ in range(3):
        in_memory(server, client_context())
    assert server.session_stats()["number"] == 0


@contextlib.contextmanager
def channels(buffer_bytes: int = 0) -> Iterator[tuple[TlsChannel, TlsChannel]]:
    """Server and client over a pair of sockets, not yet known to each other."""
    server, client = socket.socketpair()
    with server, client:
        for one in (server, client):
            one.setblocking(False)
            if buffer_bytes:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        yield (
            TlsChannel(server, own_server_context(), is_server=True),
            TlsChannel(client, client_context(), is_server=False),
        )


def opened(server: TlsChannel, client: TlsChannel) -> None:
    while not (client.handshake() and server.is_open):
        with contextlib.suppress(BlockingIOError):
            server.receive(1 << 14)


@settings(max_examples=25, deadline=None)
@given(
    pieces=st.lists(st.integers(1, 200_000), min_size=1, max_size=6),
    most=st.integers(1, 40_000),
    buffer_bytes=st.sampled_from([2048, 16384, 0]),
)
def test_whatever_the_sizes_all_of_it_comes_in_its_order_and_nothing_stays_behind(
    pieces: list[int], most: int, buffer_bytes: int
) -> None:
    sent = np.random.default_rng(0).bytes(sum(pieces))
    with channels(buffer_bytes) as (server, client):
        opened(server, client)
        came, at = bytearray(), 0
        ends = list(np.cumsum(pieces))
        while len(came) < len(sent):
            end = next((end for end in ends if end > at), at)
            with contextlib.suppress(BlockingIOError):
                if at < end:
                    at += server.send(memoryview(sent)[at:end])
                else:
                    server.flush()
            assert server.waiting < 2 * tls.MOST_AT_ONCE
            with contextlib.suppress(BlockingIOError):
                came += client.receive(most)
            assert client._incoming.pending == client._tls.pending() == 0
        assert came == sent


def test_before_the_handshake_is_over_nothing_is_sent_and_who_closes_is_heard_of() -> None:
    with channels() as (server, client):
        for one in (server, client):
            with pytest.raises(BlockingIOError):
                one.send(memoryview(b"x"))
        with pytest.raises(BlockingIOError):
            server.receive(100)
        opened(server, client)
        assert client.peer == tls.fingerprint_of(
            ssl.PEM_cert_to_DER_cert(
                own_tls_files().certificate.read_text().partition("KEY-----\n")[2].partition("KEY-----\n")[2]
            )
        )
        client.socket.close()
        assert server.receive(100) == b""


def test_what_a_full_socket_does_not_take_is_not_taken_from_the_sender() -> None:
    with channels(2048) as (server, client):
        opened(server, client)
        with contextlib.suppress(BlockingIOError):
            while True:
                server.socket.send(bytes(512))
        with pytest.raises(BlockingIOError):
            server.send(memoryview(b"stop"))
        assert server.waiting == 0


def test_one_changed_byte_ends_the_channel() -> None:
    with channels() as (server, client):
        opened(server, client)
        client.send(memoryview(b"stop"))
        record = bytearray(server.socket.recv(4096))
        record[-1] ^= 1
        client.socket.send(record)
        with pytest.raises(OSError, match=r"(?i)bad.record.mac"):
            server.receive(4096)


def test_who_reads_nothing_makes_nobody_keep_more_than_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "MOST_WAITING", 1000)
    with channels(2048) as (server, client):
        opened(server, client)
        with pytest.raises(ConnectionAbortedError, match="takes nothing"):
            server.send(memoryview(bytes(50_000)))


def test_without_tls_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys, firmware_bridge.port, firmware_bridge.port.face, firmware_bridge.sources.port\n"
        "print(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"ssl", "cryptography", "firmware_bridge.port.tls"} == set()


def test_a_server_with_tls_loads_no_maker_of_certificates() -> None:
    with secret() as port:
        mapped = Path(f"/proc/{port.server_pid}/maps")
        with connected(port.address):
            assert "cryptography" not in mapped.read_text()
            assert "_ssl" in mapped.read_text()
