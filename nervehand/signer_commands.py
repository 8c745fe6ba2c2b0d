"""`nervehand signer`, `sign` and `bundle`: who answers for a decoder, and what is in one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from firmware_bridge.errors import NervehandError
from nervehand.options import Json

if TYPE_CHECKING:
    from decoder.signer_keys import SignerKey

PASSPHRASE = "NERVEHAND_SIGNER_PASSPHRASE"
"""Of the private key, where nobody is there to type it."""

signer_app = typer.Typer(help="Keys that sign decoders.", no_args_is_help=True)
KeyFile = Annotated[Path, typer.Argument(metavar="KEYFILE", help="The private key, a PEM file.")]
Decoder = Annotated[Path, typer.Argument(metavar="DECODER.nhb", help="The decoder.")]


def add_signer_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.add_typer(signer_app, name="signer")
    app.command()(sign)
    app.command()(bundle)


@signer_app.command()
def new(
    keyfile: KeyFile,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Whose key it is.")],
    passphrase: Annotated[
        bool,
        typer.Option("--passphrase", help=f"Ask for one to encrypt the key with; or set {PASSPHRASE}."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a key, and print what allows its signatures."""
    from decoder.signer_keys import new_key

    secret = os.environ.get(PASSPHRASE, "")
    if passphrase and not secret:
        secret = _typed(keyfile)
        if secret != _typed(keyfile, again=True):
            raise NervehandError("the two passphrases differ: run the command again")
    _say(keyfile, new_key(keyfile, name, secret), as_json=as_json)


@signer_app.command()
def show(keyfile: KeyFile, as_json: Json = False) -> None:
    """Print a key's public half, as decoder.allowed_signers takes it."""
    _say(keyfile, _read(keyfile), as_json=as_json)


def sign(
    decoder: Decoder,
    key: Annotated[Path, typer.Option("--key", metavar="KEYFILE", help="The private key.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OUT.nhb", help="Where to; else in its place.")
    ] = None,
    who: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Who signs; the key's name if not given.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Sign a decoder: whoever allows the key lets it decode. Signing changes its SHA-256."""
    from datetime import UTC, datetime

    from decoder.bundle import read_bundle, write_bundle
    from decoder.signing import sign as signed
    from nervehand.options import free_to_write
    from nervehand.output import print_json

    if out is not None:
        free_to_write(out, force=None)
    found, signer = read_bundle(decoder), _read(key)
    if not (who or signer.name):
        raise NervehandError(f"{key}: does not say whose key it is: say who signs with --as NAME")
    made = signed(found, signer.private, who or signer.name, datetime.now(UTC))
    assert made.signature is not None
    write_bundle(made, out or decoder)
    if as_json:
        print_json({"file": str(out or decoder), "sha256": made.sha256, "unsigned_sha256": found.sha256})
        return
    print(f"{out or decoder}: signed by {made.signature.described}")
    if found.signature is not None:
        print(f"in place of the signature by {found.signature.described}")
    print(f"its SHA-256 was {found.sha256[:12]}, and is now {made.sha256[:12]}")


def bundle(decoder: Decoder, as_json: Json = False) -> None:
    """What a decoder is made for, made of and how well it did, and who signed it."""
    from nervehand.bundle_facts import run_bundle

    if not run_bundle(decoder, as_json=as_json):
        raise typer.Exit(1)


def _say(path: Path, key: SignerKey, *, as_json: bool) -> None:
    from nervehand.output import print_json

    if as_json:
        print_json({"file": str(path), "name": key.name, "key": key.fingerprint, "public_key": key.text})
        return
    print(f"{path}: {key.name or 'no name'}, key {key.fingerprint}; in the configuration of who trusts it:")
    print(f'[decoder]\nallowed_signers = ["{key.text}"]  # {key.name or key.fingerprint}')


def _read(path: Path) -> SignerKey:
    from decoder.signer_keys import read_key

    return read_key(path, lambda: os.environ.get(PASSPHRASE, "") or _typed(path))


def _typed(path: Path, *, again: bool = False) -> str:
    """A passphrase from the terminal."""
    import getpass

    if not sys.stdin.isatty():
        raise NervehandError(
            f"{path}: needs a passphrase, and there is no terminal to type it: set {PASSPHRASE}"
        )
    secret = getpass.getpass(f"passphrase of {path}{' again' if again else ''}: ")
    if not secret:
        raise NervehandError(f"{path}: an empty passphrase protects nothing: type one")
    return secret
