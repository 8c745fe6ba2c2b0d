"""What opens a port: read from text, found where people put it, and never repeated in an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import NervehandError
from firmware_bridge.port import PortClient, own_tls_files, serving
from firmware_bridge.port.credentials import Credentials, config_folder, known_path, read_private
from firmware_bridge.port.entries import own_token, token_for
from firmware_bridge.sources.port import open_device
from tests.firmware_bridge.port.proxy import proxied
from tests.firmware_bridge.port.serving_rig import ABOUT, INFO, PATIENCE_S

TOKEN = "ab" * 32
HEX = "0123456789abcdef" * 4
TEXT = f"{TOKEN} sha256:{HEX}"


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"{TOKEN}\nsha256:{HEX}\n",
        f"  {TOKEN}\t{HEX.upper()} ",
        f"{TOKEN} SHA256:" + ":".join(HEX[i : i + 2] for i in range(0, 64, 2)),
    ],
)
def test_a_token_and_a_fingerprint_are_read_as_people_write_them(text: str) -> None:
    assert Credentials.of(text) == Credentials(TOKEN, f"sha256:{HEX}")
    assert Credentials.of(text).text == TEXT


def test_a_token_alone_is_for_a_port_without_tls() -> None:
    assert Credentials.of(f"{TOKEN}\n") == Credentials(TOKEN)
    assert Credentials(TOKEN).text == TOKEN


@pytest.mark.parametrize(
    "text",
    ["", " \n", f"{TEXT} more", f"{TOKEN} sha256:", f"{TOKEN} sha256:{HEX[:-1]}", f"{TOKEN} {TOKEN[:-1]}x"],
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(NervehandError):
        Credentials.of(text)


@given(st.lists(st.text("0123456789abcdef", min_size=12, max_size=64), max_size=5))
def test_no_error_repeats_what_it_was_given(words: list[str]) -> None:
    try:
        shown = repr(Credentials.of(" ".join(words)))
    except NervehandError as error:
        shown = str(error)
    assert not any(word in shown for word in words[:1])


def private(path: Path, text: str = TEXT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(text)
    return path


def test_a_copied_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = private(tmp_path / "token")
    assert read_private(path) == TEXT
    for mode in (0o644, 0o640, 0o602):
        path.chmod(mode)
        with pytest.raises(NervehandError, match=r"others may read .* chmod 600") as refusal:
            read_private(path)
        assert TOKEN not in str(refusal.value)


def test_a_file_that_is_none_is_said_without_what_it_holds(tmp_path: Path) -> None:
    for text, why in (
        (TOKEN + " " + TOKEN[1:], "fingerprint beside the token is none"),
        ("", "here are 0 words"),
    ):
        with pytest.raises(NervehandError, match=why) as refusal:
            read_private(private(tmp_path / "token", text))
        assert TOKEN[1:] not in str(refusal.value)
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(NervehandError, match="cannot be read"):
        read_private(tmp_path / "token")
    with pytest.raises(NervehandError, match="cannot be read"):
        read_private(tmp_path)


def test_the_environment_comes_first_then_its_file_then_the_known_ports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(NervehandError, match="no token for the port"):
        token_for("192.0.2.1:4711")
    private(config_folder() / "ports" / "192.0.2.1:4711", f"known sha256:{HEX}")
    assert token_for("192.0.2.1:4711") == f"known sha256:{HEX}"
    monkeypatch.setenv("NERVEHAND_PORT_TOKEN_FILE", str(private(tmp_path / "named", f"named sha256:{HEX}")))
    assert token_for("192.0.2.1:4711") == f"named sha256:{HEX}"
    monkeypatch.setenv("NERVEHAND_PORT_TOKEN", TEXT)
    assert token_for("192.0.2.1:4711") == TEXT


def test_a_known_port_is_known_by_its_address_and_by_no_way_around_it() -> None:
    path = private(config_folder() / "ports" / "[2001:db8::1]:4711")
    assert known_path("[2001:db8::1]:4711") == path
    assert known_path("2001:db8::1:4711") == path
    private(config_folder() / "x:1")
    for elsewhere in ("../x:1", "nowhere", "192.0.2.1:4711", "", "x:1"):
        assert known_path(elsewhere) is None


def test_for_another_machine_what_has_a_fingerprint_is_taken_first() -> None:
    with (
        serving("127.0.0.1:0", INFO, ABOUT) as plain,
        serving("127.0.0.1:0", INFO, ABOUT, tls=own_tls_files()) as secret,
    ):
        number = plain.address.rpartition(":")[2]
        assert token_for(plain.address) == own_token()[0]
        assert token_for(f"192.0.2.1:{number}").endswith(secret.fingerprint)


def test_a_port_in_plain_text_needs_no_more_than_before() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT) as port:
        assert port.token_path.read_text() == own_token()[0] + "\n"
        assert token_for(port.address) == own_token()[0]


def test_the_copied_file_opens_the_port_for_every_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of another machine have neither this one's runtime folder nor its configuration."""
    with serving("127.0.0.1:0", INFO, ABOUT, tls=own_tls_files()) as port, proxied(port.address) as proxy:
        copied = port.token_path.read_text()
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "laptop"))
        own_token()[1].unlink(missing_ok=True)
        with pytest.raises(NervehandError, match="no token for the port"):
            open_device(proxy.address)
        private(config_folder() / "ports" / proxy.address, copied)
        assert open_device(proxy.address).info == INFO
        with PortClient(proxy.address) as client:
            client.connect(PATIENCE_S)
            assert client.about == ABOUT
        (config_folder() / "ports" / proxy.address).unlink()
        monkeypatch.setenv("NERVEHAND_PORT_TOKEN", copied)
        assert open_device(proxy.address).info == INFO
