"""How the two sides of a port know each other: each proves that it has the token, which is never sent.

The server sends a challenge, the client answers with its own and HMAC-SHA256(token, "client" | server's | client's),
the server with HMAC-SHA256(token, "server" | client's | server's). Nothing is told to who has not proven it. What
follows is neither encrypted nor signed: between machines it goes through a tunnel (docs/port.md).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port.wire import VERSION, text_in

CHALLENGE_BYTES = 32
NAME = "nervehand port"
MOST_NAME = 200
"""Characters of who connects."""


def challenge() -> str:
    """A new one, in hex."""
    return secrets.token_hex(CHALLENGE_BYTES)


def proof(token: str, side: str, first: str, second: str) -> str:
    """That `side` ("client" or "server") knows the token, in hex."""
    return hmac.new(token.encode(), f"{side}|{first}|{second}".encode(), hashlib.sha256).hexdigest()


def first_word(server_challenge: str) -> dict[str, object]:
    """What the server says to whoever connects."""
    return {"port": NAME, "version": VERSION, "challenge": server_challenge}


def answer_to(first: Mapping[str, object], token: str, client_challenge: str, who: str) -> dict[str, object]:
    """What the client says to that; LinkError where the other side is no port that it can talk to."""
    if first.get("port") != NAME:
        raise LinkError("what answers there is no port of nervehand: check the address")
    if first.get("version") != VERSION:
        raise LinkError(
            f"the port speaks version {first.get('version')}, this side {VERSION}: use the same nervehand on both"
        )
    theirs = _ascii_in(first, "challenge")
    return {
        "version": VERSION,
        "challenge": client_challenge,
        "proof": proof(token, "client", theirs, client_challenge),
        "who": who,
    }


def admitted(answer: Mapping[str, object], token: str, server_challenge: str) -> tuple[str, str]:
    """The server's own proof for a client that knows the token, and who it is; NervehandError where it does not."""
    if answer.get("version") != VERSION:
        raise NervehandError(
            f"this port speaks version {VERSION}, the client {answer.get('version')}: use the same nervehand on both"
        )
    theirs, given = _ascii_in(answer, "challenge"), _ascii_in(answer, "proof")
    if not hmac.compare_digest(given.encode(), proof(token, "client", server_challenge, theirs).encode()):
        raise NervehandError("the token is not the one of this port: give that of the machine it runs on")
    return proof(token, "server", theirs, server_challenge), printable(text_in(answer, "who"))


def printable(name: str) -> str:
    """A name as a gate, a screen and a file take it: what cannot be printed is "?", what is too long is cut."""
    return "".join(c if c.isprintable() else "?" for c in name[:MOST_NAME])


def require_server(
    welcome: Mapping[str, object], token: str, client_challenge: str, first: Mapping[str, object]
) -> None:
    """NervehandError with the server's words where it did not let us in; LinkError where it does not know the token."""
    if not welcome.get("ok"):
        raise NervehandError(str(welcome.get("error") or "the port refuses this client: ask its owner"))
    expected = proof(token, "server", client_challenge, _ascii_in(first, "challenge"))
    given = str(welcome.get("proof")).encode(errors="replace")
    if not hmac.compare_digest(given, expected.encode()):
        raise LinkError("what answers there does not know the token: it is not the port it says it is")


def _ascii_in(header: Mapping[str, object], name: str) -> str:
    """As `text_in`; NervehandError also where it is not ASCII, as what both sides send here is."""
    text = text_in(header, name)
    if not text.isascii():
        raise NervehandError(f"{name} is not ASCII: use the same nervehand on both sides")
    return text
