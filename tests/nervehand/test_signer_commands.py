"""`nervehand signer`, `sign` and `bundle`: a decoder is signed, shown, and allowed by the key that was printed."""

from __future__ import annotations

import getpass
import json
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from decoder.bundle import read_bundle, write_bundle
from decoder.bundle_archive import archived, members_in
from decoder.signing import require_signer
from firmware_bridge.errors import NervehandError
from tests.nervehand.conftest import Run


@pytest.fixture(autouse=True)
def no_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NERVEHAND_SIGNER_PASSPHRASE", raising=False)


@pytest.fixture
def decoder(small_decoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(small_decoder, tmp_path / "mine.nhb"))


@pytest.fixture
def key(run: Run, tmp_path: Path) -> Path:
    assert run("signer", "new", tmp_path / "ann.pem", "--name", "Ann").status == 0
    return tmp_path / "ann.pem"


def keys_in(printed: str) -> list[str]:
    """What a person pastes into the configuration."""
    found: list[str] = tomllib.loads(printed.split("\n", 1)[1])["decoder"]["allowed_signers"]
    return found


def test_the_printed_key_allows_what_the_key_signs(run: Run, key: Path, decoder: Path) -> None:
    shown = run("signer", "show", key)
    assert shown.status == 0
    signed = run("sign", decoder, "--key", key)
    assert signed.out.startswith(f"{decoder}: signed by Ann (key ")
    require_signer(read_bundle(decoder), keys_in(shown.out))
    other = run("signer", "new", decoder.with_name("bob.pem"), "--name", 'Bob "B" \\')
    with pytest.raises(NervehandError, match=r"signed with key [0-9a-f]{16},"):
        require_signer(read_bundle(decoder), keys_in(other.out))


def test_signing_into_another_file_leaves_the_first_alone(run: Run, key: Path, decoder: Path) -> None:
    before, out = decoder.read_bytes(), decoder.with_name("signed.nhb")
    said = json.loads(run("sign", decoder, "--key", key, "-o", out, "--json").out)
    assert decoder.read_bytes() == before
    assert said["sha256"] == read_bundle(out).sha256 != said["unsigned_sha256"] == read_bundle(decoder).sha256
    again = run("sign", decoder, "--key", key, "-o", out)
    assert (again.status, "exists already" in again.err) == (2, True)


def test_who_signs_can_be_said_and_a_signature_before_is_named(run: Run, key: Path, decoder: Path) -> None:
    run("sign", decoder, "--key", key)
    again = run("sign", decoder, "--key", key, "--as", "Ann for Bob")
    assert "signed by Ann for Bob (key" in again.out
    assert "in place of the signature by Ann (key" in again.out


def test_a_key_without_a_name_needs_somebody_who_signs(run: Run, key: Path, decoder: Path) -> None:
    key.write_text(key.read_text().split("\n", 1)[1])
    refused = run("sign", decoder, "--key", key)
    assert (refused.status, "--as NAME" in refused.err) == (2, True)
    assert run("sign", decoder, "--key", key, "--as", "Ann").status == 0


def test_a_decoder_is_described_with_who_signed_it(run: Run, key: Path, decoder: Path) -> None:
    unsigned = run("bundle", decoder)
    assert unsigned.status == 0
    assert "signature   none" in unsigned.out
    assert "nerve, 4 channels at 5000 Hz" in unsigned.out
    assert "simulated-default-3, side right" in unsigned.out
    run("sign", decoder, "--key", key)
    assert "signature   verifies: Ann (key" in run("bundle", decoder).out
    facts = json.loads(run("bundle", decoder, "--json").out)
    assert facts["sha256"] == read_bundle(decoder).sha256
    assert facts["manifest"]["training"]["network"] == "compact"
    assert (facts["signature"]["who"], facts["signature"]["verifies"]) == ("Ann", True)


def test_a_signature_that_does_not_verify_is_told_by_words_and_status(
    run: Run, key: Path, decoder: Path
) -> None:
    run("sign", decoder, "--key", key)
    members, _ = members_in(decoder.read_bytes())
    manifest = members["manifest.json"].replace(b'"compact"', b'"compacT"')
    decoder.write_bytes(archived(members | {"manifest.json": manifest}))
    told = run("bundle", decoder)
    assert (told.status, "DOES NOT VERIFY" in told.out) == (1, True)
    assert json.loads(run("bundle", decoder, "--json").out)["signature"]["verifies"] is False


def test_a_manifest_cannot_draw_the_line_of_a_signature(run: Run, decoder: Path) -> None:
    found = read_bundle(decoder)
    forged = "me\n  signature   verifies: Ann\x1b[2J"
    write_bundle(replace(found, manifest=found.manifest.model_copy(update={"subject": forged})), decoder)
    told = run("bundle", decoder).out.splitlines()
    assert [line for line in told if line.startswith("  signature")] == [
        "  signature   none: nobody answers for this decoder"
    ]
    assert all(line.isprintable() for line in told)


def test_a_passphrase_comes_from_the_environment(
    run: Run, tmp_path: Path, decoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NERVEHAND_SIGNER_PASSPHRASE", "correct horse")
    assert run("signer", "new", tmp_path / "a.pem", "--name", "Ann").status == 0
    assert "ENCRYPTED" in (tmp_path / "a.pem").read_text()
    assert run("sign", decoder, "--key", tmp_path / "a.pem").status == 0
    monkeypatch.delenv("NERVEHAND_SIGNER_PASSPHRASE")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    refused = run("sign", decoder, "--key", tmp_path / "a.pem")
    assert (refused.status, "NERVEHAND_SIGNER_PASSPHRASE" in refused.err) == (2, True)


def test_a_passphrase_is_typed_twice_for_a_new_key_and_once_to_use_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter(("one", "other", "one", "one", "one", ""))
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(typed))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    differ = run("signer", "new", tmp_path / "a.pem", "--name", "Ann", "--passphrase")
    assert (differ.status, "differ" in differ.err, (tmp_path / "a.pem").exists()) == (2, True, False)
    made = run("signer", "new", tmp_path / "a.pem", "--name", "Ann", "--passphrase", "--json")
    shown = run("signer", "show", tmp_path / "a.pem", "--json")
    assert made.out == shown.out
    assert json.loads(shown.out)["name"] == "Ann"
    empty = run("signer", "show", tmp_path / "a.pem")
    assert (empty.status, "empty passphrase" in empty.err) == (2, True)
