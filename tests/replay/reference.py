"""Where the recorded session and its reference lie, and the one way to decode it."""

from __future__ import annotations

from pathlib import Path

from decoder.bundle import Bundle
from decoder.chain import DecodeChain
from decoder.intent import EngineOutput, Intents
from decoder.session.model import Session, iter_blocks

HERE = Path(__file__).parent
SESSION = HERE / "simulated.nwb"
REFERENCE = HERE / "simulated.npz"
BUNDLE = HERE.parents[1] / "nervehand" / "bundles" / "demo.nhb"


def decode(session: Session, bundle: Bundle) -> tuple[Intents, EngineOutput]:
    """The whole session at once: decided intents and the network's answers behind them."""
    chain = DecodeChain(bundle, session.info)
    (block,) = iter_blocks(session, session.n_samples)
    intents = chain.process(block)
    assert chain.raw is not None
    return intents, chain.raw
