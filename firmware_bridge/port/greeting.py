"""How the two sides of a port know each other: each proves that it has the token, which is never sent.

The server sends a challenge, the client answers with its own and HMAC-SHA256(token, "client" | server's | client's),
the server with HMAC-SHA256(token, "server" | client's | server's). Nothing is told to who has not proven it.

With TLS the fingerprint of the server's certificate, as each side knows it, is the last part of both: so neither proof
is worth anything over a channel that somebody else ends (RFC 5929, 4: tls-server-end-point). Without TLS what follows
is neither encrypted nor signed, and stays on the machine (docs/port.md).
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
MOST_WORDS = 500
"""Characters of why a client is refused."""


def challenge() -> str:
    """A new one, in hex."""
    return secrets.token_hex(CHALLENGE_BYTES)


def proof(token: str, side: str, first: str, second: str, channel: str = "") -> str:
    """That `side` ("client" or "server") knows the token, in hex. `channel` is the fingerprint, "" without TLS."""
    text = "|".join((side, first, second, channel) if channel else (side, first, second))
    return hmac.new(token.encode(), text.encode(), hashlib.sha256).hexdigest()


def first_word(server_challenge: str) -> dict[str, object]:
    """What the server says to whoever connects."""
    return {"port": NAME, "version": VERSION, "challenge": server_challenge}


def tls_wanted() -> dict[str, object]:
    """What the server says, in plain text, to who does not speak TLS where it is spoken."""
    return {
        "port": NAME,
        "version": f"{VERSION} over TLS",  # a client of before shows this
        "ok": False,
        "error": "it speaks TLS: give its fingerprint beside the token, as the file of its token has both",
    }


def answer_to(
    first: Mapping[str, object], token: str, client_challenge: str, who: str, channel: str = ""
) -> dict[str, object]:
    """What the client says to that; LinkError where the other side is no port that it can talk to."""
    if first.get("ok") is False:
        raise LinkError(_words(first))
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
        "proof": proof(token, "client", theirs, client_challenge, channel),
        "who": who,
    }


def admitted(
    answer: Mapping[str, object], token: str, server_challenge: str, channel: str = ""
) -> tuple[str, str]:
    """The server's own proof for a client that knows the token, and who it is; NervehandError where it does not."""
    if answer.get("version") != VERSION:
        raise NervehandError(
            f"this port speaks version {VERSION}, the client {answer.get('version')}: use the same nervehand on both"
        )
    theirs, given = _ascii_in(answer, "challenge"), _ascii_in(answer, "proof")
    expected = proof(token, "client", server_challenge, theirs, channel)
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise NervehandError("the token is not the one of this port: give that of the machine it runs on")
    return proof(token, "server", theirs, server_challenge, channel), printable(text_in(answer, "who"))


def printable(name: str, most: int = MOST_NAME) -> str:
    """A name as a gate, a screen and a file take it: what cannot be printed is "?", what is too long is cut."""
    return "".join(c if c.isprintable() else "?" for c in name[:most])


def require_server(
    welcome: Mapping[str, object],
    token: str,
    client_challenge: str,
    first: Mapping[str, object],
    channel: str = "",
) -> None:
    """NervehandError with the server's words where it did not let us in; LinkError where it does not know the token."""
    if not welcome.get("ok"):
        raise NervehandError(_words(welcome))
    expected = proof(token, "server", client_challenge, _ascii_in(first, "challenge"), channel)
    given = str(welcome.get("proof")).encode(errors="replace")
    if not hmac.compare_digest(given, expected.encode()):
        raise LinkError("what answers there does not know the token: it is not the port it says it is")


def _words(refusal: Mapping[str, object]) -> str:
    """Why the other side refuses, which has proven nothing: as it can be shown."""
    return printable(str(refusal.get("error") or "the port refuses this client: ask its owner"), MOST_WORDS)


def _ascii_in(header: Mapping[str, object], name: str) -> str:
    """As `text_in`; NervehandError also where it is not ASCII, as what both sides send here is."""
    text = text_in(header, name)
    if not text.isascii():
        raise NervehandError(f"{name} is not ASCII: use the same nervehand on both sides")
    return text
