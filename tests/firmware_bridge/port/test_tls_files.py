"""The certificate that a port shows: made once, its key for nobody else, and nothing served without one that fits."""

from __future__ import annotations

import multiprocessing
import os
import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from firmware_bridge.errors import NervehandError
from firmware_bridge.port import TlsFiles, own_tls_files, serving, tls_files
from firmware_bridge.port.credentials import Credentials, config_folder
from tests.firmware_bridge.port.serving_rig import ABOUT, INFO


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fingerprint(certificate: Path) -> str:
    """By another library than the one that serves."""
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    return "sha256:" + found.fingerprint(hashes.SHA256()).hex()


def apart(folder: Path, name: str) -> TlsFiles:
    """A pair in two files, as an authority would give it."""
    folder.mkdir(exist_ok=True)
    key, certificate = tls_files._self_signed().split("-----END PRIVATE KEY-----\n")
    files = TlsFiles(folder / f"{name}.crt", folder / f"{name}.key")
    files.certificate.write_text(certificate)
    files.key.touch(0o600)
    files.key.write_text(key + "-----END PRIVATE KEY-----\n")
    return files


def served(files: TlsFiles) -> tuple[str, list[str]]:
    """The fingerprint that a port with these files shows, and what its token file has."""
    with serving("127.0.0.1:0", INFO, ABOUT, tls=files) as port:
        assert mode(port.token_path) == 0o600
        return port.fingerprint, port.token_path.read_text().splitlines()


def test_this_users_own_pair_is_made_once_and_its_key_is_for_nobody_else() -> None:
    first = own_tls_files()
    before = first.key.read_bytes()
    assert own_tls_files() == first
    assert first.key.read_bytes() == before
    assert (mode(config_folder()), mode(first.key)) == (0o700, 0o600)
    assert list(config_folder().iterdir()) == [first.key]


def test_it_is_an_ecdsa_key_on_p_256_for_ten_years_and_names_nobody() -> None:
    found = x509.load_pem_x509_certificate(own_tls_files().certificate.read_bytes())
    key = found.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    left = found.not_valid_after_utc - datetime.now(UTC)
    assert 3650 < left.days < 3654
    assert found.subject.rfc4514_string() == "CN=nervehand port"
    assert b"END PRIVATE KEY" not in found.public_bytes(serialization.Encoding.PEM)


def _made(folder: str) -> None:
    os.environ["XDG_CONFIG_HOME"] = folder
    own_tls_files()


def test_processes_that_make_it_at_the_same_time_agree_on_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    makers = [context.Process(target=_made, args=(str(tmp_path / "config"),)) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
        assert maker.exitcode == 0
    assert [path.name for path in config_folder().iterdir()] == [own_tls_files().key.name]
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(own_tls_files().key)


def test_the_file_to_copy_has_the_token_and_the_fingerprint_and_outlives_the_port() -> None:
    shown, lines = served(own_tls_files())
    assert shown == fingerprint(own_tls_files().certificate)
    token, second = lines
    assert len(bytes.fromhex(token)) == 32
    assert second == shown
    assert served(own_tls_files()) == (shown, lines)


def test_a_new_certificate_changes_the_fingerprint_beside_the_token_and_not_the_token() -> None:
    _, (token, before) = served(own_tls_files())
    own_tls_files().key.unlink()
    shown, lines = served(own_tls_files())
    assert lines == [token, shown]
    assert shown != before


def test_given_files_have_a_token_of_their_own(tmp_path: Path) -> None:
    own, own_lines = served(own_tls_files())
    shown, lines = served(apart(tmp_path / "given", "a"))
    assert shown == fingerprint(tmp_path / "given" / "a.crt") != own
    assert lines[1] == shown
    assert lines[0] != own_lines[0]
    assert served(own_tls_files())[1] == own_lines


def test_of_a_chain_the_first_certificate_is_the_one_that_is_shown(tmp_path: Path) -> None:
    first, second = apart(tmp_path / "given", "a"), apart(tmp_path / "given", "b")
    alone = fingerprint(first.certificate)
    first.certificate.write_text(first.certificate.read_text() + second.certificate.read_text())
    assert served(first)[0] == alone


@pytest.mark.parametrize("others", [0o640, 0o600, 0o400])
def test_a_key_that_the_group_may_read_is_taken(tmp_path: Path, others: int) -> None:
    files = apart(tmp_path / "given", "a")
    files.key.chmod(others)
    assert served(files)[0] == fingerprint(files.certificate)


@pytest.mark.parametrize("others", [0o644, 0o604, 0o660, 0o602])
def test_a_key_that_others_may_read_or_change_is_refused(tmp_path: Path, others: int) -> None:
    files = apart(tmp_path / "given", "a")
    files.key.chmod(others)
    with pytest.raises(NervehandError, match=f"private key with mode {others:o}.*chmod 600"):
        served(files)


def refused(files: TlsFiles) -> str:
    with pytest.raises(NervehandError) as refusal:
        served(files)
    text = str(refusal.value)
    assert "BEGIN" not in text
    assert "\n" not in text
    return text


def test_files_that_give_no_tls_are_refused_in_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "given"
    one, other = apart(folder, "a"), apart(folder, "b")
    assert "key values mismatch" in refused(TlsFiles(one.certificate, other.key))
    assert "cannot be read (No such file" in refused(TlsFiles(folder / "none", one.key))
    assert "cannot be read (No such file" in refused(TlsFiles(one.certificate, folder / "none"))
    assert "cannot be read (Is a directory" in refused(TlsFiles(one.certificate, folder))
    assert "give no TLS" in refused(TlsFiles(one.key, one.key))
    empty = folder / "empty"
    empty.touch(0o600)
    assert "give no TLS" in refused(TlsFiles(empty, one.key))
    assert "give no TLS" in refused(TlsFiles(one.certificate, empty))


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    files = apart(tmp_path / "given", "a")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert "the key is encrypted" in refused(files)


def test_a_folder_that_others_may_write_to_holds_no_key() -> None:
    config_folder().mkdir(parents=True)
    config_folder().chmod(0o777)
    with pytest.raises(NervehandError, match="you alone may write to: chmod 700"):
        own_tls_files()
    config_folder().chmod(0o755)
    assert mode(own_tls_files().key) == 0o600


def test_where_no_certificate_can_be_kept_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "a file"))
    with pytest.raises(NervehandError, match=r"with TLS needs cannot be kept .*set XDG_CONFIG_HOME"):
        own_tls_files()


def test_without_the_package_that_makes_certificates_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(NervehandError, match="needs the package cryptography: install it, or give the files"):
        own_tls_files()


def test_a_folder_of_the_configuration_that_is_no_whole_path_is_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("", "here/there"):
        monkeypatch.setenv("XDG_CONFIG_HOME", given)
        assert config_folder() == tmp_path / ".config" / "nervehand"


def test_a_token_file_that_somebody_broke_is_said_and_not_repeated() -> None:
    with serving("127.0.0.1:0", INFO, ABOUT, tls=own_tls_files()) as port:
        path = port.token_path
    path.write_text("a secret of many words")
    with pytest.raises(NervehandError, match="here are 5 words") as refusal:
        served(own_tls_files())
    assert "secret" not in str(refusal.value).replace(str(path), "")
    assert Credentials.of("a").fingerprint == ""
