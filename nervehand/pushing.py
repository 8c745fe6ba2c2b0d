"""`nervehand push`: a decoder into the shadow of a run, and in its place where the run accepts that."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from firmware_bridge.errors import LinkError, NervehandError
from firmware_bridge.port import PortClient
from firmware_bridge.port.addresses import joined, split
from firmware_bridge.port.credentials import read_private
from nervehand.hand_use import login_name
from nervehand.output import naming, print_json

CONNECT_S = 5.0
PREPARE_S = 60.0
"""What a run may take to unpack a decoder and to compile what it needs, on a small machine."""
LOOK_S = 0.5
ASK_AGAIN_S = 15.0
"""How long a run may wait for a moment of rest before it answers."""


def read_token(path: Path | None) -> str | None:
    """What opens a port, from its file: the token, and with TLS the fingerprint; None without a file, as a PortClient
    then looks for it."""
    return None if path is None else read_private(path)


def port_address(address: str) -> str:
    """HOST:PORT of "port:HOST:PORT"."""
    return joined(*split(address.removeprefix("port:")))


def run_push(
    bundle: Path,
    port: str,
    who: str,
    token_file: Path | None,
    *,
    switch: bool,
    patience_s: float,
    any_wearer: str,
    as_json: bool,
) -> None:
    """Push, and say how it does; with `switch` ask until it has taken over, for `patience_s` at most."""
    from decoder.bundle import read_bundle

    sha256 = read_bundle(bundle).sha256  # said here, if it is damaged here
    with PortClient(port_address(port), read_token(token_file), who or login_name()) as client:
        client.connect(CONNECT_S)
        with naming(bundle):
            arguments = {"any_wearer": any_wearer} if any_wearer else {}
            client.request("push", arguments, bundle.read_bytes(), PREPARE_S)
        said: Callable[[str], None] = (lambda text: None) if as_json else print
        said(f"{sha256[:12]} runs in shadow at {port_address(port)}")
        if switch:
            switched(client, sha256, patience_s, said)
            said(f"{sha256[:12]} has taken over")
        shadow = client.request("shadow")
    if as_json:
        print_json({"bundle": sha256, "switched": switch} | shadow)
        return
    for line in described(shadow):
        print(line)


def switched(client: PortClient, sha256: str, patience_s: float, said: Callable[[str], None]) -> None:
    """Ask until that candidate has taken over; NervehandError with the run's last reason where it has not."""
    deadline_s = time.monotonic() + patience_s
    told = ""
    while True:
        left_s = deadline_s - time.monotonic()
        try:
            answer = client.request(
                "switch", {"sha256": sha256}, timeout_s=max(1.0, min(left_s, ASK_AGAIN_S))
            )
            break
        except LinkError:
            raise
        except NervehandError as refusal:
            if time.monotonic() + LOOK_S > deadline_s:
                raise NervehandError(f"it has not taken over within {patience_s:g} s: {refusal}") from None
            reason = str(refusal)
        kind = re.sub(r"[\d.%]+", "", reason)  # numbers change with each answer
        if kind != told:
            said(f"not yet: {reason}")
            told = kind
        time.sleep(LOOK_S)
    if answer.get("bundle") != sha256:
        raise NervehandError(
            f"{str(answer.get('bundle'))[:12]} has taken over there, not {sha256[:12]}: ask who pushed it, or roll back"
        )


def described(shadow: dict[str, object]) -> list[str]:
    """A line for the deployed decoder, and one for each beside it."""
    lines = [f"deployed: {str(shadow.get('deployed'))[:12]}"]
    beside = shadow.get("shadow")
    for state in beside if isinstance(beside, list) else ():
        agreement, difference = state["gesture_agreement"], state["position_difference"]
        compared = (
            f"{agreement:.1%} of gestures alike, positions {difference:.3f} apart"
            if agreement is not None
            else "not compared yet"
        )
        lines.append(f"{state['role']}: {state['sha256'][:12]}, {state['seconds']:.0f} s, {compared}")
        lines += [f"  {reason}" for reason in state["missing"]]
    return lines
