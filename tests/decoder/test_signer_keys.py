"""A private key stays its owner's: its file is private, and never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from decoder.signature import allowed_key
from decoder.signer_keys import new_key, read_key
from firmware_bridge.errors import NervehandError


def unasked() -> str:
    raise AssertionError("nobody needs a passphrase here")


def written(path: Path, key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)


def test_a_key_comes_back_with_its_name(tmp_path: Path) -> None:
    made = new_key(tmp_path / "a.pem", "Änn of the lab")
    found = read_key(tmp_path / "a.pem", unasked)
    assert (found.public, found.name, found.text) == (made.public, "Änn of the lab", made.text)
    assert allowed_key(found.text) == found.private.public_key().public_bytes_raw()
    assert new_key(tmp_path / "b.pem", "Änn of the lab").public != made.public


def test_its_file_is_for_its_owner_only(tmp_path: Path) -> None:
    new_key(tmp_path / "a.pem", "Ann")
    assert (tmp_path / "a.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    new_key(tmp_path / "a.pem", "Ann")
    (tmp_path / "a.pem").chmod(mode)
    with pytest.raises(NervehandError, match=rf"others may .* \(mode {mode:04o}\): chmod 600"):
        read_key(tmp_path / "a.pem", unasked)


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    new_key(tmp_path / "a.pem", "Ann")
    before = (tmp_path / "a.pem").read_bytes()
    with pytest.raises(NervehandError, match="never replaced"):
        new_key(tmp_path / "a.pem", "Ann")
    assert (tmp_path / "a.pem").read_bytes() == before


def test_a_passphrase_is_needed_where_there_is_one_and_asked_for_only_there(tmp_path: Path) -> None:
    made = new_key(tmp_path / "a.pem", "Ann", "correct horse")
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / "a.pem").read_bytes()
    assert read_key(tmp_path / "a.pem", lambda: "correct horse").public == made.public
    with pytest.raises(NervehandError, match="passphrase is another one"):
        read_key(tmp_path / "a.pem", lambda: "wrong")


def test_a_key_made_elsewhere_is_read_and_has_no_name(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    written(tmp_path / "a.pem", key)
    found = read_key(tmp_path / "a.pem", unasked)
    assert (found.public, found.name) == (key.public_key().public_bytes_raw(), "")


def test_what_is_no_ed25519_key_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "curve.pem", generate_private_key(SECP256R1()))
    with pytest.raises(NervehandError, match="key of another kind"):
        read_key(tmp_path / "curve.pem", unasked)
    (tmp_path / "text.pem").write_text("no key")
    (tmp_path / "text.pem").chmod(0o600)
    for path, said in (
        (tmp_path / "text.pem", "holds no private key"),
        (tmp_path / "absent.pem", "cannot be read"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(NervehandError, match=said) as caught:
            read_key(path, unasked)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "Ann ", "two\nlines", "\x1b[2J", "a" * 101])
def test_a_name_that_is_none_makes_no_key(tmp_path: Path, name: str) -> None:
    with pytest.raises(NervehandError, match="give a name"):
        new_key(tmp_path / "a.pem", name)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NervehandError, match=r"a\.pem: cannot be written"):
        new_key(tmp_path / "no" / "a.pem", "Ann")
