"""A port that is served: views, samples and requests over real sockets, and a server that is a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port import PortClient, Request, owner, running, serving
from firmware_bridge.port.blocks import decoded_blocks
from firmware_bridge.port.entries import own_token, token_for
from firmware_bridge.port.link import Link
from firmware_bridge.port.wire import MAGIC
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.firmware_bridge.port.proxy import proxied
from tests.firmware_bridge.port.serving_rig import (
    ABOUT,
    INFO,
    PATIENCE_S,
    answered_by,
    block,
    until,
    values,
)


@contextlib.contextmanager
def connected(address: str, who: str = "me"):
    client = PortClient(address, who=who)
    client.connect(PATIENCE_S)
    try:
        yield client
    finally:
        client.close()


@dataclasses.dataclass(frozen=True)
class View:
    positions: tuple[float, ...]
    state: str


def samples_of(link: Link, n: int) -> list[SignalBlock]:
    """The blocks of a subscription, until so many samples have come."""
    found: list[SignalBlock] = []
    end_s = time.monotonic() + PATIENCE_S
    while sum(one.n_samples + one.lost_before for one in found) < n:
        assert time.monotonic() < end_s, f"{sum(one.n_samples for one in found)} of {n} samples came"
        for frame in link.receive(0.1):
            if frame.header["kind"] == "samples":
                found += decoded_blocks(frame)
    return found


def own_memory_kb(pid: int) -> int:
    """What a process has for itself, the ring that it shares left out."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


def subscribed(address: str, first: int | None = None) -> Link:
    link = Link(address, token_for(address), "me", PATIENCE_S)
    link.send({"kind": "samples", "stream": link.stream, "from": first})
    return link


def test_a_client_learns_what_runs_and_what_its_stream_is() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port, connected(port.address) as client:
        assert client.info == INFO
        assert client.about == ABOUT
        assert client.is_connected


def test_the_newest_view_of_each_topic_arrives_and_its_number_grows() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port, connected(port.address) as client:
        assert client.newest("live") is None
        port.show("other", {"a": [1, None]})
        for i in range(200):
            port.show("live", View((i / 4,), "armed"))
        until(lambda: (client.newest("live") or (0,))[0] == 200, "the newest view")
        assert client.newest("live") == (200, {"positions": [49.75], "state": "armed"})
        assert client.newest("other") == (1, {"a": [1, None]})


def test_a_client_that_comes_later_gets_what_was_shown_before() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        port.show("live", {"a": 1})
        with connected(port.address) as client:
            until(lambda: client.newest("live") == (1, {"a": 1}), "the view of before")


def test_a_view_that_is_too_long_is_said_and_does_not_stop_the_owner() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        port.show("live", {"a": "x" * (65 << 20)})
        assert "live is not shown" in port.problem


def test_a_block_that_is_too_large_is_said_and_does_not_stop_the_owner() -> None:
    small = StreamInfo(250.0, ("a",), "nerve")
    with serving("127.0.0.1:0", small, ABOUT) as port:
        port.samples(SignalBlock(np.zeros((300_000, 1), np.float32), 0))
        assert "samples are not shown: a block of 1200000 bytes" in port.problem


def test_a_request_is_answered_in_the_owners_words() -> None:
    def answer(request: Request) -> None:
        if request.name == "double":
            request.answer(
                {"twice": 2 * int(str(request.arguments["n"])), "who": request.who, "n": len(request.blob)}
            )
        else:
            request.refuse(f"there is no {request.name}")

    with (
        serving("127.0.0.1:0", INFO, ABOUT) as port,
        answered_by(port, answer),
        connected(port.address, "somebody") as client,
    ):
        assert client.request("double", {"n": 21}, b"x" * 3_000_000) == {
            "twice": 42,
            "who": "somebody",
            "n": 3_000_000,
        }
        with pytest.raises(NervehandError, match="there is no thing"):
            client.request("thing")


def test_a_request_that_nobody_answers_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port, connected(port.address) as client:
        with pytest.raises(LinkError, match="stop: no answer"):
            client.request("stop", timeout_s=0.3)
        with pytest.raises(LinkError, match="arm: no answer"):
            client.request("arm", timeout_s=0.3)
        # What nobody waits for is not carried out any more, but a stop is.
        later = SimpleNamespace(monotonic_ns=lambda: time.monotonic_ns() + 3600 * 10**9, sleep=time.sleep)
        monkeypatch.setattr(owner, "time", later)
        came: list[str] = []
        until(lambda: came.extend(one.name for one in port.requests()) or len(port._settled) == 2, "both")
        assert came == ["stop"]


def test_answers_find_whoever_asked_among_many() -> None:
    def answer(request: Request) -> None:
        request.answer({"you": request.who, "n": request.arguments["n"]})

    with serving("127.0.0.1:0", INFO, ABOUT) as port, answered_by(port, answer):
        wrong: list[object] = []

        def ask(name: str) -> None:
            with connected(port.address, name) as client:
                for n in range(20):
                    found = client.request("who", {"n": n}, timeout_s=PATIENCE_S)
                    if found != {"you": name, "n": n}:
                        wrong.append(found)

        threads = [threading.Thread(target=ask, args=(f"client {i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_over_links_that_are_cut_all_the_time_each_request_is_carried_out_once() -> None:
    done: list[object] = []

    def answer(request: Request) -> None:
        done.append(request.arguments["n"])
        request.answer({"n": request.arguments["n"]})

    with (
        serving("127.0.0.1:0", INFO, ABOUT) as port,
        answered_by(port, answer),
        proxied(port.address) as proxy,
        connected(proxy.address) as client,
    ):
        for n in range(30):
            proxy.budget = (
                7 * n
            ) % 150 + 1  # so many bytes on, the link is cut: before, in or after the answer
            assert client.request("do", {"n": n}, b"b" * 5000, timeout_s=PATIENCE_S) == {"n": n}
        assert proxy.cuts > 10
        assert client.lost > 5
    assert done == list(range(30))


def test_a_link_that_is_cut_while_the_two_sides_greet_is_made_again() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port, proxied(port.address) as proxy:
        proxy.budget = 60  # in the middle of the challenge
        with connected(proxy.address) as client:
            assert client.info == INFO
        assert proxy.cuts == 1


def test_samples_come_whole_to_everybody_who_takes_them() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        links = [subscribed(port.address, 0) for _ in range(5)]
        for first in range(0, 3000, 7):
            port.samples(block(first, 7, digital=np.arange(first, first + 7, dtype=np.uint32)))
        for link in links:
            found = samples_of(link, 3000)
            np.testing.assert_array_equal(np.concatenate([one.samples for one in found]), values(0, 3003))
            np.testing.assert_array_equal(np.concatenate([one.digital for one in found]), np.arange(3003))
            assert all(one.lost_before == 0 for one in found)
            link.close()


def test_what_the_owner_has_lost_is_said_to_the_client() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        link = subscribed(port.address)
        until(lambda: not link.receive(0.05), "quiet")
        port.samples(block(100, 10))
        port.samples(block(115, 10, lost_before=5))
        found = samples_of(link, 25)
        assert [(one.first_sample, one.lost_before) for one in found] == [(100, 0), (115, 5)]
        link.close()


def test_a_client_that_reads_nothing_costs_the_owner_and_the_others_nothing() -> None:
    wide = StreamInfo(30_000.0, tuple(map(str, range(64))), "nerve")
    with serving("127.0.0.1:0", wide, ABOUT) as port:
        lazy = subscribed(port.address, 0)
        lazy.send({"kind": "views"})
        until(lambda: not lazy.receive(0.05), "it is quiet")
        at_first_kb = own_memory_kb(port._face.pid)
        with contextlib.closing(subscribed(port.address, 0)) as busy:
            longest_s = 0.0
            total = 6000
            taken: list[SignalBlock] = []
            taker = threading.Thread(target=lambda: taken.extend(samples_of(busy, total * 60)))
            taker.start()
            for i in range(total):
                one = SignalBlock(np.full((60, 64), i, np.int16), 60 * i)
                port.show("live", {"i": i})
                began_s = time.thread_time()
                port.samples(one)
                longest_s = max(longest_s, time.thread_time() - began_s)
                time.sleep(0.0005)
            taker.join()
            assert sum(one.n_samples for one in taken) == total * 60
            assert all(one.lost_before == 0 for one in taken)
            assert longest_s < 0.05
            assert (
                own_memory_kb(port._face.pid) - at_first_kb < 20_000
            )  # what it does not read is kept nowhere
        lazy.close()


def test_a_client_that_was_overtaken_is_told_how_much_it_lost() -> None:
    small = StreamInfo(250.0, ("a",), "nerve")  # the least ring: 1 MiB
    with serving("127.0.0.1:0", small, ABOUT) as port:
        link = subscribed(port.address, 0)
        port.samples(SignalBlock(np.zeros((10, 1), np.float32), 0))
        assert samples_of(link, 10)[0].n_samples == 10
        n = 4000
        total = 10
        for _ in range(3000):  # 48 MB, which is more than sockets hold
            port.samples(SignalBlock(np.full((n, 1), total, np.float32), total))
            total += n
        found = samples_of(link, total - 10)
        assert sum(one.lost_before for one in found) > 1 << 20
        expected = 10
        for one in found:
            assert one.first_sample == expected + one.lost_before
            expected = one.first_sample + one.n_samples
        assert expected == total
        link.close()


def test_a_server_that_is_killed_is_started_again_and_nothing_is_lost() -> None:
    def answer(request: Request) -> None:
        request.answer({"pid": 1})

    with (
        serving("127.0.0.1:0", INFO, ABOUT) as port,
        answered_by(port, answer),
        connected(port.address) as client,
    ):
        port.show("live", {"a": 1})
        until(lambda: client.newest("live"), "a view")
        port.samples(block(0, 10))
        address = port.address
        os.kill(port._face.pid, signal.SIGKILL)
        port.samples(block(10, 10))
        port.show("live", {"a": 2})
        until(lambda: client.newest("live") == (2, {"a": 2}), "the view after it")
        assert client.request("x", timeout_s=PATIENCE_S) == {"pid": 1}
        assert "ended by itself (signal 9), and was started again" in port.problem
        assert (client.lost, port.address) == (1, address)
        link = subscribed(port.address, 0)
        np.testing.assert_array_equal(
            np.concatenate([one.samples for one in samples_of(link, 20)]), values(0, 20)
        )
        link.close()


def test_a_client_comes_back_by_itself_when_the_port_is_served_anew() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        address = port.address
        client = PortClient(address, who="me")
        client.connect(PATIENCE_S)
        for _ in range(3):
            port.show("live", {"a": 1})
        until(lambda: client.newest("live"), "a view")
    until(lambda: not client.is_connected, "the end is noticed")
    with pytest.raises(LinkError, match="no answer"):
        client.request("x", timeout_s=0.2)
    before = client.newest("live")
    with serving(address, INFO, {"kind": "run", "title": "another"}) as port:
        port.show("live", {"a": 2})
        until(lambda: client.newest("live")[1] == {"a": 2}, "the view of the new one")
        assert client.newest("live")[0] > before[0]
        assert client.about["title"] == "another"
    client.close()


def test_a_port_is_found_while_it_is_served_and_its_token_is_its_users_alone() -> None:
    assert running() == ()
    with serving("127.0.0.1:0", INFO, ABOUT, name="left hand") as port:
        (entry,) = running()
        assert (entry.address, entry.name, entry.about, entry.pid) == (
            port.address,
            "left hand",
            ABOUT,
            os.getpid(),
        )
        assert stat.S_IMODE(entry.token_path.stat().st_mode) == 0o600
        assert len(bytes.fromhex(entry.token_path.read_text().strip())) == 32
    assert running() == ()


def test_what_a_killed_owner_left_behind_is_passed_over(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from firmware_bridge.port import serving\n"
        "from tests.firmware_bridge.port.serving_rig import ABOUT, INFO\n"
        "with serving('127.0.0.1:0', INFO, ABOUT) as port:\n"
        "    print(port.address, port._face.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        address, face = owner.stdout.readline().split()
        until(lambda: len(running()) == 1, "the port is found")
        owner.kill()
    until(
        lambda: not Path(f"/proc/{face}").exists() or _is_zombie(int(face)), "the server ends with its owner"
    )
    assert running() == ()
    assert list(Path(os.environ["XDG_RUNTIME_DIR"]).glob("nervehand/port-*.json"))
    with pytest.raises(LinkError, match="nothing answers"):
        PortClient(address).connect(5)


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_a_wrong_token_is_refused_and_no_token_ever_crosses_the_wire() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port, proxied(port.address) as proxy:
        token, _ = own_token()
        with pytest.raises(NervehandError, match="token is not the one of this port"):
            PortClient(proxy.address, "ab" * 32).connect(PATIENCE_S)
        client = PortClient(proxy.address, token, "me")
        client.connect(PATIENCE_S)
        client.close()
        assert token.encode() not in proxy.seen
        assert b"challenge" in proxy.seen


def test_a_token_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        monkeypatch.setenv("NERVEHAND_PORT_TOKEN", "cd" * 32)
        with pytest.raises(NervehandError, match="token is not the one"):
            PortClient(port.address).connect(PATIENCE_S)


def test_who_has_not_shown_the_token_is_told_nothing_of_what_runs() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        port.show("live", {"secret": 1})
        port.samples(block(0, 5))
        with socket.create_connection(_pair(port.address), 5) as stranger:
            stranger.sendall(_frame({"kind": "views"}))
            heard = _all(stranger)
    assert b"secret" not in heard
    assert b"median" not in heard
    assert b"version" in heard  # the greeting, and why it was cut


def test_nonsense_is_cut_off_with_a_word_and_the_others_stay() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port, connected(port.address) as client:
        for nonsense in (
            b"GET / HTTP/1.1\r\n\r\n" * 10_000,
            b"\0" * 50,
            struct.pack("<4sII", MAGIC, 1 << 30, 0),
        ):
            with socket.create_connection(_pair(port.address), 5) as stranger:
                with contextlib.suppress(OSError):
                    stranger.sendall(nonsense)
                assert b'"ok":false,"error"' in _all(stranger)
        for header in (
            {"kind": "samples", "from": "x"},
            {"kind": "what"},
            {},
            {"kind": "request", "id": "1", "name": "x", "arguments": [], "left_s": 1},
            {"kind": "request", "id": "1", "name": "x", "arguments": {}, "left_s": -1},
        ):
            link = Link(port.address, token_for(port.address), "me", PATIENCE_S)
            stream = {"stream": link.stream} if header.get("kind") == "samples" else {}
            link.send(header | stream)
            with pytest.raises(LinkError, match=r"give|known"):
                until(lambda link=link: link.receive(0.1) and False, "it is cut off")
            link.close()
        port.show("live", {"a": 1})
        until(lambda: client.newest("live"), "the other client is served all the same")
        assert client.lost == 0


def test_another_program_at_the_address_is_told_apart_from_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"

        def answer(text: bytes) -> None:
            there, _ = other.accept()
            with there:
                there.sendall(text)
                time.sleep(0.2)

        for text, why in ((b"SSH-2.0-OpenSSH_9.2\r\n", "no frame of a port"), (b"", "closed|says nothing")):
            thread = threading.Thread(target=answer, args=(text,))
            thread.start()
            with pytest.raises(LinkError, match=why):
                Link(address, "ab" * 32, "me", 5)
            thread.join()


def test_nothing_at_the_address_is_said_in_a_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
    with pytest.raises(LinkError, match=r"nothing answers at port 127\.0\.0\.1"):
        Link(f"127.0.0.1:{number}", "ab", "me", 5)


@pytest.mark.parametrize("where", ["127.0.0.1", "127.0.0.1:99999", "nonsense.invalid:1", "127.0.0.1:x"])
def test_an_address_that_is_none_is_refused(where: str) -> None:
    with pytest.raises(NervehandError), serving(where, INFO, ABOUT):
        pass


def test_an_address_in_use_is_said() -> None:
    with (
        serving("127.0.0.1:0", INFO, ABOUT) as port,
        pytest.raises(NervehandError, match="cannot be served"),
        serving(port.address, INFO, ABOUT),
    ):
        pass


def test_without_a_host_it_is_served_on_the_loopback_alone() -> None:
    with serving(":0", INFO, ABOUT) as port:
        assert port.address.startswith("127.0.0.1:")


def test_what_is_said_of_a_port_is_plain_and_short() -> None:
    with pytest.raises(NervehandError, match="plain JSON"), serving(":0", INFO, {"a": object()}):
        pass
    with pytest.raises(NervehandError, match="at most 16384"), serving(":0", INFO, {"a": "x" * 20_000}):
        pass


def test_the_server_loads_nothing_heavy() -> None:
    code = "import sys, firmware_bridge.port.face; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numba", "onnxruntime", "h5py", "torch", "scipy", "pydantic", "nicegui", "pynwb"}
    assert set(done.stdout.split()) & heavy == set()


def _pair(address: str) -> tuple[str, int]:
    host, _, number = address.rpartition(":")
    return host, int(number)


def _frame(header: dict[str, object]) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<4sII", MAGIC, len(text), 0) + text


def _all(there: socket.socket) -> bytes:
    """What it says until it closes."""
    heard = b""
    with contextlib.suppress(OSError):
        while received := there.recv(4096):
            heard += received
    return heard
