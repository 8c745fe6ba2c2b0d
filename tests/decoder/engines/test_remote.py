"""An engine in another process answers as it would here; what hangs, dies or says nonsense is one clear error."""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.stepgraph import build_step_graph
from decoder import engines
from decoder.chain import DecodeChain
from decoder.engines import remote as remote_module
from decoder.engines import tensorrt_server as wire
from decoder.engines.onnx_runtime import OnnxRuntimeEngine
from decoder.engines.remote import SERVER, RemoteEngine, RemoteTimes
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock, StreamInfo
from tests.bundles import random_bundle
from tests.decoder.engines.test_engines import STEP_GRAPH, Z, network

PATIENT = RemoteTimes(call_s=60.0)
"""For a machine that does other things too."""
PYTHON36 = os.environ.get("NERVEHAND_PYTHON36", "")


@pytest.fixture
def engine() -> Iterator[RemoteEngine]:
    with RemoteEngine(STEP_GRAPH, "onnxruntime", times=PATIENT) as started:
        yield started


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def fails(engine: RemoteEngine, match: str) -> None:
    """This call, and every later one of any kind, with one line."""
    with pytest.raises(NervehandError, match=match) as caught:
        engine.process(Z)
    assert "\n" not in str(caught.value)
    for call in (engine.reset, engine.state, lambda: engine.process(Z[:1])):
        with pytest.raises(NervehandError, match=match):
            call()


def test_it_says_who_answers(engine: RemoteEngine) -> None:
    import onnxruntime

    assert engine.about.backend == f"onnxruntime {onnxruntime.__version__}"
    assert engine.about.python == ".".join(map(str, sys.version_info[:3]))
    assert engine.shape == OnnxRuntimeEngine(STEP_GRAPH).shape


def test_it_answers_as_the_same_runtime_in_this_process(engine: RemoteEngine) -> None:
    here = OnnxRuntimeEngine(STEP_GRAPH)
    for ours, theirs in zip(engine.process(Z), here.process(Z), strict=True):
        assert np.abs(ours - theirs).max() < 1e-6
    for mine, other in zip(engine.state(), here.state(), strict=True):
        assert np.abs(mine - other).max() < 1e-6


def test_a_long_run_goes_in_pieces_and_gives_the_same_bits(
    engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = engine.process(Z)
    engine.reset()
    monkeypatch.setattr(remote_module, "MOST_HOPS", 7)
    for a, b in zip(engine.process(Z), whole, strict=True):
        assert a.tobytes() == b.tobytes()
    bad = Z.copy()
    bad[20] = np.nan
    engine.reset()
    assert len(engine.process(bad)[0]) == 21


def test_no_hop_is_no_answer(engine: RemoteEngine) -> None:
    outputs, probabilities = engine.process(Z[:0])
    assert outputs.shape == (0, 2)
    assert probabilities.shape == (0, 3)


def test_features_of_another_width_are_refused_here(engine: RemoteEngine) -> None:
    with pytest.raises(ValueError, match="for a step graph of 4 features"):
        engine.process(Z[:, :3])
    assert len(engine.process(Z)[0]) == len(Z)  # nothing was broken by it


def test_a_server_that_hangs_is_an_error_within_its_time_and_is_ended() -> None:
    engine = RemoteEngine(STEP_GRAPH, "onnxruntime", times=RemoteTimes(call_s=0.2, hop_s=0.001))
    os.kill(engine.about.pid, signal.SIGSTOP)
    fails(engine, r"did not answer within 0\.25 s")
    assert is_gone(engine.about.pid)


def test_a_server_that_is_killed_in_the_middle_of_a_call_is_an_error(engine: RemoteEngine) -> None:
    os.kill(engine.about.pid, signal.SIGSTOP)  # it has the call, and will not come to answer it
    said: list[BaseException] = []

    def call() -> None:
        try:
            engine.process(Z)
        except NervehandError as error:
            said.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    os.kill(engine.about.pid, signal.SIGKILL)
    caller.join(30)
    assert not caller.is_alive()
    assert "was ended by signal 9" in str(said[0])
    fails(engine, "was ended by signal 9")


def test_a_decode_chain_ends_with_that_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the chain ends with it; the guard then does what is safe."""
    info = StreamInfo(5000.0, ("a", "b"), "nerve", ("a", "b"), full_scale_uv=6390.0)
    noise = np.random.default_rng(0).normal(0, 50, (10_000, 2)).astype(np.float32)
    bundle = random_bundle(info, noise)
    started: list[RemoteEngine] = []

    def load(step_graph: bytes, *_: object) -> RemoteEngine:
        started.append(RemoteEngine(step_graph, "onnxruntime", times=PATIENT))
        return started[-1]

    monkeypatch.setattr(engines, "load", load)
    chain = DecodeChain(bundle, info)
    assert len(chain.process(SignalBlock(noise, 0))) > 50
    os.kill(started[0].about.pid, signal.SIGKILL)
    with pytest.raises(NervehandError, match="was ended by signal 9: start again, or choose another engine"):
        chain.process(SignalBlock(noise, len(noise)))


def test_a_closed_engine_says_so_and_its_process_is_gone(engine: RemoteEngine) -> None:
    engine.close()
    assert is_gone(engine.about.pid)
    fails(engine, "was closed")


def test_an_engine_that_nobody_holds_ends_its_process() -> None:
    engine = RemoteEngine(STEP_GRAPH, "onnxruntime")
    pid = engine.about.pid
    del engine
    gc.collect()
    assert is_gone(pid)


def test_an_interpreter_that_is_not_there_is_named() -> None:
    with pytest.raises(NervehandError, match=r"/nowhere/python3: No such file"):
        RemoteEngine(STEP_GRAPH, "onnxruntime", python="/nowhere/python3")


def test_an_interpreter_that_cannot_run_the_server_is_an_error() -> None:
    with pytest.raises(NervehandError, match="ended with status 1"):
        RemoteEngine(STEP_GRAPH, "onnxruntime", python="/bin/false")


def test_a_model_that_is_none_is_the_backend_s_own_word_in_one_line() -> None:
    with pytest.raises(NervehandError, match="says ") as caught:
        RemoteEngine(b"no model", "onnxruntime")
    assert "\n" not in str(caught.value)


def test_tensorrt_that_is_not_installed_is_said() -> None:
    with pytest.raises(NervehandError, match="No module named 'tensorrt'"):
        RemoteEngine(b"plan", "tensorrt")


def test_a_model_of_another_kind_is_refused() -> None:
    import onnx

    model = onnx.load_model_from_string(STEP_GRAPH)
    for node in model.graph.node:
        for i, name in enumerate(node.output):
            if name == "probabilities":
                node.output[i] = "likelihoods"
    model.graph.output[1].name = "likelihoods"
    with pytest.raises(NervehandError, match="no step graph"):
        RemoteEngine(model.SerializeToString(), "onnxruntime")


# What the far side may say instead of an answer: the process is real, what it runs is this.
FAR_SIDE = """
import argparse, importlib.util, json, os, socket, struct
parser = argparse.ArgumentParser()
parser.add_argument("--fd", type=int)
parser.add_argument("--backend")
fd = parser.parse_args().fd
spec = importlib.util.spec_from_file_location("wire", {server!r})
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)
line = socket.socket(fileno=fd)
kind, number, payload = wire.read_frame(line.recv)
inputs, outputs = {{"features": [1, 4]}}, {{"outputs": [1, 2], "probabilities": [1, 3]}}
hello = dict(backend="faulty 1", python="3", inputs=inputs, outputs=outputs)
{body}
"""
HELLO = "line.sendall(wire.frame(kind, number, json.dumps(hello).encode()))\n"
ASKED = HELLO + "kind, number, payload = wire.read_frame(line.recv)\n"


def far_side(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> RemoteEngine:
    path = folder / "far_side.py"
    path.write_text(FAR_SIDE.format(server=str(SERVER), body=body))
    monkeypatch.setattr(remote_module, "SERVER", path)
    return RemoteEngine(b"", "onnxruntime", times=PATIENT)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("line.sendall(os.urandom(4096))", "no frame begins with"),
        ("line.sendall(wire.frame(kind, number, b'[1, 2]'))", "introduced itself"),
        ("line.sendall(wire.frame(kind, number, b'{}'))", "introduced itself"),
        ("line.sendall(wire.frame(kind, number, b'\\xff'))", "introduced itself"),
        ("hello['inputs']['features'] = [1, 2**40]; " + HELLO, "fixed sizes"),
        ("hello['inputs']['features'] = 5; " + HELLO, "introduced itself"),
        ("line.sendall(wire.frame(kind, number + 1, b''))", "answered request 2 of kind 1, not 1"),
        ("line.sendall(wire.frame(wire.STATE, number, b''))", "of kind 3, not 1 of kind 1"),
        ("line.sendall(wire.frame(wire.ERROR, number, b'two\\nlines'))", "says two lines"),
        ("line.sendall(wire.frame(kind, number, b'{}')[:9])", "bytes before a frame's end"),
        ("line.sendall(wire.HEADER.pack(wire.MAGIC, kind, number, 1 << 31, 0))", "no frame begins with"),
        ("f = bytearray(wire.frame(kind, number, b'{}')); f[-1] ^= 1; line.sendall(f)", "fails its checksum"),
        ("raise SystemExit(7)", "ended with status 7"),
    ],
)
def test_a_greeting_that_is_none_is_one_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, match: str
) -> None:
    with pytest.raises(NervehandError, match=match) as caught:
        far_side(monkeypatch, tmp_path, body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("line.sendall(wire.frame(kind, number, b''))", "answered 50 hops with -1"),
        ("line.sendall(wire.frame(kind, number, struct.pack('<I', 0)))", "answered 50 hops with 0"),
        ("line.sendall(wire.frame(kind, number, struct.pack('<I', 51)))", "answered 50 hops with 51"),
        ("line.sendall(wire.frame(kind, number, struct.pack('<I', 50)))", "0 bytes came where 250"),
        ("line.sendall(wire.frame(kind, number, struct.pack('<I', 2) + bytes(40)))", "after 2 of 50 hops"),
        ("line.sendall(wire.frame(wire.LOAD, number, b''))", "of kind 1, not 2 of kind 5"),
    ],
)
def test_an_answer_that_is_none_is_one_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, match: str
) -> None:
    engine = far_side(monkeypatch, tmp_path, ASKED + body)
    fails(engine, match)


def test_an_answer_that_comes_byte_by_byte_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drip = "for b in wire.frame(kind, number, struct.pack('<I', 1) + bytes(20)): line.send(bytes([b]))"
    outputs, probabilities = far_side(monkeypatch, tmp_path, ASKED + drip).process(Z[:1])
    assert outputs.tolist() == [[0.0, 0.0]]
    assert probabilities.shape == (1, 3)


@given(content=st.binary(max_size=200), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=50))
def test_a_frame_is_read_however_it_is_cut(content: bytes, cuts: list[int]) -> None:
    data = wire.frame(wire.STATE, 77, content)
    at, turn = 0, 0

    def receive(n: int) -> bytes:
        nonlocal at, turn
        part = data[at : at + min(n, cuts[turn % len(cuts)])]
        at, turn = at + len(part), turn + 1
        return part

    assert wire.read_frame(receive) == (wire.STATE, 77, content)
    with pytest.raises(EOFError):
        wire.read_frame(receive)


@given(content=st.binary(max_size=60), where=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_frame_with_a_changed_bit_is_refused(content: bytes, where: int, bit: int) -> None:
    data = bytearray(wire.frame(wire.RESTORE, 5, content))
    data[where % len(data)] ^= 1 << bit
    if 5 <= where % len(data) < 8:
        return  # the unused bytes of a header
    with pytest.raises(wire.ProtocolError):
        wire.read_frame(reader(bytes(data)))


@given(data=st.binary(max_size=300))
def test_bytes_are_a_frame_or_a_protocol_error(data: bytes) -> None:
    try:
        kind, number, content = wire.read_frame(reader(data))
    except (wire.ProtocolError, EOFError):
        return
    assert wire.frame(kind, number, content) == data[: wire.HEADER.size + len(content)]


def reader(data: bytes) -> Callable[[int], bytes]:
    """What a connection gives that ends after these bytes."""
    rest = data

    def receive(n: int) -> bytes:
        nonlocal rest
        part, rest = rest[:n], rest[n:]
        return part

    return receive


MODEL = wire.OnnxRuntimeModel(STEP_GRAPH)


@given(kind=st.integers(0, 255), payload=st.binary(max_size=400))
@settings(deadline=None)
def test_any_request_is_answered_or_a_protocol_error(kind: int, payload: bytes) -> None:
    try:
        content = wire.answer(MODEL, kind, payload)
    except wire.ProtocolError:
        return
    assert kind in (wire.RESET, wire.STATE, wire.RESTORE, wire.PROCESS)
    assert isinstance(content, bytes)


@given(n=st.integers(0, 2**32 - 1), rest=st.binary(max_size=100))
@settings(deadline=None)
def test_a_count_that_does_not_fit_its_bytes_is_refused_before_anything_is_allocated(
    n: int, rest: bytes
) -> None:
    payload = struct.pack("<I", n) + rest
    if len(rest) == 16 * n:
        assert len(wire.answer(MODEL, wire.PROCESS, payload)) >= 4
        return
    with pytest.raises(wire.ProtocolError):
        wire.answer(MODEL, wire.PROCESS, payload)


@given(content=st.binary(max_size=400), is_error=st.booleans(), count=st.none() | st.integers(0, 6))
@settings(deadline=None, max_examples=60)
def test_whatever_a_server_answers_is_an_answer_of_the_right_shape_or_one_error(
    content: bytes, is_error: bool, count: int | None
) -> None:
    if count is not None:
        content = struct.pack("<I", count) + content
    mine, theirs = socket.socketpair()
    hello = {
        "backend": "any 1", "python": "3", "inputs": {"features": [1, 4]},
        "outputs": {"outputs": [1, 2], "probabilities": [1, 3]},
    }  # fmt: skip

    def far() -> None:
        with theirs:
            for answer in (json.dumps(hello).encode(), content):
                kind, number, _ = wire.read_frame(theirs.recv)
                kind = wire.ERROR if is_error and answer is content else kind
                theirs.sendall(wire.frame(kind, number, answer))

    thread = threading.Thread(target=far)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_module, "_start", lambda *_: (subprocess.Popen(["true"]), mine))
        thread.start()
        with RemoteEngine(b"", "onnxruntime") as engine, contextlib.suppress(NervehandError):
            outputs, probabilities = engine.process(Z[:5])
            assert outputs.shape == (len(probabilities), 2)
            assert probabilities.shape[1] == 3
            assert len(outputs) == 5 or not np.isfinite([*outputs[-1], *probabilities[-1]]).all()
        thread.join()


def test_the_server_is_one_file_for_python_3_6() -> None:
    source = SERVER.read_text()
    tree = ast.parse(source, feature_version=(3, 6))
    imported = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert imported <= {
        "abc", "argparse", "collections", "ctypes", "importlib", "json", "numpy", "onnxruntime", "platform", "re",
        "socket", "struct", "sys", "typing", "zlib",
    }  # fmt: skip
    assert not any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in ast.walk(tree))


@pytest.mark.skipif(not PYTHON36, reason="NERVEHAND_PYTHON36 names no Python 3.6 with NumPy and ONNX Runtime")
def test_it_runs_on_python_3_6() -> None:
    graph = build_step_graph(network(n_features=9))
    z = np.random.default_rng(5).standard_normal((200, 9)).astype(np.float32)
    with RemoteEngine(graph, "onnxruntime", python=PYTHON36) as engine:
        assert engine.about.python.startswith("3.6.")
        for ours, theirs in zip(engine.process(z), OnnxRuntimeEngine(graph).process(z), strict=True):
            assert np.abs(ours - theirs).max() < 1e-5
        saved = engine.state()
        following = engine.process(z)
        engine.restore(saved)
        assert engine.process(z)[0].tobytes() == following[0].tobytes()
