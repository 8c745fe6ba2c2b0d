"""What is in a bundle, for people and for programs."""

from __future__ import annotations

from pathlib import Path

from decoder.bundle import Bundle, read_bundle
from decoder.signature import verifies, when_text
from nervehand.output import print_json


def run_bundle(path: Path, *, as_json: bool) -> bool:
    """Print it; False where it carries a signature that does not verify."""
    bundle = read_bundle(path)
    verified = None if bundle.signature is None else verifies(bundle.signature)
    if as_json:
        print_json({"file": str(path)} | bundle_facts(bundle, verified))
    else:
        print(f"{path}: {bundle.sha256}")
        for label, text in bundle_lines(bundle, verified):
            print(f"  {label:<12}{_one_line(text)}")
    return verified is not False


def bundle_facts(bundle: Bundle, verified: bool | None) -> dict[str, object]:
    """As one JSON object: the manifest's parts as they are, the bundle's identity, and its signature.

    `verified`: whether the signature verifies; None where nobody signed.
    """
    signature = bundle.signature
    return {
        "sha256": bundle.sha256,
        "hop_s": bundle.hop_s,
        "n_step_graph_bytes": len(bundle.step_graph),
        "manifest": bundle.manifest.model_dump(mode="json"),
        "signature": None
        if signature is None
        else {
            "who": signature.who,
            "when": when_text(signature.when),
            "key": signature.fingerprint,
            "verifies": verified,
        },
    }


def bundle_lines(bundle: Bundle, verified: bool | None) -> list[tuple[str, str]]:
    """The same for people, by label."""
    m, stream = bundle.manifest, bundle.manifest.stream
    lines = [
        (
            "wearer",
            f"{m.subject or 'unnamed'}, side {m.side or 'unnamed'}, electrode array {m.array or 'unnamed'}",
        ),
        ("stream", f"{stream.kind}, {len(stream.channel_names)} channels at {stream.rate_hz:g} Hz"),
        ("features", f"{m.features.set}, a hop of {bundle.hop_s * 1e3:g} ms, warming for {m.warmup_s:g} s"),
        ("filters", bundle.coefficients.describe()),
        (
            "network",
            f"{m.training.network}, {m.training.n_parameters:,} parameters, seed {m.training.seed}, "
            f"nervehand {m.training.nervehand_version} {m.training.commit[:12]}".rstrip(),
        ),
        ("outputs", ", ".join(output.name for output in m.outputs)),
        ("gestures", ", ".join(m.gestures)),
    ]
    for session in m.training.sessions:
        used = (
            "" if session.repetitions is None else f", repetitions {', '.join(map(str, session.repetitions))}"
        )
        lines.append(("trained on", f"{session.identifier} ({session.sha256[:12]}{used})"))
    lines += [("metric", f"{name} {value:g}") for name, value in m.training.metrics.items()]
    return [*lines, ("signature", _signed(bundle, verified))]


def _one_line(text: str) -> str:
    """A manifest may say anything, and must not draw the line of a signature, or steer the terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _signed(bundle: Bundle, verified: bool | None) -> str:
    if bundle.signature is None:
        return "none: nobody answers for this decoder"
    if verified:
        return f"verifies: {bundle.signature.described}"
    return f"DOES NOT VERIFY: this is not what key {bundle.signature.fingerprint} signed"
