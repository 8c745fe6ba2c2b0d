"""Recordings are read in a child process that is ended when it takes too long; the console's own never reads HDF5."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from decoder.session.writer import write_session
from firmware_bridge.errors import NervehandError
from nervehand.console import session_list
from nervehand.console.finding import source_facts
from nervehand.console.reading import Reader
from nervehand.console.session_list import SessionList
from nervehand.simulate import simulated_session

RECORDING = Path(__file__).parents[2] / "replay" / "simulated.nwb"


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


def test_it_is_another_process_and_stays_the_same_one(reader: Reader) -> None:
    async def twice() -> list[int]:
        return [await reader.read(os.getpid) for _ in range(2)]

    first, second = asyncio.run(twice())
    assert first == second != os.getpid()


def test_what_never_ends_is_broken_off_and_the_next_is_read(reader: Reader) -> None:
    async def read() -> tuple[int, int]:
        before = await reader.read(os.getpid)
        with pytest.raises(NervehandError, match=r"took more than 0\.1 s"):
            await reader.read(time.sleep, 3600, limit_s=0.1)
        return before, await reader.read(os.getpid)

    before, after = asyncio.run(read())
    assert before != after
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_the_event_loop_goes_on_while_a_file_is_read(reader: Reader) -> None:
    async def count() -> int:
        await reader.read(os.getpid)
        reading = asyncio.ensure_future(reader.read(time.sleep, 0.2))
        n = 0
        while not reading.done():
            await asyncio.sleep(0.001)
            n += 1
        return n

    assert asyncio.run(count()) > 5


def test_a_process_that_dies_of_a_file_is_said_and_started_again(reader: Reader) -> None:
    async def read() -> int:
        with pytest.raises(NervehandError, match="has ended"):
            await reader.read(os._exit, 1)
        return await reader.read(abs, -3)

    assert asyncio.run(read()) == 3


def test_whatever_a_file_makes_it_raise_is_a_problem_in_words(reader: Reader) -> None:
    with pytest.raises(NervehandError, match="invalid literal"):
        asyncio.run(reader.read(int, "no number"))


def test_a_source_is_looked_at_there_too(reader: Reader) -> None:
    facts = dict(asyncio.run(reader.read(source_facts, f"session:{RECORDING}")))
    assert (facts["device.channels"], facts["device.rate"]) == ("16", "10000 Hz")
    with pytest.raises(NervehandError, match="nothing-like-it"):
        asyncio.run(reader.read(source_facts, "nothing-like-it:x"))


def test_what_ends_with_the_console_reads_no_more() -> None:
    reader = Reader()
    pid = asyncio.run(reader.read(os.getpid))
    reader.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(NervehandError, match="ending"):
        reader._read(os.getpid, (), 1.0)


class Hanging(Reader):
    """Its files hang, and it counts them."""

    n = 0

    async def read(self, action: object, *given: object, limit_s: float = 1.0) -> object:  # type: ignore[override]
        self.n += 1
        raise NervehandError("reading took more than 1 s")


def test_a_file_that_hangs_is_waited_for_once_until_it_changes(tmp_path: Path) -> None:
    (tmp_path / "bad.nwb").write_bytes(b"x")
    hanging = Hanging()
    sessions = SessionList(hanging)

    async def facts() -> list[session_list.SessionFacts]:
        return await sessions.facts(tmp_path)

    for _ in range(2):
        (one,) = asyncio.run(facts())
        assert "took more than" in one.problem
    assert hanging.n == 1
    (tmp_path / "bad.nwb").write_bytes(b"changed")
    asyncio.run(facts())
    assert hanging.n == 2
    hanging.close()


def test_the_consoles_own_process_never_reads_hdf5(tmp_path: Path) -> None:
    write_session(simulated_session(1, 1, seconds=6.0), tmp_path / "one.nwb")
    (tmp_path / "bad.nwb").write_bytes(b"no")
    script = f"""
import asyncio, sys
from pathlib import Path
from nervehand.console.app import Console
from nervehand.console.server import serve
from nervehand.console.session_view import about_of, seen_at
from nervehand.console.watch import Watch
async def look():
    console, folder = Console(Watch(), Path({str(tmp_path)!r})), Path({str(tmp_path)!r})
    facts = {{one.path.name: one for one in await console.sessions.facts(folder)}}
    assert facts["one.nwb"].n_channels == 16 and not facts["one.nwb"].problem and facts["bad.nwb"].problem
    about = await console.replaying.read(about_of, folder / "one.nwb")
    moment, channels = await console.replaying.read(seen_at, folder / "one.nwb", about.changed_ns, 3.0, True)
    assert len(channels) == 16 and not moment.has_intent and about.trials
    console.close()
asyncio.run(look())
assert "h5py" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
