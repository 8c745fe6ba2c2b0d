"""The other side of a port: what its owner shows, and requests to it, over a link that comes back by itself."""

from __future__ import annotations

from collections.abc import Mapping

from firmware_bridge.stream import StreamInfo

NOTHING: Mapping[str, object] = {}


class PortClient:
    """A link to a port. Once connected, a thread of its own connects it again whenever it is cut.

    `address` is HOST:PORT. `token` None takes NERVEHAND_PORT_TOKEN, else the one of this user's port at that address.
    `who` is in whose name requests are made. All methods may be called from any thread.
    """

    about: dict[str, object]
    """What the owner says is running, as of the last hello."""
    info: StreamInfo
    is_connected: bool
    lost: int
    """How many times the link was lost."""

    def __init__(self, address: str, token: str | None = None, who: str = "") -> None:
        raise NotImplementedError

    def connect(self, timeout_s: float) -> None:
        """LinkError where nothing answers, or something else does; NervehandError where the token is not its own."""
        raise NotImplementedError

    def newest(self, topic: str) -> tuple[int, dict[str, object]] | None:
        """The newest view of a topic and its serial number, which only grows; None before the first."""
        raise NotImplementedError

    def request(
        self,
        name: str,
        arguments: Mapping[str, object] = NOTHING,
        blob: bytes = b"",
        timeout_s: float = 5.0,
    ) -> dict[str, object]:
        """What the owner answers; NervehandError with its words where it refuses, LinkError where nothing answers.

        Over a cut link it is asked again, and never carried out twice.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the thread and the link; more than once does nothing."""
        raise NotImplementedError
