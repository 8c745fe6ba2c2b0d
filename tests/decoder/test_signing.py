"""A signed decoder loads as it was signed, by somebody who is allowed, or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

import nervehand
from decoder.bundle import Bundle, content_of, pack, read_bundle, unpack, write_bundle
from decoder.bundle_archive import archived, members_in
from decoder.signature import (
    Signature,
    allowed_key,
    fingerprint,
    key_text,
    members_sha256,
    message,
    signature_in,
    to_json,
    verifies,
)
from decoder.signing import require_signer, sign
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import StreamInfo
from tests.bundles import random_bundle
from tests.decoder.archives import sealed, zipped

WHEN = datetime(2026, 11, 23, 18, 30, 5, tzinfo=UTC)
KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([k]) * 32) for k in (1, 2))
L = 2**252 + 27742317777372353535851937790883648493  # the order of Ed25519's group, RFC 8032


def public(key: Ed25519PrivateKey) -> str:
    return key_text(key.public_key().public_bytes_raw())


@cache
def bundle() -> Bundle:
    info = StreamInfo(100.0, ("a", "b"), "envelope", ("e1", "e2"))
    samples = np.abs(np.random.default_rng(0).standard_normal((500, 2))).astype(np.float32)
    return replace(random_bundle(info, samples, n_outputs=2), step_graph=b"a graph of no weight" * 9)


@cache
def signed() -> Bundle:
    return sign(bundle(), KEY, "Ann", WHEN)


@cache
def packed() -> bytes:
    return pack(signed())


@cache
def members() -> dict[str, bytes]:
    return members_in(packed())[0]


def refused(data: bytes, said: str | None = None) -> None:
    with pytest.raises(NervehandError, match=said) as caught:
        unpack(data, [public(KEY)])
    assert "\n" not in str(caught.value)


def test_what_an_allowed_signer_signed_is_accepted() -> None:
    found = unpack(packed(), [public(OTHER_KEY), public(KEY)])
    require_signer(found, [public(KEY), public(OTHER_KEY)])
    assert found.signature is not None
    assert (found.signature.who, found.signature.when) == ("Ann", WHEN)
    assert found.signature == signed().signature
    assert found.sha256 == signed().sha256 == packed()[-64:].decode()


def test_what_nobody_signed_is_refused_and_says_so() -> None:
    with pytest.raises(NervehandError, match="nobody has signed this decoder"):
        require_signer(bundle(), [public(KEY)])
    with pytest.raises(NervehandError, match="nobody has signed this decoder"):
        unpack(pack(bundle()), [public(KEY)])


def test_another_signer_is_refused_naming_who_key_and_time_and_what_is_allowed() -> None:
    assert signed().signature is not None
    own, other = signed().signature.fingerprint, fingerprint(OTHER_KEY.public_key().public_bytes_raw())
    with pytest.raises(
        NervehandError, match=rf"by Ann \(key {own}, 2026-11-23T18:30:05Z\).*signed with key {other},"
    ):
        require_signer(signed(), [public(OTHER_KEY)])


def test_somebody_else_s_name_does_not_help() -> None:
    """The key is what is allowed; the name is only what its holder says."""
    with pytest.raises(NervehandError, match="who is not allowed here"):
        require_signer(sign(bundle(), OTHER_KEY, "Ann", WHEN), [public(KEY)])


def test_where_nobody_is_named_anything_goes() -> None:
    require_signer(bundle(), [])
    require_signer(signed(), ())
    assert unpack(packed()).manifest == bundle().manifest


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "Ann",
        "AAAA",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA",
        public(KEY) + " Ann",
        f" {public(KEY)}",
        "ed25519:" + public(KEY),
        public(KEY).replace("=", ""),
        "é" * 44,
        public(KEY)[:42] + "B=",
    ],
)
def test_an_allowed_signer_that_is_no_key_is_an_error_and_not_nobody(wrong: str) -> None:
    with pytest.raises(NervehandError, match="no public key"):
        require_signer(signed(), [public(KEY), wrong])
    with pytest.raises(NervehandError, match="no public key"):
        require_signer(bundle(), [wrong])


def test_a_key_comes_back_from_its_text() -> None:
    assert allowed_key(public(KEY)) == KEY.public_key().public_bytes_raw()


def test_signing_leaves_the_content_as_it_was_and_changes_the_identity() -> None:
    content, _ = members_in(pack(bundle()))
    assert {name: data for name, data in members().items() if name != "signature.json"} == content
    assert signed().sha256 != unpack(pack(bundle())).sha256
    assert pack(replace(signed(), signature=None)) == pack(bundle())


def test_signing_again_takes_the_place_of_the_first() -> None:
    again = sign(signed(), OTHER_KEY, "Bob", WHEN)
    require_signer(again, [public(OTHER_KEY)])
    assert pack(again) == pack(sign(bundle(), OTHER_KEY, "Bob", WHEN))


def test_it_is_kept_in_a_file_and_refused_from_one_by_name(tmp_path: Path) -> None:
    path = tmp_path / "signed.nhb"
    write_bundle(signed(), path)
    assert read_bundle(path, [public(KEY)]).signature == signed().signature
    with pytest.raises(NervehandError, match=r"signed\.nhb: signature: .*not allowed"):
        read_bundle(path, [public(OTHER_KEY)])


def test_a_decoder_changed_after_it_was_signed_cannot_be_written() -> None:
    other = replace(signed(), manifest=signed().manifest.model_copy(update={"subject": "another"}))
    with pytest.raises(NervehandError, match="not what Ann signed"):
        pack(other)


def test_it_is_judged_before_anything_in_it_is_looked_at() -> None:
    refused(archived(members() | {"manifest.json": b"no manifest"}), "^signature: does not verify")
    refused(archived({"manifest.json": b"no manifest"}), "^signature: nobody")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_changed_byte_is_refused_with_the_checksum_and_with_one_made_to_fit(data: st.DataObject) -> None:
    changed = bytearray(packed())
    changed[data.draw(st.integers(0, len(changed) - 65))] ^= data.draw(st.integers(1, 255))
    refused(bytes(changed))
    refused(sealed(bytes(changed)))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_member_changed_in_a_faultless_archive_is_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(members())))
    content = bytearray(members()[name])
    at = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(("flip", "cut", "put in"))):
        case "flip":
            content[at] ^= data.draw(st.integers(1, 255))
        case "cut":
            del content[at:]
        case _:
            content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
    refused(archived(members() | {name: bytes(content)}), "signature")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_members_removed_added_renamed_or_exchanged_are_refused(data: st.DataObject) -> None:
    changed = dict(members())
    one, other = data.draw(st.lists(st.sampled_from(sorted(changed)), min_size=2, max_size=2, unique=True))
    match data.draw(st.sampled_from(("remove", "add", "rename", "exchange"))):
        case "remove":
            del changed[one]
        case "add":
            changed[data.draw(st.sampled_from(("a", "arrays/x.npy", "signature.json.")))] = changed[one]
        case "rename":
            changed[f"{one}x"] = changed.pop(one)
        case _:
            changed[one], changed[other] = changed[other], changed[one]
    if changed != members():  # two arrays may be alike
        refused(archived(changed), "signature")


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(3)), st.integers(0, 2))
def test_reordered_and_doubled_members_are_refused(order: list[int], doubled: int) -> None:
    names = list(members())
    head = [names[k] for k in order]
    for chosen in ([*head, *names[3:]], [*names, names[doubled]], [names[doubled], *names]):
        if chosen == names:
            continue
        refused(zipped((name, members()[name]) for name in chosen), "no decoder bundle")


def signature() -> Signature:
    assert signed().signature is not None
    return signed().signature


@pytest.mark.parametrize(
    "change",
    [
        {"who": "Bob"},
        {"when": WHEN + timedelta(seconds=1)},
        {"public_key": OTHER_KEY.public_key().public_bytes_raw()},
        {"public_key": bytes(32)},
        {"public_key": b"\xff" * 32},
        {"signature": bytes(64)},
        {"signature": OTHER_KEY.sign(message(members_sha256({}), "Ann", WHEN))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_who_when_and_key_are_signed_too(change: dict[str, str]) -> None:
    made = replace(signature(), **change)  # type: ignore[arg-type]  # one field of its own type
    assert not verifies(made)
    refused(archived(members() | {"signature.json": to_json(made)}), "^signature: does not verify")


def test_the_same_signature_in_other_numbers_is_refused() -> None:
    """Ed25519 takes s and s + L for the same where it is not told otherwise (RFC 8032, section 5.1.7)."""
    raw = signature().signature
    s = int.from_bytes(raw[32:], "little") + L
    made = replace(signature(), signature=raw[:32] + s.to_bytes(32, "little"))
    refused(archived(members() | {"signature.json": to_json(made)}), "does not verify")


def spelled(**changes: object) -> bytes:
    return json.dumps(json.loads(members()["signature.json"]) | changes, indent=1).encode()


@pytest.mark.parametrize(
    "raw",
    [
        members()["signature.json"] + b"\n",
        members()["signature.json"].replace(b"Ann", b"\\u0041nn"),
        members()["signature.json"].replace(b'"who"', b'"who": "Bob",\n "who"'),
        members()["signature.json"].replace(b"Z", b"+00:00"),
        spelled(more=1),
        spelled(who=7),
        spelled(who=""),
        spelled(who=" Ann"),
        spelled(who="Ann\x1b[2J"),
        spelled(who="A" * 101),
        spelled(who="\ud800"),
        spelled(who="\u202eAnn"),
        spelled(when="yesterday"),
        spelled(when="0001-01-01T00:00:00+14:00"),
        spelled(public_key="AAAA"),
        spelled(public_key=base64.b64encode(bytes(33)).decode()),
        spelled(signature=None),
        b"[" * 4000,
        b"{}",
        b"",
        b"\xff",
    ],
)
def test_a_signature_in_another_spelling_is_refused_by_everybody(raw: bytes) -> None:
    with pytest.raises(NervehandError, match=r"^signature\.json: holds no signature"):
        unpack(archived(members() | {"signature.json": raw}))


def test_a_signature_of_any_size_is_not_looked_at() -> None:
    with pytest.raises(NervehandError, match="5000 bytes, a signature takes 4096 at most"):
        unpack(archived(members() | {"signature.json": b"[" * 5000}))


def test_a_signature_is_worth_nothing_on_another_decoder() -> None:
    other = replace(bundle(), step_graph=b"another graph")
    refused(archived(content_of(other) | {"signature.json": to_json(signature())}), "does not verify")


parts = st.dictionaries(st.text("ab", max_size=3), st.binary(max_size=3), max_size=3)


@given(parts, parts)
def test_different_members_never_have_one_digest(a: dict[str, bytes], b: dict[str, bytes]) -> None:
    assert (members_sha256(a) == members_sha256(b)) == (a == b)


def test_the_bytes_that_are_signed_stay_what_they_are() -> None:
    """Put together by hand, as decoder/signature.py lays them out: a signature of today verifies in years."""

    def counted(data: bytes) -> bytes:
        return len(data).to_bytes(8, "little") + data

    content = {"step.onnx": b"graph", "manifest.json": b"{}"}
    whole = b"nervehand bundle members 1\n" + (2).to_bytes(8, "little")
    whole += counted(b"manifest.json") + counted(b"{}") + counted(b"step.onnx") + counted(b"graph")
    told = b"nervehand bundle signature 1\n" + hashlib.sha256(whole).digest()
    told += counted("Änn".encode()) + counted(b"2026-11-23T18:30:05Z")
    east = WHEN.astimezone(timezone(timedelta(hours=9)))
    assert message(members_sha256(content | {"signature.json": b"?"}), "Änn", east) == told
    raw = to_json(Signature(KEY.public_key().public_bytes_raw(), KEY.sign(told), "Änn", WHEN, bytes(32)))
    found = signature_in(content | {"signature.json": raw})
    assert found is not None
    assert verifies(found)
    assert base64.b64encode(found.signature).decode() == (
        "zQUc35OgRLVYuQ3qj5u8EnrT504CSZo/FuL0XYKpWO87Xt5hVTeL6CAbx6ecznPAjJ8igmIVrIMMa1yBOx97CA=="
    )


def test_the_time_is_kept_in_utc_to_the_second() -> None:
    east = (WHEN + timedelta(microseconds=999_999)).astimezone(timezone(timedelta(hours=9)))
    assert pack(sign(bundle(), KEY, "Ann", east)) == packed()


def test_a_name_that_is_none_cannot_sign() -> None:
    with pytest.raises(NervehandError, match="give a name"):
        sign(bundle(), KEY, "Ann\nBob", WHEN)


def test_nothing_loads_the_cryptography_before_a_signature_is_checked() -> None:
    demo = Path(nervehand.__file__).parent / "bundles" / "demo.nhb"
    code = (
        "import sys, pathlib, decoder.signing, decoder.signer_keys, nervehand.signer_commands\n"
        f"bundle = decoder.bundle.read_bundle(pathlib.Path({str(demo)!r}))\n"
        "decoder.signing.require_signer(bundle, [])\n"
        "print(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "decoder.signing" in done.stdout.split()
    assert "cryptography" not in done.stdout.split()
