"""Each side of a port proves that it knows the token; who does not is told nothing."""

from __future__ import annotations

import pytest

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port.greeting import (
    admitted,
    answer_to,
    challenge,
    first_word,
    proof,
    require_server,
)

TOKEN = "00ff" * 16


def test_who_knows_the_token_is_let_in_and_knows_that_the_server_does_too() -> None:
    theirs, ours = challenge(), challenge()
    first = first_word(theirs)
    answer = answer_to(first, TOKEN, ours, "me")
    server_proof, who = admitted(answer, TOKEN, theirs)
    assert who == "me"
    require_server({"ok": True, "proof": server_proof}, TOKEN, ours, first)
    assert TOKEN not in str(first) + str(answer) + server_proof


def test_challenges_are_never_the_same() -> None:
    assert len({challenge() for _ in range(100)}) == 100


def test_another_token_is_refused() -> None:
    theirs = challenge()
    answer = answer_to(first_word(theirs), "another", challenge(), "me")
    with pytest.raises(NervehandError, match="token is not the one"):
        admitted(answer, TOKEN, theirs)


def test_what_was_heard_of_one_greeting_opens_no_other() -> None:
    answer = answer_to(first_word(challenge()), TOKEN, challenge(), "me")
    with pytest.raises(NervehandError, match="token is not the one"):
        admitted(answer, TOKEN, challenge())


def test_the_clients_own_proof_sent_back_is_not_the_servers() -> None:
    theirs, ours = challenge(), challenge()
    first = first_word(theirs)
    answer = answer_to(first, TOKEN, ours, "me")
    with pytest.raises(LinkError, match="does not know the token"):
        require_server({"ok": True, "proof": answer["proof"]}, TOKEN, ours, first)
    with pytest.raises(LinkError, match="does not know the token"):
        require_server({"ok": True}, TOKEN, ours, first)
    assert proof(TOKEN, "server", ours, theirs) != proof(TOKEN, "client", theirs, ours)


def test_the_servers_words_are_passed_on_where_it_refuses() -> None:
    with pytest.raises(NervehandError, match="64 clients"):
        require_server(
            {"ok": False, "error": "64 clients are connected"}, TOKEN, challenge(), first_word("x")
        )


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ({}, "no port of nervehand"),
        ({"port": "nervehand port", "version": 99, "challenge": "x"}, "speaks version 99"),
    ],
)
def test_another_server_or_another_version_is_said(first: dict[str, object], why: str) -> None:
    with pytest.raises(LinkError, match=why):
        answer_to(first, TOKEN, challenge(), "me")


def test_a_client_of_another_version_is_told_so() -> None:
    theirs = challenge()
    answer = answer_to(first_word(theirs), TOKEN, challenge(), "me") | {"version": 2}
    with pytest.raises(NervehandError, match="this port speaks version 1, the client 2"):
        admitted(answer, TOKEN, theirs)
