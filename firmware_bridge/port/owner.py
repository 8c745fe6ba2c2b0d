"""The owner's side of a port: a running engine shows what it does and hears requests, without ever waiting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from firmware_bridge.stream import SignalBlock, StreamInfo

NOTHING: Mapping[str, object] = {}


class Request:
    """What a client asks of the owner, who answers it once, by `answer` or by `refuse`.

    `name` says what, `arguments` are plain JSON, `blob` bytes that came with it, `who` asks.
    """

    name: str
    arguments: dict[str, object]
    blob: bytes
    who: str

    def answer(self, result: Mapping[str, object] = NOTHING) -> None:
        """It was done; `result` is plain JSON. From any thread."""
        raise NotImplementedError

    def refuse(self, text: str) -> None:
        """It is not done; `text` says why, and what to do. From any thread."""
        raise NotImplementedError


class Port:
    """A port that is served. Nothing here ever waits; `samples`, `show` and `requests` may be called by one thread each.

    `address` is host:port, really bound. `problem` says what is wrong with the server ("" where nothing is): where it
    dies it is started again, and its clients come back by themselves.
    """

    address: str
    problem: str

    def show(self, topic: str, view: object) -> None:
        """The newest of a topic, which replaces the one before: a frozen dataclass, or what JSON can hold."""
        raise NotImplementedError

    def samples(self, block: SignalBlock) -> None:
        """A block for whoever subscribes; the last 30 s are kept for who was cut off."""
        raise NotImplementedError

    def requests(self) -> list[Request]:
        """What came since the last time, in its order."""
        raise NotImplementedError

    def wait(self, timeout_s: float) -> bool:
        """For a thread that does nothing but answer: whether there may be a request, at the latest after `timeout_s`."""
        raise NotImplementedError


@contextmanager
def serving(
    where: str, info: StreamInfo, about: Mapping[str, object], *, name: str = ""
) -> Iterator[Port]:
    """A port at `where`, HOST:PORT or :PORT (loopback), port 0 for a free one; NervehandError where it cannot be bound.

    `about` is plain JSON: what is running ("kind" is "run" or "calibration", a title, the bundle's SHA-256, the
    subject's pseudonym...). `name` is what people may know it by.
    """
    raise NotImplementedError
    yield Port()
