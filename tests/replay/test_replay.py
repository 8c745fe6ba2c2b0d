"""A recorded session through the shipped bundle: the reference on any machine, the same bits on this one.

`python -m tests.replay.update` makes session and reference anew.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from decoder.bundle import Bundle, read_bundle
from decoder.intent import EngineOutput, IntentDigest, Intents
from decoder.replay import replay
from decoder.session.model import Session
from decoder.session.reader import read_session
from decoder.session.source import SessionSource
from tests.replay.reference import BUNDLE, REFERENCE, SESSION, decode

TOLERANCE = 1e-5
MARGIN = 1e-4


@cache
def session() -> Session:
    return read_session(SESSION)


@cache
def bundle() -> Bundle:
    return read_bundle(BUNDLE)


@cache
def decoded() -> tuple[Intents, EngineOutput]:
    return decode(session(), bundle())


def digest_of(parts: list[Intents]) -> str:
    digest = IntentDigest()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def in_blocks(block_samples: int) -> list[Intents]:
    source = SessionSource(session(), block_samples, is_paced=False)
    source.connect()
    return list(replay(source.blocks(), session().info, bundle()))


def test_the_network_answers_what_the_reference_holds() -> None:
    reference, (intents, raw) = np.load(REFERENCE), decoded()
    assert len(intents) > 150
    assert intents.sample_index.tolist() == reference["sample_index"].tolist()
    assert intents.warming.tolist() == reference["warming"].tolist()
    for name, found in (("raw_outputs", raw.outputs), ("raw_probabilities", raw.probabilities)):
        np.testing.assert_allclose(found, reference[name], atol=TOLERANCE, err_msg=name)


def test_the_decided_intents_are_the_reference_and_gestures_differ_only_where_they_hardly_lead() -> None:
    reference, (intents, raw) = np.load(REFERENCE), decoded()
    for name in ("outputs", "positions"):
        np.testing.assert_allclose(getattr(intents, name), reference[name], atol=TOLERANCE, err_msg=name)
    ranked = np.sort(raw.probabilities, axis=1)
    close = ranked[:, -1] - ranked[:, -2] < MARGIN
    differs = intents.gesture != reference["gesture"]
    assert not (differs & ~close).any()
    assert differs.sum() <= 0.001 * len(intents), f"{differs.sum()} of {len(intents)} hops differ"
    same = ~differs
    np.testing.assert_allclose(intents.probability[same], reference["probability"][same], atol=TOLERANCE)


def test_the_session_moves_the_hand() -> None:
    """A reference that says nothing would prove nothing: the cued movement is decoded in its middle."""
    intents, _ = decoded()
    labels = session().labels
    assert labels is not None
    cued = labels[intents.sample_index - session().first_sample]
    held = (cued > 0) & (np.roll(cued, 20) == cued) & (np.roll(cued, -10) == cued)
    assert held.sum() > 20
    assert (intents.gesture[held] == cued[held]).mean() > 0.9


@pytest.mark.parametrize("block_samples", [7, 64, 200, 1000, 39_999])
def test_any_block_size_gives_the_same_bits(block_samples: int) -> None:
    assert digest_of(in_blocks(block_samples)) == digest_of([decoded()[0]])


def test_a_second_run_gives_the_same_bits() -> None:
    assert digest_of([decode(session(), bundle())[0]]) == digest_of([decoded()[0]])
