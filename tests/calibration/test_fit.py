"""A decoder fitted on a tiny session, end to end; and what cannot be learned from is refused in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.evaluation import evaluate
from calibration.fit import MIN_REST, FitOptions, SourceSession, fit, rest_features
from calibration.front_end import LOW_S, default_front_end, low_band
from calibration.training import Progress, Trained, TrainingSet, train
from decoder.bundle import Bundle, read_bundle, write_bundle
from decoder.chain import DecodeChain
from decoder.session.model import Session, SessionMeta
from firmware_bridge.errors import NervehandError
from firmware_bridge.stream import SignalBlock, StreamInfo, StreamKind
from tests.calibration.subjects import session as person

RATE_HZ = 1000.0
NAMES = ("rest", "raise", "lower")
CHANNELS = ("extensor", "flexor")


def session(
    identifier: str = "one",
    subject: str = "p1",
    kind: StreamKind = "emg",
    truth: bool = False,
    order: tuple[int, ...] = (1, 2, 2, 1, 1, 2),
    reaction_s: float = 0.25,
) -> Session:
    """Two muscles, one per movement of the wrist, 1 s by cue after 0.8 s of rest; the truth is exact."""
    rng = np.random.default_rng(len(identifier))
    lengths = (round(0.8 * RATE_HZ), round(1.0 * RATE_HZ), round(0.2 * RATE_HZ))
    label = np.concatenate([np.repeat([0, g, 0], lengths) for g in order])
    done = np.concatenate([np.zeros(round(reaction_s * RATE_HZ), np.int64), label])[: len(label)]
    level = 4.0 + 40.0 * np.stack([done == 1, done == 2], axis=1)
    return Session(
        info=StreamInfo(rate_hz=RATE_HZ, channel_names=CHANNELS, kind=kind),
        meta=SessionMeta(identifier=identifier, subject=subject, side="left"),
        signal=(level * rng.normal(size=level.shape)).astype(np.float32),
        labels=label.astype(np.int16),
        gesture_names=NAMES,
        truth=(45.0 * (done == 1) - 45.0 * (done == 2)).astype(np.float32)[:, None] if truth else None,
        truth_names=("wrist angle",) if truth else (),
        truth_units=("deg",) if truth else (),
    )


def fitted(*sessions: Session, steps: int = 25, **options: object) -> Bundle:
    """A fit stopped after some steps: what it has learned by then is kept."""
    done = 0

    def count(progress: Progress) -> None:
        nonlocal done
        done = progress.step

    chosen = dataclasses.replace(FitOptions(threads=1), **options)
    sources = [SourceSession(s, "0" * 64) for s in sessions]
    return fit(sources, chosen, count, lambda: done >= steps)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return fitted(session(), repetitions=(1, 2))


def changed(original: Session, **columns: object) -> Session:
    return dataclasses.replace(original, **columns)


def flat(original: Session) -> NDArray[np.float32]:
    return np.zeros((original.n_samples, original.info.n_channels), np.float32)


def test_a_fitted_decoder_tells_the_movements_of_unseen_trials_apart(bundle: Bundle) -> None:
    found = evaluate(bundle, [session()], [3], n_orders=2, unscored_after_change_s=0.4)
    assert found.n_trials_trained_on == 0
    assert found.scores.mean["balanced_accuracy"] is not None
    assert found.scores.mean["balanced_accuracy"] > 0.9


def test_the_bundle_says_what_it_was_made_from_and_decodes_from_its_file(
    bundle: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "p1.nhb"
    write_bundle(bundle, path)
    again = read_bundle(path)
    manifest = again.manifest
    assert (manifest.subject, manifest.side, manifest.gestures) == ("p1", "left", NAMES)
    assert [(s.identifier, s.repetitions) for s in manifest.training.sessions] == [("one", (1, 2))]
    assert manifest.outputs == ()
    # A decoder of gestures alone moves towards the postures that their names mean.
    assert np.array_equal(again.position_map.postures[1:, 5], [-1.0, 1.0])
    other = session("two")
    chain = DecodeChain(again, other.info)
    intents = chain.process(SignalBlock(np.array(other.signal[0:6000]), 0))
    assert len(intents) == 1 + (6000 - chain.front_end.delay - 100) // 20
    done = other.labels
    assert done is not None
    held = np.concatenate([np.zeros(400, np.int16), done])[intents.sample_index]  # 250 ms late, and 150 more
    assert np.mean(intents.gesture == held) > 0.6


def test_labels_without_truth_are_cues_and_the_reaction_is_found(bundle: Bundle) -> None:
    assert bundle.manifest.training.metrics["median_reaction_s"] == pytest.approx(0.28, abs=0.06)


def test_labels_beside_truth_are_exact_and_outputs_come_in_its_unit() -> None:
    made = fitted(session(truth=True), steps=2)
    assert "median_reaction_s" not in made.manifest.training.metrics
    (angle,) = made.manifest.outputs
    assert (angle.name, angle.unit) == ("wrist angle", "deg")
    assert (angle.lower, angle.upper) == (pytest.approx(-45.0), pytest.approx(45.0))
    # 45 degrees up become the full extension of the wrist, the last of the six.
    positions = made.position_map
    assert positions.matrix[5, 0] * 45.0 + positions.offset[5] == pytest.approx(-1.0, abs=0.25)
    assert "median_reaction_s" in fitted(session(truth=True), steps=2, cues=True).manifest.training.metrics


def test_the_same_seed_gives_the_same_decoder() -> None:
    first, second = (fitted(session(), steps=1, seed=5) for _ in range(2))
    assert first.step_graph == second.step_graph


def test_the_front_end_follows_the_kind_and_the_rate_of_the_stream() -> None:
    nerve = default_front_end(StreamInfo(rate_hz=10_000.0, channel_names=("a",), kind="nerve"))
    assert (nerve.conditioning.decimation, nerve.conditioning.band_hz) == (1, (50.0, 4500.0))
    assert (nerve.feature_set, nerve.settings.low_samples, nerve.settings.mains_samples) == (
        "two_bands",
        20,
        10,
    )
    assert (nerve.settings.window_samples, nerve.settings.hop_samples) == (1000, 200)
    assert nerve.conditioning.rereference == "none"
    published = default_front_end(StreamInfo(10_000.0, ("a",), "nerve"), band="paper")
    assert (published.conditioning.decimation, published.conditioning.band_hz) == (2, (25.0, 600.0))
    assert (published.settings.window_samples, published.settings.hop_samples) == (500, 100)
    emg = default_front_end(StreamInfo(rate_hz=1000.0, channel_names=tuple("abcdefgh"), kind="emg"))
    assert emg.conditioning.rereference == "average"
    assert (emg.conditioning.decimation, emg.conditioning.band_hz) == (1, (25.0, 450.0))
    assert (emg.settings.window_samples, emg.settings.hop_samples) == (100, 20)
    envelope = default_front_end(StreamInfo(rate_hz=100.0, channel_names=("a",), kind="envelope"))
    assert (envelope.feature_set, envelope.conditioning.band_hz) == ("envelope", None)


@pytest.mark.parametrize("rate_hz", [8_000.0, 10_000.0, 24_414.0625 / 2, 30_000.0 / 3])
@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_the_low_band_spans_whole_periods_of_the_mains(rate_hz: float, mains_hz: float) -> None:
    low, values = low_band(rate_hz, mains_hz)
    assert low / rate_hz == pytest.approx(LOW_S, rel=0.26)
    periods = low * values * mains_hz / rate_hz
    assert periods == pytest.approx(round(periods), abs=0.006)
    assert 1 <= round(periods) <= 3
    assert low_band(rate_hz, 0.0)[1] == 0


def test_contacts_of_a_nerve_are_heard_together() -> None:
    info = StreamInfo(10_000.0, ("a", "b", "c"), "nerve", electrodes=("median/0", "ulnar/0", "median/1"))
    assert default_front_end(info).settings.groups == (0, 1, 0)
    assert default_front_end(StreamInfo(10_000.0, ("a", "b"), "nerve")).settings.groups == ()


def test_movements_are_composed_of_a_nerve_s_trials_with_positions_and_of_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned: list[TrainingSet] = []

    def keep(data: TrainingSet, *options: object, **named: Any) -> Trained:
        learned.append(data)
        return train(data, *options, **named)

    monkeypatch.setattr("calibration.fit.train", keep)
    monkeypatch.setattr("calibration.composition.N_COMPOSED", 30)
    nerve = person(repetitions=2)
    muscle = changed(nerve, info=dataclasses.replace(nerve.info, kind="emg"))
    without = changed(nerve, truth=None, truth_names=(), truth_units=())
    for one in (nerve, muscle, without):
        fitted(one, steps=1)
    with_composed, *others = learned
    assert [len(data.pieces) for data in others] == [14, 14]
    assert len({piece.trial for piece in with_composed.pieces}) > 14
    assert with_composed.truth is not None
    composed = with_composed.truth[len(others[0].z) :]
    assert (np.abs(composed) > 0.9).sum(1).max() > 1
    assert (with_composed.label[len(others[0].z) :] == -1).all()


def test_what_cannot_teach_a_decoder_is_refused_in_one_line() -> None:
    one = session()
    cases: list[tuple[list[Session], dict[str, object], str]] = [
        ([], {}, "no session to learn from"),
        ([changed(one, labels=np.zeros(one.n_samples, np.int16))], {}, r"one class only \(rest\)"),
        ([changed(one, labels=None)], {}, r"one class only \(no label\)"),
        ([changed(one, signal=flat(one))], {}, "every channel is masked"),
        ([changed(one, signal=flat(one) * np.nan)], {}, "every channel is masked"),
        ([one, session("other", subject="p2")], {}, "has subject 'p1', session other has 'p2'"),
        ([one, session("other", truth=True)], {}, "has truth columns"),
        ([one, session("other", kind="nerve")], {}, "has kind 'emg', session other has 'nerve'"),
        ([one], {"repetitions": (2, 7)}, "no trial of repetition 7: choose among 1, 2, 3"),
        ([one], {"network": "huge"}, "no network 'huge': use one of compact, paper"),
    ]
    for sessions, options, message in cases:
        with pytest.raises(NervehandError, match=message) as caught:
            fitted(*sessions, **options)
        assert "\n" not in str(caught.value)


def test_a_dead_channel_does_not_stop_a_fit() -> None:
    whole = session()
    signal = np.array(whole.signal[0 : whole.n_samples])
    signal[:, 1] = 0.0
    made = fitted(changed(whole, signal=signal), steps=2)
    assert np.isfinite(made.normalisation.mean).all()
    assert (made.normalisation.scale[-14:] == 0).all()


def test_a_decoder_knows_what_rest_was_like(bundle: Bundle) -> None:
    assert bundle.rest is not None
    assert bundle.rest.mean.mean() < -0.1  # rest is quieter than the mean of all training
    assert (bundle.rest.spread > 0).all()


def test_rest_is_the_mean_and_spread_of_what_is_not_masked() -> None:
    z = np.arange(2 * MIN_REST, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
    masked = np.zeros(z.shape, np.bool_)
    masked[MIN_REST:, 0] = True
    rows = np.arange(2 * MIN_REST)
    rest = rest_features(z, masked, rows)
    assert rest is not None
    assert rest.mean.tolist() == pytest.approx([z[:MIN_REST, 0].mean(), z[:, 1].mean()])
    assert rest.spread.tolist() == pytest.approx([z[:MIN_REST, 0].std(), z[:, 1].std()])
    assert rest_features(z, masked, rows[: MIN_REST - 1]) is None
    nothing = rest_features(z, np.ones_like(masked), rows)
    assert nothing is not None
    assert nothing.mean.tolist() == nothing.spread.tolist() == [0, 0]
